"""Settling voxels that several regions want, or none."""
