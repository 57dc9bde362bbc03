"""Label maps of a BIDS data set, with and without records."""

import pytest

from rankseg_med.studies import Sidecar, StudyError, find_predictions, find_references, list_predictions


@pytest.fixture
def dataset(tmp_path):
    """Of three label maps; two have records."""
    (tmp_path / "dataset_description.json").write_text("{}")
    for name in ("sub-1/ses-2/anat/sub-1_ses-2", "sub-2/anat/sub-2", "sub-3/anat/sub-3"):
        path = tmp_path / f"{name}_dseg.nii.gz"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")
        path.with_name(path.name.replace("dseg", "probseg")).write_bytes(b"")
    record(tmp_path, "sub-1_ses-2_T1w", "../sub-1/ses-2/anat/sub-1_ses-2_dseg.nii.gz")
    record(tmp_path, "liver 2", "../sub-2/anat/sub-2_dseg.nii.gz")
    (tmp_path / "logs" / "run.json").write_text("{}")
    return tmp_path


def record(dataset, case_id, *outputs, time="", status="done"):
    written = {name: {"size_bytes": 0, "sha256": ""} for path in outputs for name in (path, path[:-7] + ".json")}
    content = {"job": "predict", "input_fingerprint": "", "config_digest": "", "host": "", "time": time}
    inputs = [f"raw/{case_id}.nii.gz"]
    sidecar = Sidecar.model_validate(
        {**content, "case_id": case_id, "status": status, "inputs": inputs, "outputs": written}
    )
    sidecar.write(dataset / "logs")


def test_by_the_ids_of_the_records_else_by_name(dataset):
    expected = {
        "sub-1_ses-2_T1w": dataset / "sub-1/ses-2/anat/sub-1_ses-2_dseg.nii.gz",
        "liver 2": dataset / "sub-2/anat/sub-2_dseg.nii.gz",
        "sub-3": dataset / "sub-3/anat/sub-3_dseg.nii.gz",
    }
    assert find_predictions(dataset) == find_references(dataset) == expected


def test_files_that_are_being_written_are_none(dataset):
    before = find_predictions(dataset)
    (dataset / "sub-2/anat/.0123abcd.4711@node7@.sub-2_dseg.nii.gz").write_bytes(b"")
    assert find_predictions(dataset) == before


@pytest.mark.parametrize("status", ["started", "failed"])
def test_one_whose_study_is_not_finished_keeps_its_id(dataset, status):
    """As a run leaves it that is killed, or fails, after the label map of a study is written."""
    record(dataset, "sub-3_T1w", status=status)
    assert find_predictions(dataset)["sub-3_T1w"] == dataset / "sub-3/anat/sub-3_dseg.nii.gz"


def test_of_two_studies_of_one_label_map_the_last_has_it(dataset):
    output = "../sub-3/anat/sub-3_dseg.nii.gz"
    record(dataset, "sub-3_T1w", output, time="2026-01-02")
    record(dataset, "sub-3_T2w", output, time="2026-01-01")
    record(dataset, "sub-3_T3w", time="2026-01-03", status="failed")
    assert find_predictions(dataset).keys() == {"sub-1_ses-2_T1w", "liver 2", "sub-3_T1w"}


def test_two_of_one_id(dataset):
    (dataset / "sub-3/anat/sub-3_dseg.nii.gz").rename(dataset / "sub-3/anat/liver 2_dseg.nii.gz")
    listing = list_predictions(dataset)
    assert [study.case_id for study in listing.studies] == ["sub-1_ses-2_T1w"]
    (fault,) = listing.faults
    assert (fault.case_id, len(fault.studies)) == ("liver 2", 2)
    assert "these files give the same case id, liver 2" in fault.reason


def test_none_at_all(tmp_path):
    (tmp_path / "dataset_description.json").write_text("{}")
    (tmp_path / "a.nii.gz").write_bytes(b"")
    with pytest.raises(StudyError, match="BIDS data set that has no label map"):
        list_predictions(tmp_path)
