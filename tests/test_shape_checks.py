"""That tests would notice arguments that are not what signatures say."""

from pathlib import Path

import pytest
import torch

from rankseg_med.semisupervised.copy_paste import paste
from rankseg_med.studies import Manifest, Study
from rankseg_med.transforms import resample_slices

MASK = torch.ones(3, 4, dtype=torch.bool)
IMAGES = torch.zeros(2, 1, 3, 4)


def test_arguments_are_of_the_types_and_sizes_that_signatures_say():
    assert torch.equal(paste(IMAGES, IMAGES, MASK), IMAGES)
    with pytest.raises(TypeError, match="outside"):
        paste(IMAGES.numpy(), IMAGES, MASK)
    with pytest.raises(TypeError, match="mask"):
        paste(IMAGES, IMAGES, MASK.int())
    with pytest.raises(TypeError, match="inside"):
        paste(IMAGES, IMAGES[:1], MASK)


def test_the_sizes_of_one_call_are_not_those_of_the_next():
    for length in (1, 2):
        assert len(paste(IMAGES[:length], IMAGES[:length], MASK)) == length


def test_fields_of_dataclasses_are_arguments():
    with pytest.raises(TypeError, match="case_id"):
        Study(0, None)


def test_generators_are_checked_before_they_are_asked():
    with pytest.raises(TypeError, match="across"):
        resample_slices([], None, [])


def test_class_methods_and_what_properties_return_are_checked():
    with pytest.raises(TypeError, match="path"):
        Manifest.read(0)
    study = Study("case", Path("image.nii.gz"))
    object.__setattr__(study, "image", "no path")
    with pytest.raises(TypeError, match="return"):
        study.images  # noqa: B018


def test_a_test_may_do_without(wrong_types):
    assert paste(IMAGES, IMAGES[:1], MASK).shape == IMAGES.shape
    assert Study(0, None).case_id == 0
