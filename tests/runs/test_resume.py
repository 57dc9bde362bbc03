"""What an earlier run left of a case holds for a later one exactly if it is what that run would write."""

import errno
import json
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from rankseg_med.runs import case_record
from rankseg_med.runs.resume import state_of
from rankseg_med.runs.run import RunOptions, run_job
from rankseg_med.runs.status import folder_status
from rankseg_med.studies import Sidecar
from tests.runs.conftest import Doubling, File, statuses


@pytest.mark.parametrize(
    ("alter", "reason"),
    [
        (lambda path: path.write_text("99"), "holds something else|has 2 bytes"),
        (lambda path: path.write_text("7"), "case_0.txt holds something else than what was written"),
        (lambda path: path.write_text(""), "case_0.txt has 0 bytes, and had 1 when it was written"),
        (lambda path: (path.unlink(), path.mkdir()), "case_0.txt"),
    ],
    ids=["replaced", "of the same size", "emptied", "a folder"],
)
def test_an_output_that_was_altered_is_not_done(doubling, files, alter, reason):
    cases = files("1", "2")
    list(run_job(doubling, cases))
    path = doubling.output / "case_0.txt"
    alter(path)
    stale, skipped = run_job(doubling, cases)
    assert (stale.status, skipped.status) == ("stale", "skipped")
    assert re.search(reason, stale.reason)
    if path.is_dir():
        path.rmdir()
    else:
        assert statuses(run_job(doubling, cases, RunOptions(overwrite=True))) == {"case_0": "done", "case_1": "skipped"}
        assert path.read_text() == "2"


def test_what_older_results_were_is_not_taken_for_new_ones(doubling, files):
    cases = files("1")
    list(run_job(doubling, cases))
    newer = replace(doubling)
    object.__setattr__(newer, "results_version", 2)
    (outcome,) = run_job(newer, cases)
    assert (outcome.status, "another version" in outcome.reason) == ("stale", True)
    assert statuses(run_job(newer, cases, RunOptions(overwrite=True))) == {"case_0": "done"}


def test_what_is_stale_says_which_setting_changed(doubling, files):
    cases = files("1")
    list(run_job(doubling, cases))
    (outcome,) = run_job(replace(doubling, digest="others"), cases)
    assert (outcome.status, outcome.reason.partition("with ")[2]) == (
        "stale",
        "other settings: whole was settings, is others",
    )
    sidecar = doubling.output / "case_0.json"
    content = json.loads(sidecar.read_text())
    assert content.pop("settings") == {"factor": "2", "whole": "settings"}
    sidecar.write_text(json.dumps(content))  # as earlier versions wrote it
    (outcome,) = run_job(replace(doubling, digest="others"), cases)
    assert "other settings or weights, or by another version" in outcome.reason


def damage(path, how: str) -> None:
    content = path.read_bytes()
    path.unlink()
    if how == "folder":
        path.mkdir()
    elif how == "pipe":
        os.mkfifo(path)
    elif how == "older":  # as the sidecars of version 0.1 had them
        path.write_text(json.dumps(json.loads(content) | {"outputs": ["case_0.txt"]}))
    elif how == "of another case":
        path.write_text(json.dumps(json.loads(content) | {"case_id": "another"}))
    else:
        kinds = {
            "empty": b"",
            "half": content[: len(content) // 2],
            "binary": bytes(range(256)),
            "not UTF-8": content.replace(b"case_0", b"\xff\xfe"),
            "null": b"null",
            "a list": b"[]",
            "deep": b"[" * 100_000,
            "status": content.replace(b'"done"', b'"perhaps"'),
            "huge number": content.replace(b'"seconds":', b'"seconds": 1e999999, "x":'),
        }
        path.write_bytes(kinds[how])


@pytest.mark.parametrize(
    "how",
    ["empty", "half", "binary", "not UTF-8", "null", "a list", "deep", "status", "older", "of another case", "pipe"],
)
def test_a_damaged_sidecar_is_one_cases_problem(doubling, files, how):
    cases = files("1", "2")
    list(run_job(doubling, cases))
    damage(doubling.output / "case_0.json", how)
    stale, skipped = run_job(doubling, cases)
    assert (stale.status, skipped.status) == ("stale", "skipped")
    assert "case_0.json" in stale.reason
    assert (doubling.output / "case_0.txt").read_text() == "2"
    assert statuses(run_job(doubling, cases, RunOptions(overwrite=True))) == {"case_0": "done", "case_1": "skipped"}
    assert Sidecar.read(doubling.output / "case_0.json").status == "done"


def test_a_folder_in_a_sidecars_place_is_one_cases_problem(doubling, files):
    cases = files("1", "2")
    list(run_job(doubling, cases))
    damage(doubling.output / "case_0.json", "folder")
    for options in (RunOptions(), RunOptions(overwrite=True)):
        broken, skipped = sorted(run_job(doubling, cases, options), key=lambda outcome: outcome.case.case_id)
        assert (broken.status in ("stale", "failed"), skipped.status) == (True, "skipped")
        assert "case_0.json" in broken.reason


def test_a_case_whose_start_cannot_be_recorded_fails_alone_and_is_tried_again(doubling, files, monkeypatch):
    cases = files("1", "2", "3")
    failures = []

    def full(job, case, fingerprint):
        if case.case_id == "case_1" and not failures:
            failures.append(case)
            raise OSError(errno.ENOSPC, "No space left on device", "case_1.json")
        return case_record.record_started(job, case, fingerprint)

    monkeypatch.setattr("rankseg_med.runs.run.record_started", full)
    outcomes = {outcome.case.case_id: outcome for outcome in run_job(doubling, cases)}
    assert statuses(outcomes.values()) == {"case_0": "done", "case_1": "failed", "case_2": "done"}
    assert "No space left on device: 'case_1.json'" in outcomes["case_1"].reason
    failures.clear()
    again = run_job(doubling, cases, RunOptions(retries=1))
    assert statuses(again) == {"case_0": "skipped", "case_1": "done", "case_2": "skipped"}


def test_an_empty_fingerprint_never_equals_another(doubling, files):
    """As of a series that could not be read, when it was done and now: nothing says that it is the same."""
    cases = files("1")
    list(run_job(doubling, cases))
    path = doubling.output / "case_0.json"
    Sidecar.read(path).model_copy(update={"input_fingerprint": ""}).write(doubling.output)
    cases[0].path.unlink()
    assert statuses(run_job(doubling, cases)) == {"case_0": "stale"}


def test_cases_of_one_id_or_one_output_are_refused_and_the_rest_is_done(doubling, files):
    first, second, third = files("1", "2", "3")
    outcomes = list(run_job(doubling, [first, second, replace(third, case_id="case_0")]))
    assert [(outcome.case.case_id, outcome.status) for outcome in outcomes] == [
        ("case_0", "failed"),
        ("case_0", "failed"),
        ("case_1", "done"),
    ]
    assert "would be written for each of 'case_0', 'case_0'" in outcomes[0].reason
    assert not (doubling.output / "case_0.txt").exists()


class _WithLogs(Doubling):
    @property
    def records(self) -> Path:
        return self.output / "logs"


def test_records_that_lie_in_a_folder_of_their_own(doubling, files):
    job, cases = _WithLogs(doubling.output), files("1", "raise")
    assert statuses(run_job(job, cases)) == {"case_0": "done", "case_1": "failed"}
    assert {path.name for path in job.output.iterdir()} == {"case_0.txt", "logs"}
    assert list(Sidecar.read(job.records / "case_0.json").outputs) == ["../case_0.txt"]
    status = folder_status(job.output)
    assert (status.folder, status.done, len(status.runs)) == (job.records, ["case_0"], 1)
    (job.output / "case_0.txt").write_text("7")
    assert statuses(run_job(job, cases)) == {"case_0": "stale", "case_1": "failed"}
    (job.output / "case_0.txt").unlink()
    assert folder_status(job.output).altered == {"case_0": "case_0.txt is missing"}
    assert statuses(run_job(job, cases)) == {"case_0": "done", "case_1": "failed"}


@dataclass(frozen=True)
class ReadAs(File):
    """A file that may be read in several ways."""

    read_as: str = ""


def test_another_way_of_reading_is_another_input(doubling, files):
    (case,) = files("1")
    list(run_job(doubling, [case]))
    assert statuses(run_job(doubling, [ReadAs(case.case_id, case.path)])) == {"case_0": "skipped"}
    (outcome,) = run_job(doubling, [ReadAs(case.case_id, case.path, "axes CXYZ")])
    assert (outcome.status, "of another input" in outcome.reason) == ("stale", True)


@dataclass(frozen=True)
class Both(Doubling):
    """Keeps the log of each case too."""

    def outputs_of(self, case: File) -> tuple[Path, ...]:
        return (*super().outputs_of(case), self.output / f"{case.case_id}.log")


def test_what_is_left_of_a_case_that_lost_a_file_is_not_replaced_if_it_was_changed(doubling, files):
    cases = files("1", "2")
    list(run_job(doubling, cases))
    (doubling.output / "case_1.txt").write_text("7")
    # Neither has a log.
    assert [state_of(Both(doubling.output), case).state for case in cases] == ["todo", "stale"]
    assert "changed since" in state_of(Both(doubling.output), cases[1]).reason
    (doubling.output / "case_1.txt").unlink()
    assert state_of(Both(doubling.output), cases[1]).state == "todo"
