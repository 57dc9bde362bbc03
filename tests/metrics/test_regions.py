import math

import numpy as np
import pytest

from rankseg_med.metrics import Region, label_regions

LABEL_MAP = np.array([[0, 1, 2], [3, 2, 0]], dtype=np.uint8)


def test_mask_is_the_union_of_the_labels():
    np.testing.assert_array_equal(Region("mass", (2, 3)).mask(LABEL_MAP), [[False, False, True], [True, True, False]])
    assert not Region("cyst", (9,)).mask(LABEL_MAP).any()


def test_one_region_for_each_label():
    assert label_regions({2: "tumour", 1: "liver"}) == (Region("tumour", (2,)), Region("liver", (1,)))


@pytest.mark.parametrize("labels", [(), (0,), (-1,), (1, 1)])
def test_labels(labels):
    with pytest.raises(ValueError, match=r"'liver'.*positive value"):
        Region("liver", labels)


def test_name():
    with pytest.raises(ValueError, match="name"):
        Region("", (1,))


@pytest.mark.parametrize("tolerance_mm", [-1.0, math.inf, math.nan])
def test_tolerance(tolerance_mm):
    with pytest.raises(ValueError, match="tolerance_mm"):
        Region("liver", (1,), tolerance_mm)
