"""Probability volumes to label maps: the reason the package exists. Torch only, CPU and CUDA."""

from rankseg_med.decode.decision import Decision
from rankseg_med.decode.decoder import ArgmaxDecoder, Decoder, RankSEGDecoder, make_decoder
from rankseg_med.decode.expected_score import expected_scores
from rankseg_med.decode.histogram import ProbabilityHistogram
from rankseg_med.decode.validation import check_probabilities

__all__ = [
    "ArgmaxDecoder",
    "Decision",
    "Decoder",
    "ProbabilityHistogram",
    "RankSEGDecoder",
    "check_probabilities",
    "expected_scores",
    "make_decoder",
]
