"""Probabilities that can be taken at their word: what RankSEG decides rests on them."""

from rankseg_med.calibration.calibration import Calibration, calibrated
from rankseg_med.calibration.labelled_voxels import LabelledVoxels, draw_voxels

__all__ = ["Calibration", "LabelledVoxels", "calibrated", "draw_voxels"]
