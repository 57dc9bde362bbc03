"""Probability volumes to label maps: the reason the package exists. Torch only, CPU and CUDA."""

from rankseg_med.decode.decision import Decision, Decoded, Threshold, best_threshold
from rankseg_med.decode.decoder import ArgmaxDecoder, Decoder, RankSEGDecoder, make_decoder
from rankseg_med.decode.ensemble import decode_ensemble, finalize_ensemble
from rankseg_med.decode.histogram import Distribution, ProbabilityHistogram
from rankseg_med.decode.objective import Objective
from rankseg_med.decode.session import ArgmaxSession, DecodeSession, SlabSession
from rankseg_med.decode.validation import check_probabilities

__all__ = [
    "ArgmaxDecoder",
    "ArgmaxSession",
    "Decision",
    "DecodeSession",
    "Decoded",
    "Decoder",
    "Distribution",
    "Objective",
    "ProbabilityHistogram",
    "RankSEGDecoder",
    "SlabSession",
    "Threshold",
    "best_threshold",
    "check_probabilities",
    "decode_ensemble",
    "finalize_ensemble",
    "make_decoder",
]
