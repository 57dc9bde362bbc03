"""How much memory is reckoned with, from a header alone."""

import numpy as np
import pytest

from rankseg_med.nnunet import NnunetMemory, Plans
from rankseg_med.studies import Grid
from tests.nnunet.given import dataset_of, plans_of, write_json


def memory_of(tmp_path, *, plans=None, **settings):
    folder = write_json(tmp_path, plans_of(**(plans or {})), dataset_of())
    return NnunetMemory(Plans.read(folder, "3d_fullres"), **settings)


@pytest.mark.parametrize(
    ("plans", "voxels"),
    [
        ({"spacing": (2.0, 1.5, 1.5)}, 150 * 64 * 96),  # 100 mm in z by 2 mm, ...
        ({"spacing": (3.0, 1.0, 0.5), "transpose": (1, 2, 0)}, 32 * 144 * 600),
        ({"spacing": (1.5, 1.5), "patch": (24, 24)}, 100 * 64 * 96),
    ],
)
def test_voxels_that_networks_see(plans, voxels, tmp_path):
    grid = Grid((120, 80, 100), np.diag([1.2, 1.2, 3.0, 1.0]))
    coarse, fine = (memory_of(tmp_path, plans=plans, num_folds=folds, ensemble="mean") for folds in (1, 2))
    # A fold more is a float16 volume of three channels more.
    assert fine.needed(grid, 1) - coarse.needed(grid, 1) == 2 * 3 * voxels


def test_more_of_anything_needs_more(tmp_path):
    grid = Grid((240, 240, 200), np.diag([1.2, 1.2, 3.0, 1.0]))
    least = memory_of(tmp_path, store="disk").needed(grid, 1)
    for settings in ({}, {"export": "exact"}, {"num_folds": 2}, {"num_folds": 2, "ensemble": "decode"}):
        assert memory_of(tmp_path, **settings).needed(grid, 1) > least
    assert memory_of(tmp_path, store="disk").needed(grid, 2) > least
