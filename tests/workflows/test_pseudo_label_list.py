"""The data list of pseudo-labels: what is in it, what is not, and where its paths lead."""

import json
import os
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from monai.data import load_decathlon_datalist

from rankseg_med.configuration import load_config
from rankseg_med.networks import SHIPPED_WEIGHTS
from rankseg_med.runs.job import results_digest
from rankseg_med.studies import Manifest, OutputFile, Sidecar, Study, find_studies, fingerprint
from rankseg_med.workflows.pseudo_label import PseudoLabelJob
from rankseg_med.workflows.pseudo_label_list import write_data_list


def job_of(folder, **labeller):
    config = load_config("inference", "demo", device="cpu", changes={"label_names": ["background", "a", "b"]})
    config["pseudo_labeller"] = {"_target_": "rankseg_med.semisupervised.PseudoLabeller", **labeller}
    return PseudoLabelJob(config, [SHIPPED_WEIGHTS / "demo.safetensors"], folder)


@pytest.fixture
def job(tmp_path):
    return job_of(tmp_path / "out")


@pytest.fixture
def studies(tmp_path, job):
    """Three images, labelled with mean expected Dice 0.9, 0.7 and 0.5."""
    (tmp_path / "images").mkdir()
    job.output.mkdir()
    found = []
    for index, expected in enumerate((0.9, 0.7, 0.5)):
        study = Study(f"case_{index}", tmp_path / "images" / f"case_{index}.nii.gz", fold=index)
        for folder in (tmp_path / "images", job.output):
            nib.save(nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4)), folder / study.image.name)
        record(job, study, expected)
        found.append(study)
    return found


def record(job, study, expected, /, voxels=(5, 3), **entries):
    path = job.output / study.image.name
    content = {
        **{"case_id": study.case_id, "job": "pseudo-label", "status": "done", "inputs": [str(study.image)]},
        **{
            "input_fingerprint": fingerprint(study.images),
            "config_digest": results_digest(job),
            "time": "",
            "host": "",
        },
        "outputs": {path.name: OutputFile.of(path)},
        "expected_dice": {"1": expected, "2": expected},
        "mean_expected_dice": expected,
        "voxels": {str(label): number for label, number in enumerate(voxels, start=1)},
    }
    Sidecar.model_validate(content | entries).write(job.output)


def test_a_list_to_train_on(job, studies, killed_while_writing):
    leftover = killed_while_writing(job.output / "data_list" / "pseudo_labels.json")
    written = write_data_list(job, studies)
    assert (written.listed, written.left_out, written.missing) == (["case_0", "case_1", "case_2"], {}, [])
    assert not leftover.exists()
    listed = find_studies(written.path)
    for study, source in zip(listed, studies, strict=True):
        assert (study.case_id, study.fold) == (source.case_id, source.fold)
        assert study.image.samefile(source.image)
        assert study.label.samefile(job.output / source.image.name)
    manifest = Manifest.read(written.path)
    assert manifest.labels == {"0": "background", "1": "a", "2": "b"}
    assert not any(os.path.isabs(entry.image) or os.path.isabs(entry.label) for entry in manifest.training)  # noqa: PTH117
    by_monai = load_decathlon_datalist(written.path)
    assert all(study.image.samefile(entry["image"]) for entry, study in zip(by_monai, studies, strict=True))
    assert by_monai[0]["expected_dice"] == {"1": 0.9, "2": 0.9}


def test_poor_ones_are_left_out_and_named(job, studies):
    written = write_data_list(job, studies, min_expected_dice=0.7)
    assert written.listed == ["case_0", "case_1"]
    assert written.left_out == {"case_2": 0.5}
    content = json.loads(written.path.read_text())
    assert (content["min_expected_dice"], content["left_out"]) == (0.7, {"case_2": 0.5})
    assert write_data_list(job, studies, min_expected_dice=0.95).listed == []
    assert not written.path.exists()
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\], got 1.5"):
        write_data_list(job, studies, min_expected_dice=1.5)


def test_only_what_is_done_with_these_settings(job, studies):
    record(job, studies[0], 0.9, status="failed", error="out of memory")
    record(job, studies[1], 0.9, config_digest="other")
    (job.output / "case_2.nii.gz").unlink()
    never = Study("never", studies[0].image)
    assert write_data_list(job, [*studies, never]).missing == ["case_0", "case_1", "case_2", "never"]
    record(job, studies[0], 0.9, job="predict")
    assert "case_0" in write_data_list(job, studies).missing


def test_ignored_voxels_are_a_named_value(job, studies):
    job = job_of(job.output, min_confidence=0.5, ignore_index=7)
    for study in studies:
        record(job, study, 0.9)
    assert Manifest.read(write_data_list(job, studies).path).labels["7"] == "ignored"


def test_paths_lead_out_of_a_linked_folder(job, studies, tmp_path):
    real = tmp_path / "somewhere" / "deep" / "real"
    real.parent.mkdir(parents=True)
    job.output.rename(real)
    job.output.symlink_to(real)
    (study, *_) = find_studies(write_data_list(job, studies).path)
    assert study.image.samefile(studies[0].image)


def test_several_images_of_a_study(job, studies):
    study = replace(studies[0], more_images=(studies[1].image,))
    record(job, study, 0.9)
    (listed,) = find_studies(write_data_list(job, [study]).path)
    assert [image.name for image in listed.images] == ["case_0.nii.gz", "case_1.nii.gz"]


def test_empty_label_maps_are_left_out_unless_asked_for(job, studies):
    record(job, studies[1], 0.0, voxels=(0, 0))
    written = write_data_list(job, studies)
    assert (written.listed, written.empty, written.is_written) == (["case_0", "case_2"], ["case_1"], True)
    assert json.loads(written.path.read_text())["empty"] == ["case_1"]
    kept = write_data_list(job, studies, keep_empty=True)
    assert (kept.listed, kept.empty) == (["case_0", "case_1", "case_2"], [])
    # Their expected Dice is 0 by convention, which says nothing of them.
    strict = write_data_list(job, studies, keep_empty=True, min_expected_dice=0.01)
    assert "case_1" in strict.listed


@pytest.mark.parametrize("keep_empty", [False, True])
def test_a_list_in_which_a_class_never_occurs_is_refused(job, studies, keep_empty):
    assert write_data_list(job, studies).path.exists()
    for study in studies:
        record(job, study, 0.9, voxels=(5, 0))
    refused = write_data_list(job, studies, keep_empty=keep_empty)
    assert (refused.absent, refused.is_written) == (["b"], False)
    assert not refused.path.exists()
    record(job, studies[2], 0.9, voxels=(0, 1))
    assert write_data_list(job, studies, keep_empty=keep_empty).is_written


def test_a_pseudo_label_that_was_altered_is_not_listed(job, studies):
    (job.output / "case_1.nii.gz").write_bytes(b"edited by hand")
    assert write_data_list(job, studies).missing == ["case_1"]
