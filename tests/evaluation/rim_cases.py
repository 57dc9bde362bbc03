"""Cases of which argmax keeps the core, and decoding for Dice the rim too."""

from pathlib import Path

import numpy as np

from tests.evaluation.conftest import save_label_map, save_probabilities

SHAPE = (10, 12, 8)


def core_and_rim(size):
    """A certain core within a rim that is there or not: argmax keeps the core, decoding for Dice both."""
    core, both = np.zeros((2, *SHAPE), bool)
    core[3:6, 3 : 3 + size, 2:5] = True
    both[2:7, 2 : 4 + size, 2:5] = True
    return core, both


def write_case(folder: Path, case_id: str, size: int, *, rim: bool) -> None:
    core, both = core_and_rim(size)
    foreground = np.where(core, 0.98, np.where(both, 0.495, 0.0)).astype(np.float32)
    save_probabilities(folder / "probabilities", case_id, np.stack([1 - foreground, foreground]))
    save_label_map(folder / "references" / f"{case_id}.nii.gz", both if rim else core)
