import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import RandAffine
from scipy.ndimage import distance_transform_edt

from rankseg_med.transforms import SignedDistances, SignedDistancesd


def label_map(shape, spacing_mm) -> MetaTensor:
    """Classes 0, 1 and 2, which touch each other and the border."""
    labels = torch.zeros(1, *shape, dtype=torch.uint8)
    labels[:, 1:5, 2:6] = 1
    labels[:, 3:, 4:] = 2
    return MetaTensor(labels, affine=torch.diag(torch.tensor([*spacing_mm, 1.0])))


@pytest.mark.parametrize(
    ("shape", "spacing_mm"), [((8, 7), (0.5, 3.0)), ((8, 7, 3), (0.7, 0.8, 5.0)), ((8, 7, 3), (1.0, 1.0, 1.0))]
)
def test_they_are_those_of_scipy_negative_inside(shape, spacing_mm):
    labels = label_map(shape, spacing_mm)
    maps = SignedDistances(3)(labels).numpy()
    assert maps.shape == (3, *shape)
    for label in range(3):
        mask = labels[0].numpy() == label
        inside = distance_transform_edt(mask, sampling=spacing_mm)
        outside = distance_transform_edt(~mask, sampling=spacing_mm)
        np.testing.assert_allclose(maps[label], np.where(mask, -inside, outside), rtol=1e-6)
        assert (maps[label][mask] < 0).all()
        assert (maps[label][~mask] > 0).all()


def test_on_a_line_by_hand():
    labels = MetaTensor(torch.tensor([[[0, 1, 1, 1, 0]]]), affine=torch.diag(torch.tensor([1.0, 2.5, 1.0])))
    assert SignedDistances(2)(labels)[1].tolist() == [[2.5, -2.5, -5.0, -2.5, 2.5]]


def test_a_class_that_is_absent_or_everywhere_has_no_boundary():
    labels = MetaTensor(torch.ones(1, 4, 4))
    assert torch.equal(SignedDistances(3)(labels), torch.zeros(3, 4, 4))


def test_millimetres_are_those_after_augmentation():
    labels = label_map((8, 7, 3), (1.0, 1.0, 1.0))
    enlarged = RandAffine(prob=1, scale_range=[(1, 1)] * 3, mode="nearest").set_random_state(0)(labels)
    assert enlarged.pixdim.tolist() == [2, 2, 2]
    mask = enlarged[0].numpy() == 2
    expected = distance_transform_edt(~mask, sampling=(2, 2, 2)) - distance_transform_edt(mask, sampling=(2, 2, 2))
    np.testing.assert_allclose(SignedDistances(3)(enlarged)[2], expected, rtol=1e-6)


def test_the_dictionary_form_adds_an_entry():
    labels = label_map((8, 7), (1.0, 2.0))
    given = {"label": labels, "image": "untouched"}
    result = SignedDistancesd("label", 3)(given)
    assert torch.equal(result.pop("distances_mm"), SignedDistances(3)(labels))
    assert result == given
    assert SignedDistancesd("mask", 3, allow_missing_keys=True)(given) == given
    with pytest.raises(KeyError, match="mask"):
        SignedDistancesd("mask", 3)(given)


def test_what_is_no_label_map_is_refused(wrong_types):
    with pytest.raises(TypeError, match="volumes and distances in mm need a MetaTensor, whose affine"):
        SignedDistances(2)(torch.zeros(1, 4, 4))
    with pytest.raises(ValueError, match=r"need a label map \(1, \*spatial\), got 2 channels"):
        SignedDistances(2)(MetaTensor(torch.zeros(2, 4, 4)))
    with pytest.raises(ValueError, match="num_classes must be at least 2"):
        SignedDistances(1)
    with pytest.raises(ValueError, match="output_keys must differ, one for each of 2 keys"):
        SignedDistancesd(["a", "b"], 3)
