"""Decode segmentation networks for Dice and IoU instead of voxel accuracy, over whole CT volumes, inside MONAI."""

__version__ = "0.1.0"
