"""The cleanup steps as MONAI users meet them."""

import pickle

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import Compose

import rankseg_med.transforms as transforms
from rankseg_med.cleanup import fill_holes, keep_touching, remove_small_components
from rankseg_med.transforms import (
    FillLabelHoles,
    FillLabelHolesd,
    KeepTouching,
    KeepTouchingd,
    RemoveSmallComponents,
    RemoveSmallComponentsd,
)

LABELS = np.random.default_rng(0).choice(4, (7, 6, 5), p=[0.3, 0.5, 0.1, 0.1]).astype(np.uint8)
# Axes permuted and flipped: spacing along the voxel axes is 1.5, 2 and 3 mm.
AFFINE = torch.tensor([[0, -2, 0, 7], [1.5, 0, 0, 8], [0, 0, 3, 9], [0, 0, 0, 1]], dtype=torch.float64)
VOXEL_ML = 1.5 * 2 * 3 / 1000

STEPS = [
    (KeepTouching(labels=[2, 3], organ=1, connectivity=1), keep_touching(LABELS, [2, 3], 1, 1)),
    (
        RemoveSmallComponents(minimum_ml=3 * VOXEL_ML, labels=[2, [1, 3]], connectivity=1),
        remove_small_components(LABELS, (1.5, 2.0, 3.0), 3 * VOXEL_ML, [2, [1, 3]], 1),
    ),
    (FillLabelHoles(labels=[[1, 2]], overwrite=True), fill_holes(LABELS, [[1, 2]], True)),
]
IDS = [type(step).__name__ for step, _ in STEPS]


def volume(dtype=torch.uint8):
    return MetaTensor(torch.from_numpy(LABELS)[None].to(dtype), affine=AFFINE, meta={"filename_or_obj": "case"})


@pytest.mark.parametrize(("step", "expected"), STEPS, ids=IDS)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float32])
def test_like_the_function_on_arrays(step, expected, dtype):
    before = volume(dtype)
    cleaned = step(before)
    np.testing.assert_array_equal(before[0], LABELS)
    np.testing.assert_array_equal(cleaned, expected[None])
    assert (expected != LABELS).any()
    assert isinstance(cleaned, MetaTensor)
    assert cleaned.dtype == dtype
    assert torch.equal(cleaned.affine, AFFINE)
    assert cleaned.meta["filename_or_obj"] == "case"


@pytest.mark.parametrize(("step", "expected"), [STEPS[0], STEPS[2]], ids=[IDS[0], IDS[2]])
def test_arrays_and_tensors_keep_their_kind(step, expected):
    for label_map in (LABELS[None], torch.from_numpy(LABELS)[None]):
        cleaned = step(label_map)
        assert type(cleaned) is type(label_map)
        np.testing.assert_array_equal(cleaned, expected[None])


@pytest.mark.usefixtures("wrong_types")
def test_millilitres_need_a_spacing():
    with pytest.raises(TypeError, match=r"need a MetaTensor.*got ndarray; .*MetaTensor\(label_map, affine=affine\)"):
        RemoveSmallComponents(1.0)(LABELS[None])


def test_a_plane_has_two_spacings():
    plane = MetaTensor(
        torch.tensor([[[1, 0, 1, 1]]], dtype=torch.uint8), affine=torch.diag(torch.tensor([2.0, 3, 1, 1]))
    )
    assert RemoveSmallComponents(minimum_ml=0.012)(plane).tolist() == [[[0, 0, 1, 1]]]


DICTIONARY_FORMS = [
    KeepTouchingd(["a", "b", "c"], labels=[2, 3], organ=1, connectivity=1, allow_missing_keys=True),
    RemoveSmallComponentsd(
        ["a", "b", "c"], minimum_ml=3 * VOXEL_ML, labels=[2, [1, 3]], connectivity=1, allow_missing_keys=True
    ),
    FillLabelHolesd(["a", "b", "c"], labels=[[1, 2]], overwrite=True, allow_missing_keys=True),
]


@pytest.mark.parametrize(
    ("step", "expected"),
    [(form, expected) for form, (_, expected) in zip(DICTIONARY_FORMS, STEPS, strict=True)],
    ids=IDS,
)
def test_dictionary_forms(step, expected):
    step = pickle.loads(pickle.dumps(step))  # noqa: S301
    data = {"a": volume(), "b": volume(torch.float32), "id": 7}
    cleaned = step(data)
    for key in "ab":
        np.testing.assert_array_equal(cleaned[key][0], expected)
        np.testing.assert_array_equal(data[key][0], LABELS)
    assert cleaned["id"] == 7
    step.allow_missing_keys = False
    with pytest.raises(KeyError):
        step(data)


@pytest.mark.parametrize("step", [step for step, _ in STEPS], ids=IDS)
def test_wrong_input_is_named(step):
    with pytest.raises(ValueError, match="got 3 channels; clean one-hot volumes before AsDiscrete"):
        step(MetaTensor(torch.zeros(3, 4, 4, 4), affine=AFFINE))
    for value in (0.5, -1.0, 256.0, float("nan")):
        with pytest.raises(ValueError, match="whole-number labels from 0 to 255; was a probability volume passed"):
            step(MetaTensor(torch.full((1, 4, 4, 4), value), affine=AFFINE))


def test_a_config_composes_them():
    entries = [
        {"_target_": "rankseg_med.transforms.KeepTouching", "labels": [2], "organ": 1},
        {"_target_": "rankseg_med.transforms.RemoveSmallComponents", "minimum_ml": 2 * VOXEL_ML, "labels": [2]},
        {"_target_": "rankseg_med.transforms.FillLabelHoles", "labels": [[1, 2]]},
    ]
    cleanup = ConfigParser({"cleanup": {"_target_": "Compose", "transforms": entries}}).get_parsed_content("cleanup")
    assert isinstance(cleanup, Compose)
    expected = keep_touching(LABELS, [2], 1)
    expected = remove_small_components(expected, (1.5, 2.0, 3.0), 2 * VOXEL_ML, [2])
    np.testing.assert_array_equal(cleanup(volume())[0], fill_holes(expected, [[1, 2]]))


def test_aliases_follow_monai():
    for name in ("FillLabelHoles", "KeepTouching", "RemoveSmallComponents"):
        assert getattr(transforms, f"{name}D") is getattr(transforms, f"{name}Dict") is getattr(transforms, f"{name}d")
        assert {name, f"{name}D", f"{name}Dict", f"{name}d"} <= set(transforms.__all__)
