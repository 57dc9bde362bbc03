"""Several runs in one folder at the same time."""

import os
import platform
import subprocess
import sys
import time
from dataclasses import replace
from threading import Barrier, Thread, Timer

import pytest

from rankseg_med.runs import claims
from rankseg_med.runs.claims import FolderHeldError, claimed
from rankseg_med.runs.job import results_digest
from rankseg_med.runs.run import RunOptions, run_job
from rankseg_med.studies import Sidecar
from tests.runs.conftest import statuses


def holder(folder, run: str, **entries: object) -> None:
    """A claim as another run would leave it."""
    content = {"run": run, "job": "double", "digest": "other", "process": os.getpid(), "started": "then"}
    (folder / ".claims").mkdir(exist_ok=True)
    path = folder / ".claims" / f"{run}.run"
    path.write_text(claims.Holder.model_validate({"host": platform.node(), **content, **entries}).model_dump_json())


def a_dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_other_settings_are_refused_at_once_and_it_is_said_who_holds_the_folder(doubling, files):
    cases = files("1", "2")
    running = run_job(doubling, cases)
    assert next(running).status == "done"
    before = (doubling.output / "run.json").read_bytes()
    start = time.monotonic()
    with pytest.raises(FolderHeldError, match=rf"double \(process {os.getpid()} on {platform.node()}, since 20"):
        next(run_job(replace(doubling, digest="other"), cases, RunOptions(overwrite=True)))
    assert time.monotonic() - start < 5
    assert (doubling.output / "run.json").read_bytes() == before, "a refused run must leave no trace"
    assert statuses(running) == {"case_1": "done"}
    assert statuses(run_job(replace(doubling, digest="other"), cases, RunOptions(overwrite=True))) == {
        "case_0": "done",
        "case_1": "done",
    }
    assert not (doubling.output / ".claims").exists()


def test_runs_of_the_same_settings_share_the_cases(doubling, files):
    cases = files(*["1"] * 12)
    job = replace(doubling, seconds=0.02)
    barrier, results = Barrier(3), []

    def run() -> None:
        barrier.wait()
        results.append(statuses(run_job(job, cases)))

    threads = [Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for case in cases:
        assert sorted(result[case.case_id] for result in results) == ["done", "skipped", "skipped"]
    assert all(Sidecar.read(job.output / f"{case.case_id}.json").status == "done" for case in cases)
    assert not (job.output / ".claims").exists()


def test_a_case_of_another_run_is_done_here_once_that_run_has_died(doubling, files):
    cases = files("1", "2")
    doubling.output.mkdir()
    with claimed(doubling.output, "double", results_digest(doubling)) as other:
        assert other.take("case_1")
        running = run_job(doubling, cases)
        assert next(running).case.case_id == "case_0"
        thread = Thread(target=lambda: (time.sleep(0.3), other.give_back("case_1")))
        thread.start()
        assert statuses(running) == {"case_1": "done"}
        thread.join()


def test_a_run_that_waits_for_another_loads_nothing_meanwhile(doubling, files):
    """Networks are built when it starts, and once more when there is something to do."""
    doubling.output.mkdir()
    built = []

    class Building(type(doubling)):
        def build(self):
            built.append(time.monotonic())
            return super().build()

    with claimed(doubling.output, "double", results_digest(doubling)) as other:
        for case_id in ("case_0", "case_1"):
            other.take(case_id)
        for seconds, case_id in ((0.3, "case_0"), (1.3, "case_1")):
            Timer(seconds, other.give_back, [case_id]).start()
        assert statuses(run_job(Building(doubling.output), files("1", "2"))) == {"case_0": "done", "case_1": "done"}
    assert len(built) == 2


def test_a_later_process_of_the_same_number_is_not_the_holder(doubling, files):
    doubling.output.mkdir()
    holder(doubling.output, "dead", born="1")
    assert statuses(run_job(doubling, files("1"))) == {"case_0": "done"}


def test_a_run_that_waits_for_another_can_be_stopped(doubling, files):
    doubling.output.mkdir()
    options = RunOptions()
    with claimed(doubling.output, "double", results_digest(doubling)) as other:
        other.take("case_0")
        Thread(target=lambda: (time.sleep(0.2), options.stop.set())).start()
        assert statuses(run_job(doubling, files("1"), options)) == {}


def test_a_claim_of_a_dead_process_holds_nothing(doubling, files):
    doubling.output.mkdir()
    holder(doubling.output, "dead", process=a_dead_process())
    (doubling.output / ".claims" / "case_0.case").write_text("dead")
    (doubling.output / ".claims" / "case_1.case").write_text("of a run that left nothing else")
    assert statuses(run_job(doubling, files("1", "2"))) == {"case_0": "done", "case_1": "done"}
    assert not (doubling.output / ".claims").exists()


@pytest.mark.parametrize(("silent_s", "is_refused"), [(5, True), (3600, False)])
def test_a_claim_of_another_machine_holds_while_it_shows_itself(doubling, files, silent_s, is_refused):
    doubling.output.mkdir()
    holder(doubling.output, "far", host="another", process=1)
    then = time.time() - silent_s
    os.utime(doubling.output / ".claims" / "far.run", (then, then))
    if is_refused:
        with pytest.raises(FolderHeldError, match="on another"):
            next(run_job(doubling, files("1")))
    else:
        assert statuses(run_job(doubling, files("1"))) == {"case_0": "done"}


def test_a_run_that_was_taken_for_dead_records_nothing_more(doubling, files):
    """As after a machine slept, and another run with other settings went on in the folder."""

    def lose(case, stage, worker):
        if stage == 1:
            for claim in (doubling.output / ".claims").glob("*.run"):
                claim.unlink()

    (outcome,) = run_job(doubling, files("1"), RunOptions(on_stage=lose))
    assert (outcome.status, "lost its claim" in outcome.reason) == ("failed", True)
    assert Sidecar.read(doubling.output / "case_0.json").status == "started"


def test_two_runs_that_start_at_the_same_moment_never_both_go_on(tmp_path, monkeypatch):
    """Whoever sees another steps back; so of 2 rivals, 0 or 1 hold the folder, and nearly always 1."""
    monkeypatch.setattr(claims, "_BACK_OFF_S", (0.005, 0.05))
    held = 0
    for _ in range(10):
        barrier, inside, at_once = Barrier(2), [], []

        def enter(digest: str, barrier=barrier, inside=inside, at_once=at_once) -> None:
            barrier.wait()
            try:
                with claimed(tmp_path, "double", digest):
                    inside.append(digest)
                    at_once.append(len(inside))
                    time.sleep(0.4)
                    inside.remove(digest)
            except FolderHeldError:
                pass

        threads = [Thread(target=enter, args=(digest,)) for digest in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(at_once) <= {1}
        held += bool(at_once)
    assert held >= 8
