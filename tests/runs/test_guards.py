"""Nothing that a study consists of is ever replaced, by whatever path it is reached."""

import os
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from rankseg_med.configuration.config import load_config
from rankseg_med.runs.run import RunOptions, run_job
from rankseg_med.studies import StudyError, find_probabilities
from rankseg_med.workflows.decode import DecodeJob
from tests.runs.conftest import Doubling, File


@dataclass(frozen=True)
class LabelledFile(File):
    label: Path | None = None


class DoublingOfLabelled(Doubling):
    def kept_of(self, case: LabelledFile) -> tuple[Path, ...]:
        return (case.path, case.label)


def spellings(folder: Path, tmp_path: Path) -> dict[str, Path]:
    """The same folder by other paths."""
    (tmp_path / "link").symlink_to(folder)
    return {"itself": folder, "link": tmp_path / "link", "dots": folder / ".." / folder.name}


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("spelling", ["itself", "link", "dots"])
@pytest.mark.parametrize("kept", ["input", "label"])
def test_inputs_and_labels_are_never_replaced(tmp_path, files, kept, spelling, overwrite):
    (case,) = files("1")
    folder = tmp_path / "kept"
    folder.mkdir()
    precious = folder / "case_0.txt"
    precious.write_text("1")
    case = LabelledFile("case_0", precious if kept == "input" else case.path, precious)
    job = DoublingOfLabelled(spellings(folder, tmp_path)[spelling])
    with pytest.raises(StudyError, match="an output would replace an input or a label"):
        run_job(job, [case], RunOptions(overwrite=overwrite))
    assert precious.read_text() == "1"
    assert [path.name for path in folder.iterdir()] == ["case_0.txt"]


def test_another_cases_label_counts_too(tmp_path, files):
    first, second = files("1", "2")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "case_0.txt").write_text("the label of case_1")
    cases = [
        LabelledFile("case_0", first.path, first.path),
        LabelledFile("case_1", second.path, tmp_path / "out/case_0.txt"),
    ]
    with pytest.raises(StudyError, match=r"case_0\.txt of case_1"):
        run_job(DoublingOfLabelled(tmp_path / "out"), cases, RunOptions(overwrite=True))


def test_a_hard_link_is_the_same_file(tmp_path, doubling, files):
    (case,) = files("1")
    doubling.output.mkdir()
    os.link(case.path, doubling.output / "case_0.txt")
    with pytest.raises(StudyError, match="would replace"):
        run_job(doubling, [case], RunOptions(overwrite=True))


def test_a_bind_mount_is_the_same_folder(tmp_path, files):
    (case,) = files("1")
    (tmp_path / "mounted").mkdir()
    mounted = subprocess.run(
        ["mount", "--bind", case.path.parent, tmp_path / "mounted"], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        job, case = Doubling(tmp_path / "mounted"), replace(case, case_id="0")
        with pytest.raises(StudyError, match="would replace"):
            run_job(job, [case], RunOptions(overwrite=True))
        assert case.path.read_text() == "1"
    finally:
        subprocess.run(["umount", tmp_path / "mounted"], check=True)


def test_decoding_never_replaces_the_labels_that_the_list_of_images_names(tmp_path):
    for folder in ("images", "labels", "probabilities"):
        (tmp_path / folder).mkdir()
        shape = (4, 4, 4, 2) if folder == "probabilities" else (4, 4, 4)
        dtype = np.float32 if folder == "probabilities" else np.uint8
        nib.save(nib.Nifti1Image(np.full(shape, 0.5).astype(dtype), np.eye(4)), tmp_path / folder / "a.nii.gz")
    (tmp_path / "list.csv").write_text("case_id,image,label\na,images/a.nii.gz,labels/a.nii.gz\n")
    studies = find_probabilities(tmp_path / "probabilities", images=tmp_path / "list.csv")
    job = DecodeJob(load_config("decode", None), tmp_path / "labels")
    with pytest.raises(StudyError, match="would replace an input or a label"):
        run_job(job, studies, RunOptions(overwrite=True))
