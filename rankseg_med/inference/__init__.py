"""Image to class probabilities, on the image's own grid."""

from rankseg_med.inference.probabilities import InferenceError, ProbabilityModel

__all__ = ["InferenceError", "ProbabilityModel"]
