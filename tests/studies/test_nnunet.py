"""Examples are those of nnU-Net's documentation on region-based training."""

import json

import pytest
import torch

from rankseg_med.studies import StudyError
from rankseg_med.studies.nnunet import nnunet_reorients, read_nnunet_labels

BRATS = {"background": 0, "whole tumor": [1, 2, 3], "tumor core": [2, 3], "enhancing tumor": 3}


def write(folder, **content):
    (folder / "dataset.json").write_text(json.dumps({"channel_names": {"0": "CT"}, "numTraining": 5, **content}))


def test_classes(tmp_path):
    write(tmp_path, labels={"background": 0, "liver": 1, "tumor": 2, "ignore": 3})
    labels = read_nnunet_labels(tmp_path)
    assert (labels.channels, labels.regions) == (3, None)
    assert labels.names == {"liver": (1,), "tumor": (2,)}


def test_regions_are_painted_in_nnunets_order(tmp_path):
    write(tmp_path, labels={**BRATS, "ignore": 4}, regions_class_order=[1, 2, 3])
    labels = read_nnunet_labels(tmp_path)
    assert labels.names == {"whole tumor": (1, 2, 3), "tumor core": (2, 3), "enhancing tumor": (3,)}
    assert (labels.channels, labels.regions.regions) == (3, ((1, 2, 3), (2, 3), (3,)))
    masks = torch.tensor([[1, 1, 1, 0, 0], [0, 1, 1, 0, 1], [0, 0, 1, 0, 0]], dtype=torch.uint8)
    assert labels.regions.label_map(masks).tolist() == [1, 2, 3, 0, 2]


def test_kits_order(tmp_path):
    """Its channels' labels do not follow their numbers: masses without tumour are cysts, label 3."""
    write(
        tmp_path,
        labels={"background": 0, "kidney": [1, 2, 3], "masses": [2, 3], "tumor": 2},
        regions_class_order=[1, 3, 2],
    )
    masks = torch.tensor([[1, 1, 1], [0, 1, 1], [0, 0, 1]], dtype=torch.uint8)
    assert read_nnunet_labels(tmp_path).regions.label_map(masks).tolist() == [1, 3, 2]


@pytest.mark.parametrize("order", [None, [1, 2]])
def test_order_that_does_not_fit(tmp_path, order):
    write(tmp_path, labels=BRATS, regions_class_order=order)
    with pytest.raises(StudyError, match=r"regions_class_order must have a label for each region \(3\)"):
        read_nnunet_labels(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", '{"labels": {"a": "b"}}', "\xff"])
def test_files_that_are_not_nnunets(tmp_path, content):
    (tmp_path / "dataset.json").write_bytes(content.encode("latin-1"))
    (tmp_path / "plans.json").write_bytes(content.encode("latin-1").replace(b"labels", b"image_reader_writer"))
    with pytest.raises(StudyError, match=r"dataset.json: is not nnU-Net's dataset.json"):
        read_nnunet_labels(tmp_path)
    with pytest.raises(StudyError, match=r"plans.json: is not nnU-Net's plans.json"):
        nnunet_reorients(tmp_path)


def test_without_the_files(tmp_path):
    assert read_nnunet_labels(tmp_path) is None
    assert not nnunet_reorients(tmp_path)
