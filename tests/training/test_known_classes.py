import math
import re

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from rankseg_med.configuration import load_config
from rankseg_med.losses import WeightedCrossEntropyLoss
from rankseg_med.studies import Study, StudyError
from rankseg_med.training import KnownClasses, train

LABEL = MetaTensor(torch.tensor([[[[0, 1, 7]]]]), meta={"filename_or_obj": "case.nii.gz"})


def test_a_label_that_is_no_class_is_named():
    item = {"label": LABEL}
    assert KnownClasses(8)(item) is item
    message = "case.nii.gz: has label 7, but the config has 3 classes; name it in label_names"
    with pytest.raises(StudyError, match=re.escape(message)):
        KnownClasses(3)(item)
    with pytest.raises(StudyError, match="has label 7"):
        KnownClasses(3, ignored=255)(item)


def test_what_the_loss_leaves_out_may_hold_any_label():
    assert KnownClasses(3, ignored=7)({"label": LABEL})
    weights = MetaTensor(torch.tensor([[[[1.0, 1.0, 0.0]]]]))
    assert KnownClasses(3, is_weighted=True)({"label": LABEL, "weight": weights})
    with pytest.raises(StudyError, match="has label 7"):
        KnownClasses(3)({"label": LABEL, "weight": weights})
    with pytest.raises(StudyError, match="has label 7"):
        KnownClasses(3, is_weighted=True)({"label": LABEL, "weight": weights + 1})


@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
def test_weights_count_for_something_or_nothing(weight):
    weights = MetaTensor(torch.tensor([[[[1.0, weight, 0.0]]]]), meta={"filename_or_obj": "weights.nii.gz"})
    with pytest.raises(StudyError, match=rf"weights.nii.gz: .* at least 0, but one is {weight:g}"):
        KnownClasses(8, is_weighted=True)({"label": LABEL, "weight": weights})
    hair = MetaTensor(torch.tensor([[[[1.0, -1e-7, 0.0]]]]))
    assert KnownClasses(8, is_weighted=True)({"label": LABEL, "weight": hair})


def test_images_as_a_whole_have_classes_too():
    assert KnownClasses(3)({"case_id": "a", "label": 2})
    with pytest.raises(StudyError, match="a: has label 3, but the config has 3 classes"):
        KnownClasses(3)({"case_id": "a", "label": 3})


@pytest.fixture
def study(tmp_path):
    """A cube, and a corner of label 255 that has no weight."""
    labels = np.zeros((12, 12, 12), np.uint8)
    labels[4:9, 4:9, 4:9] = 1
    labels[:4, :4] = 255
    study = Study("cube", tmp_path / "i.nii.gz", tmp_path / "l.nii.gz", weight=tmp_path / "w.nii.gz")
    # Obliquely, so that resampling comes between the voxels.
    affine = np.diag([1.1, 0.9, 1.0, 1.0])
    for path, voxels in ((study.image, labels), (study.label, labels), (study.weight, labels < 255)):
        nib.save(nib.Nifti1Image(voxels.astype(np.float32 if path != study.label else np.uint8), affine), path)
    return study


def settings(*overlays):
    changes = {"roi_size": [8, 8, 8], "epochs": 1, "iterations_per_epoch": 8, "validate_every": 1, "num_workers": 0}
    network = {"network": {"unet": {"channels": [4, 8], "strides": [2]}}, "spacing_mm": [1.0, 1.0, 1.0]}
    return load_config("train", ["lung_nodules", *overlays], device="cpu", changes=changes | network)


def test_a_weight_stays_with_its_label(study, tmp_path):
    """Through spacing, rotation and scaling: else a loss would meet labels that are no classes."""
    config = settings("pretrain")
    assert isinstance(config.get_parsed_content("loss"), WeightedCrossEntropyLoss)
    assert train(config, [study], [], tmp_path / "run")


def test_validation_needs_a_class_for_every_voxel(study, tmp_path):
    with pytest.raises(StudyError, match=r"l\.nii\.gz: has label 255, but the config has 2 classes"):
        train(settings("pretrain"), [study], [study], tmp_path / "run")


def test_other_losses_are_told_before_they_meet_it(study, tmp_path):
    plain = Study("cube", study.image, study.label)
    with pytest.raises(StudyError, match=r"l\.nii\.gz: has label 255, but the config has 2 classes"):
        train(settings(), [plain], [], tmp_path / "run")
    ignoring = settings()
    ignoring["loss"] = {"_target_": "rankseg_med.semisupervised.IgnoringDiceCELoss"}
    assert train(ignoring, [plain], [], tmp_path / "ignoring")
