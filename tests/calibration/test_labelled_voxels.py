import pytest
import torch

from rankseg_med.calibration import LabelledVoxels, draw_voxels


@pytest.fixture
def volume():
    """900 voxels of background, 95 and 5 of two classes; each voxel's logits say where it lies."""
    labels = torch.tensor([0] * 900 + [1] * 95 + [2] * 5)[torch.randperm(1000)].reshape(10, 10, 10)
    place = torch.arange(1000.0).reshape(10, 10, 10)
    return torch.stack([place, -place, 2 * place]), labels


def test_small_classes_whole_and_large_ones_drawn(volume):
    logits, labels = volume
    drawn = draw_voxels(logits, labels, per_class=50)
    assert drawn.labels.bincount().tolist() == [50, 50, 5]
    for label, number in enumerate((900, 95, 5)):
        assert float(drawn.weights[drawn.labels == label].sum()) == pytest.approx(number)
    place = drawn.logits[:, 0].long()
    assert len(place.unique()) == 105
    assert torch.equal(labels.flatten()[place], drawn.labels)
    torch.testing.assert_close(drawn.logits, torch.stack([place, -place, 2 * place], 1).float())


def test_the_same_seed_draws_the_same(volume):
    one, again, other = (draw_voxels(*volume, per_class=50, seed=seed).logits for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_joined(volume):
    parts = [draw_voxels(*volume, per_class=number) for number in (3, 10)]
    joined = LabelledVoxels.joined(parts)
    assert joined.labels.bincount().tolist() == [13, 13, 8]
    assert joined.logits.shape == (34, 3)


def test_a_label_without_a_channel(volume):
    logits, labels = volume
    with pytest.raises(ValueError, match="0 to 1; got 0 to 2"):
        draw_voxels(logits[:2], labels)
