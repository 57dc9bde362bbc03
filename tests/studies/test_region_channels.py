import pytest
import torch

from rankseg_med.studies import StudyError
from rankseg_med.studies.region_channels import RegionChannels


@pytest.mark.parametrize(
    ("regions", "painted"),
    [
        ([[1, 2, 3], [2, 3], [3]], ((0, 1), (1, 2), (2, 3))),  # BraTS
        ([[1, 2, 3], [2, 3], [2]], ((0, 1), (1, 3), (2, 2))),  # KiTS
        ([[2], [1, 2]], ((1, 1), (0, 2))),  # the small one first
        ([[1], [2]], ((0, 1), (1, 2))),  # side by side
        ([[5]], ((0, 5),)),
    ],
)
def test_each_region_paints_the_label_that_is_its_own(regions, painted):
    assert RegionChannels.of(regions).painted == painted


@pytest.mark.parametrize(
    "regions", [[[1, 2, 3], [3]], [[1], [1]], [[0, 1], [1]], [[1, 256], [1]], [[]], [[1, 2], [1], [2]]]
)
def test_regions_whose_label_is_open(regions):
    with pytest.raises(StudyError, match="every region must have exactly one label"):
        RegionChannels.of(regions)


def test_small_regions_cover_large_ones_also_outside_of_them():
    masks = torch.tensor([[0, 0, 1, 1], [0, 1, 0, 1]], dtype=torch.uint8)
    assert RegionChannels.of([[1, 2], [2]]).label_map(masks).tolist() == [0, 2, 1, 2]
