"""The transforms as MONAI users meet them."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import (
    Activationsd,
    Compose,
    EnsureChannelFirstd,
    Flip,
    Invertd,
    LoadImaged,
    Orientationd,
    SaveImaged,
    Spacingd,
)

import rankseg_med.transforms as transforms
from rankseg_med.decode import RankSEGDecoder
from rankseg_med.transforms import KeepLargestComponent, KeepLargestComponentd, LoadStudyd, RankSEG, RankSEGd

PROBABILITIES = torch.softmax(2 * torch.randn(3, 9, 8, 7, generator=torch.Generator().manual_seed(0)), 0)
AFFINE = torch.tensor([[-1.5, 0, 0, 7], [0, 2, 0, 8], [0, 0, 3, 9], [0, 0, 0, 1]], dtype=torch.float64)


@pytest.mark.parametrize(
    "make", [lambda p: p, lambda p: p.numpy(), lambda p: MetaTensor(p, affine=AFFINE, meta={"filename_or_obj": "a"})]
)
def test_rankseg_gives_back_what_it_got(make):
    volume = make(PROBABILITIES)
    labels = RankSEG("dice")(volume)
    assert type(labels) is type(volume)
    assert labels.dtype == (np.uint8 if isinstance(volume, np.ndarray) else torch.uint8)
    np.testing.assert_array_equal(np.asarray(labels), RankSEGDecoder("dice")(PROBABILITIES)[None].numpy())
    if isinstance(volume, MetaTensor):
        assert torch.equal(labels.affine, AFFINE)
        assert labels.meta["filename_or_obj"] == "a"


def test_options_reach_the_decoder():
    options = {"solver": "rma", "assignment": "greedy", "coherence": 0, "min_peak": 0.7, "smooth": 1.0}
    assert repr(RankSEGd("pred", metric="iou", **options).transform.decoder) == repr(RankSEGDecoder("iou", **options))
    per_region = RankSEG(["dice", "iou"], regions=[[1, 2], [2]], empty_score=1.0).decoder
    assert repr(per_region) == repr(RankSEGDecoder(["dice", "iou"], regions=[[1, 2], [2]], empty_score=1.0))
    with pytest.raises(TypeError, match="min_peak"):
        RankSEG("argmax", min_peak=0.7)


def test_argmax_by_changing_one_word():
    assert torch.equal(RankSEG("argmax")(PROBABILITIES)[0].long(), PROBABILITIES.argmax(0))


def test_a_config_can_name_it():
    config = {"_target_": "rankseg_med.transforms.RankSEGd", "keys": "pred", "metric": "iou", "min_peak": 0.25}
    transform = ConfigParser({"decode": config}).get_parsed_content("decode")
    assert repr(transform.transform.decoder) == repr(RankSEGDecoder("iou", min_peak=0.25))


def test_decisions_travel_with_the_label_map():
    volume = MetaTensor(PROBABILITIES, affine=AFFINE)
    labels = RankSEGd("pred")({"pred": volume})["pred"]
    decisions = RankSEGDecoder().decode(PROBABILITIES).decisions
    assert labels.meta["rankseg_decisions"] == [asdict(decision) for decision in decisions]
    assert "rankseg_decisions" not in volume.meta
    assert Flip(0)(labels).meta["rankseg_decisions"][0]["expected_score"] == decisions[0].expected_score


def test_multilabel_gives_one_mask_a_channel():
    masks = RankSEG("dice", mode="multilabel")(torch.sigmoid(PROBABILITIES * 9 - 4))
    assert masks.shape == PROBABILITIES.shape
    assert set(masks.unique().tolist()) <= {0, 1}


def test_several_keys_missing_keys_and_other_entries():
    data = {"a": PROBABILITIES, "b": PROBABILITIES.flip(1), "id": 7}
    decoded = RankSEGd(["a", "b", "c"], allow_missing_keys=True)(data)
    assert decoded["id"] == 7
    assert torch.equal(decoded["b"], decoded["a"].flip(1))
    assert torch.equal(data["a"], PROBABILITIES)
    with pytest.raises(KeyError):
        RankSEGd(["a", "c"])(data)


def test_aliases_follow_monai():
    for name in ("RankSEG", "KeepLargestComponent", "LoadStudy"):
        assert getattr(transforms, f"{name}D") is getattr(transforms, f"{name}Dict") is getattr(transforms, f"{name}d")


def test_transforms_can_be_pickled_and_shared_by_threads():
    transform = pickle.loads(pickle.dumps(RankSEGd("pred")))  # noqa: S301
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: transform({"pred": PROBABILITIES})["pred"], range(8)))
    assert all(torch.equal(result, results[0]) for result in results)


@pytest.mark.parametrize("as_tensor", [True, False])
def test_largest_component_leaves_its_input_alone(as_tensor):
    label_map = np.array([[[1, 1, 0, 1, 0, 2]]], np.uint8)
    volume = MetaTensor(torch.from_numpy(label_map.copy()), affine=torch.eye(4) * 2) if as_tensor else label_map.copy()
    cleaned = KeepLargestComponent()(volume)
    np.testing.assert_array_equal(np.asarray(volume), label_map)
    np.testing.assert_array_equal(np.asarray(cleaned), [[[1, 1, 0, 0, 0, 2]]])
    assert cleaned.dtype == volume.dtype
    if as_tensor:
        assert torch.equal(cleaned.affine, volume.affine)


def test_largest_component_on_floating_label_maps_and_groups():
    label_map = torch.tensor([[[1.0, 2.0, 0.0, 2.0, 2.0, 0.0, 1.0, 1.0, 1.0]]])
    cleaned = KeepLargestComponentd("x", labels=[[1, 2]])({"x": label_map})["x"]
    assert cleaned.dtype == torch.float32
    assert cleaned.tolist() == [[[0, 0, 0, 0, 0, 0, 1, 1, 1]]]


def test_largest_component_names_wrong_input():
    with pytest.raises(ValueError, match="got 3 channels; clean one-hot volumes before AsDiscrete"):
        KeepLargestComponent()(PROBABILITIES)
    with pytest.raises(ValueError, match="whole-number labels from 0 to 255; was a probability volume passed"):
        KeepLargestComponent()(PROBABILITIES[:1])


def test_compose_before_invertd_and_saveimaged(tmp_path):
    """The whole MONAI chain, resampled: the file that is saved has the image's own grid."""
    image_path = tmp_path / "case.nii.gz"
    affine = AFFINE.numpy()
    nib.save(nib.Nifti1Image(np.random.default_rng(0).normal(size=(12, 10, 8)).astype(np.float32), affine), image_path)
    preprocessing = Compose(
        [
            LoadImaged("image", image_only=True),
            EnsureChannelFirstd("image"),
            Orientationd("image", axcodes="RAS", labels=None),
            Spacingd("image", pixdim=(2, 2, 2), mode="bilinear"),
        ]
    )
    postprocessing = Compose(
        [
            Activationsd("pred", softmax=True),
            RankSEGd("pred", metric="dice"),
            KeepLargestComponentd("pred", labels=[1]),
            Invertd("pred", transform=preprocessing, orig_keys="image", nearest_interp=True),
            SaveImaged(
                "pred",
                output_dir=tmp_path,
                output_postfix="seg",
                separate_folder=False,
                output_dtype=np.uint8,
                print_log=False,
            ),
        ]
    )
    data = preprocessing({"image": image_path})
    data["pred"] = torch.cat([-3 * data["image"], 3 * data["image"]])
    postprocessing(data)
    saved = nib.load(tmp_path / "case_seg.nii.gz")
    assert saved.shape == (12, 10, 8)
    np.testing.assert_allclose(saved.affine, affine, atol=1e-6)
    assert set(np.unique(saved.dataobj)) == {0, 1}


def test_load_study_reads_images_and_labels(tmp_path):
    values = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    nib.save(nib.Nifti1Image(values, AFFINE.numpy()), tmp_path / "x.nii.gz")
    data = LoadStudyd(["image", "label"], is_label=[False, True])(
        {"image": tmp_path / "x.nii.gz", "label": str(tmp_path / "x.nii.gz")}
    )
    np.testing.assert_array_equal(data["image"][0].numpy(), values)
    assert data["image"].dtype == torch.float32
    assert data["label"].dtype == torch.uint8
    assert data["image"].shape == data["label"].shape == (1, 2, 3, 4)
