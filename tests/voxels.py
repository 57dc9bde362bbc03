"""What a test reads of an image file."""

from pathlib import Path

import nibabel as nib
import numpy as np


def voxels_of(path: Path | str) -> np.ndarray:
    """The voxels as they are stored."""
    return np.asarray(nib.load(path).dataobj)
