import pytest
import torch

from rankseg_med.semisupervised import copy_paste_mask, paste


@pytest.mark.parametrize(("shape", "box"), [((112, 112, 80), (74, 74, 53)), ((256, 256), (170, 170)), ((1, 4), (1, 2))])
def test_one_box_of_two_thirds_of_each_side(shape, box):
    mask = copy_paste_mask(shape)
    assert mask.dtype == torch.bool
    inside = (~mask).nonzero()
    extent = inside.amax(0) - inside.amin(0) + 1
    assert tuple(extent.tolist()) == box
    assert len(inside) == extent.prod()  # so the box is full


def test_every_place_occurs_and_none_beyond():
    generator = torch.Generator().manual_seed(0)
    starts = [int((~copy_paste_mask((6,), 0.5, generator=generator)).nonzero()[0]) for _ in range(400)]
    counts = [starts.count(start) for start in range(4)]
    assert sum(counts) == 400
    assert min(counts) > 70  # 100 expected, standard deviation 9


def test_ratio_per_axis():
    assert int((~copy_paste_mask((10, 8), (0.5, 1.0))).sum()) == 5 * 8
    assert int((~copy_paste_mask((100,), 0.29)).sum()) == 29
    for wrong in (0.0, 1.5, (0.5,), (0.5, 0.5, 0.5)):
        with pytest.raises(ValueError, match="box_ratio must be in"):
            copy_paste_mask((10, 8), wrong)


def test_paste():
    mask = torch.tensor([[True, False], [True, True]])
    ones, twos = torch.ones(2, 1, 2, 2), torch.full((2, 1, 2, 2), 2.0)
    assert paste(ones, twos, mask).tolist() == [[[[1, 2], [1, 1]]]] * 2
