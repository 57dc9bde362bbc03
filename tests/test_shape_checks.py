"""That tests would notice arguments that are not what signatures say."""

import pytest
import torch

from rankseg_med.semisupervised.copy_paste import paste
from rankseg_med.studies import Study

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


def test_a_test_may_do_without(wrong_types):
    assert paste(IMAGES, IMAGES[:1], MASK).shape == IMAGES.shape
    assert Study(0, None).case_id == 0
