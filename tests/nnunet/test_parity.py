"""Our way through a trained model gives what nnU-Net's own gives."""

import numpy as np
import pytest

from rankseg_med.decode import ArgmaxDecoder
from rankseg_med.nnunet import NnunetModel
from tests.nnunet.given import dataset_of, plans_of, write_image, write_model
from tests.nnunet.reference import nnunet_says

pytest.importorskip("nnunetv2", reason="nnunetv2 is not installed (extra nnunet)")

REGIONS = {"labels": {"background": 0, "whole": [1, 2], "core": 2}, "order": [1, 2]}
IGNORING = {"labels": {"background": 0, "organ": 1, "tumour": 2, "ignore": 3}}
# What plans, dataset.json, checkpoint and image are, where they are not as usual.
CASES = {
    "resampled": {},
    "as it is": {"plans": {"spacing": (2.5, 1.0, 1.2)}},
    "finer model": {"plans": {"spacing": (1.7, 0.8, 0.9)}},
    "smaller than a window": {"image": {"shape": (14, 12, 9)}},
    "separate z, 10 slices to 25": {
        "plans": {"spacing": (6.0, 1.5, 1.5)},
        "image": {"shape": (30, 30, 25), "spacing_mm": (1.2, 1.2, 2.4)},
    },
    "separate z, 20 slices to 10": {
        "plans": {"spacing": (4.0, 1.0, 1.0)},
        "image": {"shape": (30, 30, 10), "spacing_mm": (1.2, 1.2, 8.0)},
    },
    "separate z, 2 slices to 49": {
        "plans": {"spacing": (49.0, 1.5, 1.5)},
        "image": {"shape": (24, 24, 49), "spacing_mm": (1.5, 1.0, 2.0)},
    },
    "separate x": {
        "plans": {"spacing": (1.5, 1.5, 6.0)},
        "image": {"shape": (10, 30, 24), "spacing_mm": (15.0, 1.2, 1.2)},
    },
    "zero border": {"image": {"border": 5}},
    "zero border, transposed": {"plans": {"transpose": (2, 0, 1)}, "image": {"border": 3}},
    "transposed": {"plans": {"transpose": (1, 0, 2), "spacing": (1.5, 2.0, 1.3)}},
    "regions": {"dataset": REGIONS, "image": {"border": 4}},
    "ignore label": {"dataset": IGNORING},
    "2-D": {"plans": {"spacing": (1.5, 1.5), "patch": (24, 24)}},
    "2-D, separate z, transposed": {
        "plans": {"spacing": (1.5, 1.5), "patch": (24, 24), "transpose": (2, 0, 1)},
        "image": {"shape": (10, 36, 24), "spacing_mm": (7.0, 1.0, 1.3)},
    },
    "mirrored": {"checkpoint": {"inference_allowed_mirroring_axes": (0, 1, 2)}},
    "two folds": {"checkpoint": {"folds": (0, 3)}},
    "not RAS": {"image": {"axcodes": "SAL", "border": 3}},
    "not RAS, turned": {"plans": {"reader": "SimpleITKIOWithReorient"}, "image": {"axcodes": "SAL", "border": 3}},
    "not RAS, turned by nibabel": {
        "plans": {"reader": "NibabelIOWithReorient", "transpose": (1, 2, 0)},
        "image": {"axcodes": "SAL", "border": 3},
    },
    "two images": {"plans": {"images": 2}, "dataset": {"images": 2}, "checkpoint": {"seed": 4}},
    "torch": {"plans": {"by_torch": True}, "image": {"border": 3}},
    "torch, separate z, 10 slices to 25": {
        "plans": {"by_torch": True, "spacing": (6.0, 1.5, 1.5)},
        "image": {"shape": (30, 30, 25), "spacing_mm": (1.2, 1.2, 2.4)},
    },
    "torch, separate z, 2 slices to 49": {
        "plans": {"by_torch": True, "spacing": (49.0, 1.5, 1.5)},
        "image": {"shape": (24, 24, 49), "spacing_mm": (1.5, 1.0, 2.0)},
    },
}


@pytest.mark.parametrize("case", CASES)
def test_exact_is_its_label_map_and_slabs_its_probabilities(case, tmp_path):
    given = {"plans": {}, "dataset": {}, "checkpoint": {}, "image": {}, **CASES[case]}
    checkpoint, images = given["checkpoint"], given["dataset"].get("images", 1)
    model = write_model(tmp_path / "model", plans_of(**given["plans"]), dataset_of(**given["dataset"]), **checkpoint)
    names = [tmp_path / f"case_{number:04}.nii.gz" for number in range(images)]
    files = [write_image(name, seed=seed, **given["image"]) for seed, name in enumerate(names)]
    said = nnunet_says(model, files, tmp_path / "said", folds=checkpoint.get("folds", (0,)))
    assert len(np.unique(said.labels)) == 3  # else there is little to compare

    exact = NnunetModel.load(model, ArgmaxDecoder(), export="exact")
    np.testing.assert_array_equal(exact(files).label_map.numpy(), said.labels)
    np.testing.assert_allclose(exact.probabilities(files).numpy(), said.probabilities, rtol=0, atol=1e-6)

    slabs = NnunetModel.load(model, ArgmaxDecoder())
    probabilities = slabs.probabilities(files).numpy()
    np.testing.assert_allclose(probabilities, said.probabilities, rtol=0, atol=1e-3)
    differing = slabs(files).label_map.numpy() != said.labels
    assert differing.sum() <= 1
    assert ties(said.probabilities[:, differing], regions=case == "regions").all()


def ties(probabilities, *, regions):
    """Whether what decides lies within a thousandth: two classes, or a region and one half."""
    if regions:
        return (np.abs(probabilities - 0.5) < 1e-3).any(0)
    second, first = np.sort(probabilities, 0)[-2:]
    return first - second < 1e-3


@pytest.mark.parametrize("options", [{"mirroring": False}, {"step_size": 1.0}], ids=str)
def test_windows_are_asked_for_as_there(options, tmp_path):
    model = write_model(tmp_path / "model", plans_of(), dataset_of(), inference_allowed_mirroring_axes=(0, 2))
    image = write_image(tmp_path / "case_0000.nii.gz", shape=(20, 18, 24))
    said = nnunet_says(model, [image], tmp_path / "said", **options)
    usual = nnunet_says(model, [image], tmp_path / "usual")
    assert (said.labels != usual.labels).any()

    exact = NnunetModel.load(model, ArgmaxDecoder(), export="exact", **options)
    np.testing.assert_array_equal(exact(image).label_map.numpy(), said.labels)
