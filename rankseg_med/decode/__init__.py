"""Probability volumes to label maps: the reason the package exists. Torch only, CPU and CUDA."""

from rankseg_med.decode.blocks import Blocks, TensorBlocks
from rankseg_med.decode.decision import Decision, Decoded, Threshold, best_threshold
from rankseg_med.decode.decoder import (
    Decoder,
    DecoderName,
    Presence,
    RankSEGDecoder,
    for_independent_channels,
    make_decoder,
)
from rankseg_med.decode.ensemble import decode_ensemble, finalize_ensemble
from rankseg_med.decode.expected_score import Metric
from rankseg_med.decode.histogram import Distribution, ProbabilityHistogram
from rankseg_med.decode.kept import KeptVoxels
from rankseg_med.decode.objective import Objective
from rankseg_med.decode.pointwise import ArgmaxDecoder, AtHalfDecoder, PointwiseDecoder, ThresholdDecoder
from rankseg_med.decode.regions import RegionChannels, Regions
from rankseg_med.decode.rules import highest
from rankseg_med.decode.session import DecodeSession, SlabSession
from rankseg_med.decode.store import Store
from rankseg_med.decode.validation import SUM_TOLERANCE, check_probabilities, check_values

__all__ = [
    "SUM_TOLERANCE",
    "ArgmaxDecoder",
    "AtHalfDecoder",
    "Blocks",
    "Decision",
    "DecodeSession",
    "Decoded",
    "Decoder",
    "DecoderName",
    "Distribution",
    "KeptVoxels",
    "Metric",
    "Objective",
    "PointwiseDecoder",
    "Presence",
    "ProbabilityHistogram",
    "RankSEGDecoder",
    "RegionChannels",
    "Regions",
    "SlabSession",
    "Store",
    "TensorBlocks",
    "Threshold",
    "ThresholdDecoder",
    "best_threshold",
    "check_probabilities",
    "check_values",
    "decode_ensemble",
    "finalize_ensemble",
    "for_independent_channels",
    "highest",
    "make_decoder",
]
