"""Probabilities that can be taken at their word: what RankSEG decides rests on them."""

from rankseg_med.calibration.calibration import Calibration, Observations, calibrated
from rankseg_med.calibration.counts import BinnedVoxels, ReliabilityCounts, Weighting
from rankseg_med.calibration.files import (
    CalibrationError,
    load_calibration,
    parse_calibration,
    read_calibration_text,
    save_calibration,
)
from rankseg_med.calibration.isotonic import IsotonicCalibration
from rankseg_med.calibration.labelled_voxels import LabelledVoxels, draw_voxels
from rankseg_med.calibration.monotone_map import MonotoneMap
from rankseg_med.calibration.reliability import Reliability, reliability
from rankseg_med.calibration.temperature import Temperature

__all__ = [
    "BinnedVoxels",
    "Calibration",
    "CalibrationError",
    "IsotonicCalibration",
    "LabelledVoxels",
    "MonotoneMap",
    "Observations",
    "Reliability",
    "ReliabilityCounts",
    "Temperature",
    "Weighting",
    "calibrated",
    "draw_voxels",
    "load_calibration",
    "parse_calibration",
    "read_calibration_text",
    "reliability",
    "save_calibration",
]
