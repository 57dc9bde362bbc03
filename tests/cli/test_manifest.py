"""`rankseg-med manifest --check`."""

import nibabel as nib
import numpy as np
import pytest


@pytest.fixture
def images(tmp_path):
    for case in "ab":
        nib.Nifti1Image(np.zeros((3, 4, 5), np.int16), np.eye(4)).to_filename(tmp_path / f"{case}.nii.gz")
    (tmp_path / "list.csv").write_text("case_id,image\na,a.nii.gz\nb,b.nii.gz\n")
    return tmp_path


@pytest.mark.parametrize("source", ["list.csv", "", "*.nii.gz"])
def test_nothing_is_wrong(rankseg_med, images, source):
    result = rankseg_med("manifest", "--check", images / source)
    assert result.code == 0
    assert "2 studies looked at, no faults" in result.out


def test_every_fault_is_a_line_and_the_exit_code_is_1(rankseg_med, images):
    (images / "a.nii.gz").write_bytes(b"x")
    with (images / "list.csv").open("a") as stream:
        stream.write("c,gone.nii\nd,C:/d.nii\n")
    result = rankseg_med("manifest", "--check", images / "list.csv")
    assert result.code == 1
    lines = [line for line in result.err.splitlines() if line.startswith("- ")]
    assert len(lines) == 3
    for line, text in zip(
        lines, ["line 5: image", "a.nii.gz: cannot be read", "gone.nii: there is no such"], strict=True
    ):
        assert text in line
    assert "3 studies looked at, 3 faults" in result.out


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("images",),
        ("images", "labels"),
        ("--output", "x.json"),
        ("images", "--check", "list.csv"),
        ("--check", "list.csv", "--output", "x.json"),
    ],
)
def test_arguments_that_do_not_go_together(rankseg_med, arguments):
    assert rankseg_med("manifest", *arguments).code == 2
