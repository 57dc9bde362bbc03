import math

import numpy as np
import pytest
from hypothesis import given
from medpy.metric import binary as medpy

from rankseg_med.metrics import relative_volume_difference, volume_ml
from tests.metrics.shapes import SETTINGS, SPACING_MM, box, masks


def test_volume_by_hand():
    # 2 x 3 x 4 voxels of 3 mm^3.
    assert volume_ml(box((6, 6, 6), (0, 2), (1, 4), (2, 6)), SPACING_MM) == pytest.approx(0.072)
    assert volume_ml(np.zeros((2, 2), dtype=bool), SPACING_MM[:2]) == 0


def test_difference_is_signed_and_relative_to_the_reference():
    small, large = box((4, 4), (0, 1), (0, 2)), box((4, 4), (0, 2), (0, 4))
    assert relative_volume_difference(small, large) == -0.75
    assert relative_volume_difference(large, small) == 3


@SETTINGS
@given(masks(2))
def test_difference_equals_medpy(pair):
    assert relative_volume_difference(*pair) == pytest.approx(medpy.ravd(*pair))


def test_empty_masks():
    empty, full = np.zeros((3, 3), dtype=bool), np.ones((3, 3), dtype=bool)
    assert relative_volume_difference(empty, full) == -1
    assert math.isnan(relative_volume_difference(full, empty))
    assert math.isnan(relative_volume_difference(empty, empty))


def test_rejections():
    mask = np.ones((3, 3), dtype=bool)
    with pytest.raises(ValueError, match="spacing_mm"):
        volume_ml(mask, SPACING_MM)
    with pytest.raises(TypeError, match=r"(?i)bool"):
        relative_volume_difference(mask, mask.astype(np.uint8))
