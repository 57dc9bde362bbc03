"""Losses that MONAI lacks; for all others take `monai.losses`."""

from rankseg_med.losses.weighted_dice_ce import WeightedDiceCELoss

__all__ = ["WeightedDiceCELoss"]
