import json

import pytest

from rankseg_med.evaluation import find_cases
from rankseg_med.evaluation.ab.unseen import check_unseen
from rankseg_med.studies import StudyError


@pytest.fixture
def overlay(tmp_path):
    (tmp_path / "tuned.yaml").write_text("decoder::coherence: 0.5\n")
    return tmp_path / "tuned.yaml"


@pytest.fixture
def folders(made_cases):
    return made_cases("p1_scan1", "p2_scan1")


@pytest.mark.parametrize("name", ["tuned.json", "tuned.record.json"])
def test_cases_that_were_tuned_on_are_named(overlay, folders, name):
    overlay.with_name(name).write_text(json.dumps({"cases": ["p2_scan1", "p3_scan1"], "seed": 0}))
    with pytest.raises(StudyError, match=r"was tuned on 1 of the 2 cases.*: p2_scan1; give cases"):
        check_unseen(overlay, find_cases(*folders))
    overlay.with_name(name).write_text(json.dumps({"cases": ["p3_scan1"]}))
    assert check_unseen(overlay, find_cases(*folders)) is None


def test_other_cases_of_the_same_patients_too(overlay, folders):
    record = overlay.with_suffix(".json")
    cases = find_cases(*folders, patients="(p.)_")
    record.write_text(json.dumps({"cases": ["p1_scan2"]}))
    assert check_unseen(overlay, cases) is None  # nothing says whose it is
    with pytest.raises(StudyError, match=r"p1_scan1 \(of patient p1\)"):
        check_unseen(overlay, cases, "(p.)_")
    record.write_text(json.dumps({"cases": ["old"], "patients": {"old": "p2"}}))
    with pytest.raises(StudyError, match=r": p2_scan1 \(of patient p2\);"):
        check_unseen(overlay, cases)
    with pytest.raises(ValueError, match="gives no patient for old"):
        check_unseen(overlay, cases, "(p.)_")


def test_without_a_record_nothing_can_be_said(overlay, folders):
    assert "has no record of its tuning" in check_unseen(overlay, find_cases(*folders))
    assert "has no record of its tuning" in check_unseen("demo", find_cases(*folders))


def test_a_file_that_is_no_record(overlay, folders):
    overlay.with_suffix(".json").write_text("{}")
    with pytest.raises(StudyError, match=r"tuned\.json: is no record of a tuning"):
        check_unseen(overlay, find_cases(*folders))
