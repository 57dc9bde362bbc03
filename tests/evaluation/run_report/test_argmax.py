"""Argmax beside what was decoded; cases have a core that argmax keeps, and a rim that decoding adds."""

import re

import nibabel as nib
import numpy as np
import pytest
import torch

from rankseg_med.calibration import Temperature, save_calibration
from rankseg_med.configuration import load_config
from rankseg_med.evaluation import evaluate, write_report
from rankseg_med.runs import RunOptions, run_job
from rankseg_med.studies import find_probabilities, read_nnunet_labels
from rankseg_med.workflows import DecodeJob
from tests.evaluation.conftest import save_label_map, save_probabilities
from tests.evaluation.rim_cases import core_and_rim, write_case
from tests.evaluation.run_report.report_folders import studies_in
from tests.report.written_page import facts_in

DISAGREEMENT = "Largest disagreement with the argmax label map (white outline): "


def decode(folder, axes=None, images=None, output="labels", **settings):
    """Decode what there is; presence is sure, so that the rim is taken."""
    config = load_config("decode", None)
    config["decoder"] = {"_target_": "rankseg_med.decode.make_decoder", "name": "dice", "presence": "always"}
    for name, value in settings.items():
        config[name] = value
    probabilities = folder / "probabilities"
    job = DecodeJob(config, folder / output, read_nnunet_labels(probabilities))
    outcomes = list(run_job(job, find_probabilities(probabilities, images, axes), RunOptions()))
    assert {outcome.status for outcome in outcomes} == {"done"}, [outcome.reason for outcome in outcomes]
    return job.output


def captions(study) -> list[str]:
    return [picture["caption"] for picture in study["slices"]]


@pytest.fixture
def one_case(tmp_path):
    """A rim of 5 x 5 voxels around a core of 3 x 3, on each of three slices."""
    write_case(tmp_path, "a", 3, rim=True)
    return tmp_path


def test_the_rim_is_where_they_disagree(one_case):
    page = write_report(decode(one_case)).page
    study = studies_in(page)["a"]
    assert captions(study)[1].startswith(f"{DISAGREEMENT}16 voxels")
    (note,) = study["notes"]
    assert note == (
        "Stored probabilities were decoded, and no image: name the images to see them. a.nii.gz beside the "
        "probabilities may be a label map, such as nnU-Net's own."
    )
    assert any(note.startswith("Argmax's label maps are made again") for note in facts_in(page)["notes"])


def test_the_report_of_an_evaluation_too(one_case):
    evaluate(decode(one_case), one_case / "references", {1: "tumour"}, output=one_case / "scores")
    study = studies_in(write_report(one_case / "scores").page)["a"]
    assert captions(study)[1].startswith(f"{DISAGREEMENT}16 voxels")


def test_argmax_itself_and_another_label_map(one_case):
    labels = decode(one_case)
    save_label_map(one_case / "other" / "a.nii.gz", core_and_rim(3)[0])
    against = studies_in(write_report(labels, against=one_case / "other").page)["a"]
    assert [caption.split(" (")[0] for caption in captions(against)[1:]] == [
        "Largest disagreement with the other label map"
    ]
    argmax = {"_target_": "rankseg_med.decode.make_decoder", "name": "argmax"}
    by_argmax = decode(one_case, output="by argmax", decoder=argmax)
    assert len(captions(studies_in(write_report(by_argmax).page)["a"])) == 1


@pytest.mark.parametrize("change", ["other values", "gone"])
def test_probabilities_that_are_not_what_they_were(one_case, change):
    labels, file = decode(one_case), one_case / "probabilities" / "a.npz"
    if change == "gone":
        file.unlink()
    else:
        write_case(one_case, "a", 4, rim=True)
    study = studies_in(write_report(labels).page)["a"]
    assert len(captions(study)) == 1
    (note,) = (note for note in study["notes"] if note.startswith("The argmax label map is not shown: "))
    assert re.search("changed since they were decoded" if change != "gone" else r"a\.npz", note)


def test_order_of_axes_is_on_record(tmp_path):
    core, both = core_and_rim(3)
    foreground = np.where(core, 0.98, np.where(both, 0.495, 0.0)).astype(np.float32)
    save_label_map(tmp_path / "probabilities" / "a.nii.gz", core)
    # Without being told, it would be taken for C, X, Y, Z.
    np.save(tmp_path / "probabilities" / "a.npy", np.stack([1 - foreground, foreground]).transpose(0, 3, 2, 1))
    study = studies_in(write_report(decode(tmp_path, axes="CZYX")).page)["a"]
    assert captions(study)[1].startswith(f"{DISAGREEMENT}16 voxels")


def test_regions_are_each_at_one_half(tmp_path):
    core, both = core_and_rim(3)
    whole = np.where(both, 0.9, 0.0)
    inner = np.where(core, 0.98, np.where(both, 0.495, 0.0))
    save_probabilities(tmp_path / "probabilities", "a", np.stack([whole, inner]).astype(np.float32))
    (tmp_path / "probabilities" / "dataset.json").write_text(
        '{"labels": {"background": 0, "whole": [1, 2], "core": [2]}, "regions_class_order": [1, 2]}'
    )
    study = studies_in(write_report(decode(tmp_path)).page)["a"]
    # The rim is 1 by halves, and 2 as decoded.
    assert captions(study)[1].startswith(f"{DISAGREEMENT}16 voxels")


def test_what_argmax_lacks_is_said(one_case):
    calibration = Temperature(2)
    calibration.inverse_temperature = torch.tensor(0.9)
    save_calibration(calibration, one_case / "calibration.json")
    cleanup = {"_target_": "rankseg_med.transforms.KeepLargestComponent", "labels": [[1]]}
    labels = decode(one_case, calibration=str(one_case / "calibration.json"), cleanup=cleanup)
    notes = studies_in(write_report(labels).page)["a"]["notes"]
    assert (
        "The argmax label map is of the probabilities as they are stored, without the calibration and the cleanup."
        in notes
    )


def test_of_many_studies_the_least_certain_alone(tmp_path):
    for index in range(8):
        write_case(tmp_path, f"case_{index}", 3, rim=True)
        # Less and less certain.
        file = tmp_path / "probabilities" / f"case_{index}.npz"
        values = np.load(file)["probabilities"]
        values[1] *= 1 - 0.01 * index
        values[0] = 1 - values[1]
        np.savez(file, probabilities=values)
    studies = studies_in(write_report(decode(tmp_path)).page)
    shown = {case_id for case_id, study in studies.items() if len(captions(study)) > 1}
    assert shown == {f"case_{index}" for index in range(2, 8)}


def test_the_record_says_what_is_the_image(one_case):
    core, _ = core_and_rim(3)
    (one_case / "images").mkdir()
    affine = nib.load(one_case / "references" / "a.nii.gz").affine
    nib.Nifti1Image(np.where(core, 40, 10).astype(np.int16), affine).to_filename(one_case / "images" / "a_0000.nii.gz")
    labels = decode(one_case, images=one_case / "images")
    study = studies_in(write_report(labels).page)["a"]
    assert dict(study["facts"])["image"] == str(one_case / "images" / "a_0000.nii.gz")
    assert not study["notes"]
    # Where it is not on record, it may be named for the report.
    named = write_report(decode(one_case, output="without"), images=one_case / "images")
    assert not studies_in(named.page)["a"]["notes"]
