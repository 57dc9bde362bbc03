"""Image to label map, slab by slab, on the image's own grid."""

from rankseg_med.inference.errors import InferenceError
from rankseg_med.inference.model import DecodedGrid, Ensemble, Predicted, SegmentationModel
from rankseg_med.inference.slab import Slab
from rankseg_med.inference.streaming import StreamingInferer

__all__ = ["DecodedGrid", "Ensemble", "InferenceError", "Predicted", "SegmentationModel", "Slab", "StreamingInferer"]
