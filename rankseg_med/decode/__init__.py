"""Probability volumes to label maps: the reason the package exists. Torch only, CPU and CUDA."""

from rankseg_med.decode.decision import Decision, Objective, Threshold, best_threshold
from rankseg_med.decode.decoder import ArgmaxDecoder, Decoded, Decoder, RankSEGDecoder, make_decoder
from rankseg_med.decode.ensemble import decode_ensemble
from rankseg_med.decode.expected_score import expected_score_of_mask, expected_scores
from rankseg_med.decode.histogram import Distribution, ProbabilityHistogram
from rankseg_med.decode.session import DecodeSession
from rankseg_med.decode.validation import check_probabilities

__all__ = [
    "ArgmaxDecoder",
    "Decision",
    "DecodeSession",
    "Decoded",
    "Decoder",
    "Distribution",
    "Objective",
    "ProbabilityHistogram",
    "RankSEGDecoder",
    "Threshold",
    "best_threshold",
    "check_probabilities",
    "decode_ensemble",
    "expected_score_of_mask",
    "expected_scores",
    "make_decoder",
]
