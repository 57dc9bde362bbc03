"""A run does every case once, records each, loses none."""

import errno
import hashlib
import platform
from dataclasses import replace
from threading import Event

import pytest

from rankseg_med.executors import InProcesses
from rankseg_med.runs.run import RunOptions, run_job
from rankseg_med.studies import Sidecar, StudyError
from tests.runs.conftest import statuses


def sidecar(job, case) -> Sidecar:
    return Sidecar.read(Sidecar.path_in(job.output, case.case_id))


def test_outputs_and_sidecars_of_a_run(doubling, files):
    cases = files("1", "2")
    outcomes = list(run_job(doubling, cases))
    assert statuses(outcomes) == {"case_0": "done", "case_1": "done"}
    assert [path.read_text() for outcome in outcomes for path in outcome.paths] == ["2", "4"]
    record = sidecar(doubling, cases[1])
    assert (record.status, record.job) == ("done", "double")
    assert {name: file.model_dump() for name, file in record.outputs.items()} == {
        "case_1.txt": {"size_bytes": 1, "sha256": hashlib.sha256(b"4").hexdigest()}
    }
    assert record.details == {"number": 2}
    assert list(record.stage_seconds) == ["read", "write"]
    assert record.inputs == [str(cases[1].path)]
    assert record.versions["rankseg_med"]


def test_a_second_run_skips_what_is_done(doubling, files):
    cases = files("1", "2")
    list(run_job(doubling, cases))
    before = (doubling.output / "case_0.txt").stat().st_mtime_ns
    assert statuses(run_job(doubling, cases)) == {"case_0": "skipped", "case_1": "skipped"}
    assert (doubling.output / "case_0.txt").stat().st_mtime_ns == before


@pytest.mark.parametrize("change", ["settings", "input", "job"])
def test_what_was_made_otherwise_is_stale_until_overwritten(doubling, files, change):
    cases = files("1", "2")
    list(run_job(doubling, cases))
    job, expected = doubling, {"case_0": "skipped", "case_1": "stale"}
    if change == "input":
        cases[1].path.write_text("33")
    else:
        expected["case_0"] = "stale"
    if change == "settings":
        job = replace(doubling, digest="other settings")
    if change == "job":
        for case in cases:
            sidecar(job, case).model_copy(update={"job": "halve"}).write(job.output)
    outcomes = list(run_job(job, cases))
    assert statuses(outcomes) == expected
    assert (job.output / "case_1.txt").read_text() == "4"
    assert statuses(run_job(job, cases, RunOptions(overwrite=True)))["case_1"] == "done"
    assert (job.output / "case_1.txt").read_text() == ("66" if change == "input" else "4")


def test_files_that_no_record_speaks_of_are_left_alone(doubling, files):
    cases = files("1")
    doubling.output.mkdir()
    (doubling.output / "case_0.txt").write_text("drawn by hand")
    (outcome,) = run_job(doubling, cases)
    assert outcome.status == "stale"
    assert "case_0.txt was not written by a run that left a record" in outcome.reason
    assert (doubling.output / "case_0.txt").read_text() == "drawn by hand"


@pytest.mark.parametrize("state", ["started", "failed", "output lost"])
def test_unfinished_cases_are_done_again(doubling, files, state):
    cases = files("1")
    list(run_job(doubling, cases))
    if state == "output lost":
        (doubling.output / "case_0.txt").unlink()
    else:
        sidecar(doubling, cases[0]).model_copy(update={"status": state}).write(doubling.output)
    assert statuses(run_job(doubling, cases)) == {"case_0": "done"}


def test_a_failure_is_recorded_and_stops_nothing(doubling, files):
    cases = files("1", "raise", "3")
    outcomes = {outcome.case.case_id: outcome for outcome in run_job(doubling, cases)}
    assert statuses(outcomes.values()) == {"case_0": "done", "case_1": "failed", "case_2": "done"}
    assert outcomes["case_1"].reason == "ValueError: case_1 holds no number"
    record = sidecar(doubling, cases[1])
    assert record.error == "ValueError: case_1 holds no number"
    assert "raise ValueError" in record.traceback
    cases[1].path.write_text("2")
    assert statuses(run_job(doubling, cases)) == {"case_0": "skipped", "case_1": "done", "case_2": "skipped"}


def test_an_input_that_is_gone_fails_alone(doubling, files):
    cases = files("1", "2")
    cases[0].path.unlink()
    outcomes = list(run_job(doubling, cases))
    assert statuses(outcomes) == {"case_0": "failed", "case_1": "done"}
    assert str(cases[0].path) in outcomes[0].reason


@pytest.mark.parametrize(("retries", "status"), [(0, "failed"), (1, "done")])
def test_retries(doubling, files, retries, status):
    outcomes = list(run_job(doubling, files("first", "1"), RunOptions(retries=retries)))
    assert statuses(outcomes) == {"case_0": status, "case_1": "done"}
    assert max(outcome.attempts for outcome in outcomes) == retries + 1


def test_retries_end(doubling, files):
    (outcome,) = run_job(doubling, files("raise"), RunOptions(retries=3))
    assert (outcome.status, outcome.attempts) == ("failed", 4)


def test_fail_fast_starts_nothing_new(doubling, files):
    options = RunOptions(fail_fast=True)
    outcomes = list(run_job(doubling, files("raise", *["1"] * 50), options))
    assert outcomes[0].status == "failed"
    assert not options.stop.is_set(), "the event is the caller's, perhaps for several runs"
    assert len(outcomes) < 10
    assert len(list(doubling.output.glob("*.txt"))) == len(outcomes) - 1


def test_a_stopped_run_finishes_what_is_in_hand_and_is_resumed(doubling, files):
    cases, stop = files(*["1"] * 50), Event()
    outcomes = []
    for outcome in run_job(doubling, cases, RunOptions(stop=stop)):
        outcomes.append(outcome)
        stop.set()
    assert {outcome.status for outcome in outcomes} == {"done"}
    assert len(outcomes) < 10
    assert not [
        case
        for case in cases
        if (s := Sidecar.path_in(doubling.output, case.case_id)).exists() and Sidecar.read(s).status != "done"
    ]
    rest = statuses(run_job(doubling, cases))
    assert sorted(rest.values()) == ["done"] * (50 - len(outcomes)) + ["skipped"] * len(outcomes)


def test_inputs_are_never_replaced(doubling, files):
    cases = files("1")
    cases[0].path.rename(cases[0].path.with_name("case_0.txt"))
    job = replace(doubling, output=cases[0].path.parent)
    with pytest.raises(StudyError, match="an output would replace an input"):
        run_job(job, [replace(cases[0], path=cases[0].path.with_name("case_0.txt"))])


def test_a_foreign_file_in_a_sidecars_place_is_that_cases_problem(doubling, files):
    doubling.output.mkdir()
    (doubling.output / "case_0.json").write_text('{"anything": 1}')
    stale, done = run_job(doubling, files("1", "2"))
    assert (stale.status, done.status) == ("stale", "done")
    assert "case_0.json: is not the sidecar of a study" in stale.reason
    assert (doubling.output / "case_0.json").read_text() == '{"anything": 1}'


def test_a_full_disk_fails_the_case_even_if_that_cannot_be_recorded(doubling, files, monkeypatch):
    cases = files("1", "2")
    write = Sidecar.write

    def full(self, folder):
        if self.status != "started" and self.case_id == "case_0":
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, folder)

    monkeypatch.setattr(Sidecar, "write", full)
    outcomes = list(run_job(doubling, cases))
    assert statuses(outcomes) == {"case_0": "failed", "case_1": "done"}
    assert "No space left on device" in outcomes[0].reason
    monkeypatch.undo()
    assert statuses(run_job(doubling, cases)) == {"case_0": "done", "case_1": "skipped"}


def test_unwritable_output_folder(doubling, files):
    cases = files("1")
    doubling.output.parent.joinpath("out").write_text("a file in the way")
    with pytest.raises(OSError, match="cannot make the output folder"):
        run_job(doubling, cases)


@pytest.mark.slow
def test_leftovers_beside_what_is_done_are_removed(doubling, files, killed_while_writing):
    """Of a worker that outlived its killed run for a moment, while the next run did the case."""
    cases = files("1", "2")
    list(run_job(doubling, cases))
    leftovers = [killed_while_writing(doubling.output / name) for name in ("case_0.txt", "case_1.json")]
    stale = replace(doubling, digest="other")
    assert statuses(run_job(doubling, cases)) == {"case_0": "skipped", "case_1": "skipped"}
    assert not any(leftover.exists() for leftover in leftovers)
    leftover = killed_while_writing(doubling.output / "case_0.txt")
    assert set(statuses(run_job(stale, cases)).values()) == {"stale"}
    assert not leftover.exists()


def test_leftovers_of_killed_writers_are_removed(doubling, files):
    doubling.output.mkdir()
    name = f".0123abcd.999999999@{platform.node()}@.case_0.txt"
    (doubling.output / name).write_text("half")
    list(run_job(doubling, files("1")))
    assert sorted(path.name for path in doubling.output.iterdir()) == [
        "case_0.json",
        "case_0.txt",
        "plan.json",
        "run.json",
    ]


def test_stages_are_announced(doubling, files):
    seen = []
    options = RunOptions(on_stage=lambda case, stage, worker: seen.append((case.case_id, stage)))
    list(run_job(doubling, files("1", "2"), options))
    assert sorted(seen) == [("case_0", 0), ("case_0", 1), ("case_1", 0), ("case_1", 1)]


@pytest.fixture(scope="module")
def in_processes():
    return InProcesses(workers=1, timeout_s=3)


@pytest.mark.slow
def test_cases_that_hang_or_kill_their_process_fail_alone(doubling, files, in_processes):
    cases = files("1", "hang", "2", "die", "raise", "3")
    outcomes = {
        outcome.case.case_id: outcome for outcome in run_job(doubling, cases, RunOptions(executor=in_processes))
    }
    assert statuses(outcomes.values()) == {
        "case_0": "done",
        "case_1": "failed",
        "case_2": "done",
        "case_3": "failed",
        "case_4": "failed",
        "case_5": "done",
    }
    assert "ItemTimeout" in outcomes["case_1"].reason
    assert "WorkerDied" in outcomes["case_3"].reason
    assert "holds no number" in sidecar(doubling, cases[4]).traceback
    assert {path.name for path in doubling.output.iterdir() if path.name.startswith(".")} == set()


def test_a_failure_stays_on_record_if_the_run_is_stopped_before_it_is_tried_again(doubling, files):
    stop = Event()

    def stop_late(case, stage, worker):
        if case.case_id == "case_2":
            stop.set()

    outcomes = run_job(doubling, files("raise", "1", "2"), RunOptions(retries=2, stop=stop, on_stage=stop_late))
    assert statuses(outcomes) == {"case_0": "failed", "case_1": "done", "case_2": "done"}
    assert Sidecar.read(doubling.output / "case_0.json").status == "failed"


def test_an_input_that_changes_while_it_is_worked_on_is_never_done(doubling, files):
    cases = files("1")

    def change(case, stage, worker):
        if stage == 1:
            case.path.write_text("22")

    (outcome,) = run_job(doubling, cases, RunOptions(on_stage=change))
    assert (outcome.status, "changed" in outcome.reason) == ("failed", True)
    assert sidecar(doubling, cases[0]).status == "failed"
    (again,) = run_job(doubling, cases)
    assert (again.status, (doubling.output / "case_0.txt").read_text()) == ("done", "44")


def test_failures_that_a_stopped_run_did_not_try_again_are_still_failures(doubling, files):
    stop, entered = Event(), []

    def stop_at_second_try(case, stage, worker):
        entered.append(case.case_id)
        if entered.count("case_0") == 2:
            stop.set()

    cases = files("raise", "raise", "raise")
    outcomes = list(run_job(doubling, cases, RunOptions(retries=1, stop=stop, on_stage=stop_at_second_try)))
    assert statuses(outcomes) == dict.fromkeys(("case_0", "case_1", "case_2"), "failed")
    assert {outcome.case.case_id: outcome.attempts for outcome in outcomes} == {"case_0": 2, "case_1": 1, "case_2": 1}
