"""The README runs as it stands there, on small data."""

import csv
from pathlib import Path

import pytest
import torch
from monai.transforms import Compose

from tests.docs import given
from tests.nnunet.given import write_image

HERE = Path()


@pytest.mark.session("README.md", "rankseg_med")
def test_the_beginning(run):
    pytest.importorskip("nnunetv2", reason="nnunetv2 is not installed (extra nnunet)")
    given.write_probabilities(HERE / "nnunet_output", HERE / "unknown", "stored")
    given.write_dataset(HERE / "nnunet_output")
    given.write_results(HERE / "nnUNetTrainer__nnUNetPlans__3d_fullres", HERE / "labelsTr")
    write_image(HERE / "imagesTs" / "case_0000.nii.gz", shape=(20, 18, 12))
    given.write_studies(HERE, HERE / "unknown", "scan")
    found = run(probabilities=torch.rand(3, 16, 16, 16).softmax(0), preprocessing=Compose([]))
    assert found["label_map"].shape == (16, 16, 16)
    for path in ("labels/stored.nii.gz", "labelsTs/case.nii.gz", "label.nii.gz", "verdict/ab.html"):
        assert Path(path).is_file()


@pytest.mark.session("README.md", "From images to scores")
def test_from_images_to_scores(run):
    given.write_blobs(HERE / "images", HERE / "labels", *"abcde")
    run()
    with Path("scores/scores.csv").open(newline="") as stream:
        assert {row["name"] for row in csv.DictReader(stream)} == {"anterior", "posterior"}


@pytest.mark.slow
@pytest.mark.session("README.md", "Thousands of studies")
def test_thousands_of_studies(run):
    given.write_studies(HERE / "images", HERE / "labels", *"ab")
    given.write_list(HERE / "list.json", "ab", "organ", "tumour")
    run()
    assert {path.name for path in Path("out").glob("*.nii.gz")} == {"a.nii.gz", "b.nii.gz"}
