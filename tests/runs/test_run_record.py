"""What run.json and status say of a run, while it runs, when it ended, and when it was killed."""

import errno
import json
import subprocess
from dataclasses import replace

import pytest

from rankseg_med.runs.run import RunOptions, run_job
from rankseg_med.runs.run_record import RunRecord
from rankseg_med.runs.shard import Shard
from rankseg_med.runs.status import folder_status
from rankseg_med.studies import Sidecar, StudyError
from tests.runs.conftest import Doubling


def test_a_finished_run(doubling, files):
    cases = files("1", "raise", "3")
    list(run_job(doubling, cases, RunOptions(device="cpu")))
    record = RunRecord.read(doubling.output / "run.json")
    assert (record.status, record.device, record.totals) == ("finished", "cpu", {"done": 2, "failed": 1})
    assert record.failed == {"case_1": "ValueError: case_1 holds no number"}
    assert set(record.stage_seconds) == {"read", "write"}
    assert record.peak_memory_bytes > 1e6
    assert record.versions["torch"]
    status = folder_status(doubling.output)
    assert [sidecar.case_id for sidecar in status.with_status("done")] == ["case_0", "case_2"]
    assert [sidecar.case_id for sidecar in status.with_status("failed")] == ["case_1"]
    assert (status.pending, status.unreadable) == ([], {})


def test_a_run_under_way(doubling, files):
    cases = files(*["1"] * 20)
    running = run_job(doubling, cases)
    next(running)
    assert RunRecord.read(doubling.output / "run.json").status == "running"
    status = folder_status(doubling.output)
    assert len(status.with_status("done")) >= 1
    assert "case_19" in status.pending
    running.close()
    record = RunRecord.read(doubling.output / "run.json")
    assert record.status == "stopped"
    assert record.ended


@pytest.mark.slow
def test_what_a_run_left_that_was_killed_while_it_wrote_its_record_is_removed(doubling, files, killed_while_writing):
    cases = files("1")
    leftover = killed_while_writing(doubling.output / "run.json")
    list(run_job(doubling, cases))
    assert not leftover.exists()


def test_shards_have_records_of_their_own(doubling, files):
    cases = files("1", "2", "3")
    for number in (1, 2):
        shard = Shard(number, 2)
        mine = shard.of_cases(cases)
        list(run_job(doubling, cases, RunOptions(shard=shard)))
        status = folder_status(doubling.output)
        assert f"run-{number}-of-2.json" in status.runs
        assert status.runs[f"run-{number}-of-2.json"].cases == [case.case_id for case in mine]
    assert len(status.with_status("done")) == 3


@pytest.mark.parametrize("name", ["run", "plan"])
def test_a_case_named_as_a_record_is_refused_alone(doubling, files, name):
    first, second = files("1", "2")
    refused, done = run_job(doubling, [replace(first, case_id=name), second])
    assert (refused.status, done.status) == ("failed", "done")
    assert "is the name of the run's own record" in refused.reason
    assert RunRecord.read(doubling.output / "run.json").failed == {name: refused.reason}


def test_status_names_what_it_cannot_read(doubling, files):
    cases = files("1")
    list(run_job(doubling, cases))
    (doubling.output / "broken.json").write_text("{")
    (doubling.output / "other.json").write_text(json.dumps({"a": 1}))
    status = folder_status(doubling.output)
    assert sorted(status.unreadable) == ["broken.json", "other.json"]
    assert list(status.sidecars) == ["case_0"]


def test_status_of_anything_else(tmp_path):
    with pytest.raises(StudyError, match="there is no such folder"):
        folder_status(tmp_path / "absent")
    with pytest.raises(StudyError, match="holds no record of a run"):
        folder_status(tmp_path)


def test_sidecars_come_in_the_order_of_time(doubling, files):
    cases = files("1", "2")
    list(run_job(doubling, cases))
    first = Sidecar.read(doubling.output / "case_1.json").model_copy(update={"time": "2000-01-01T00:00:00+00:00"})
    first.write(doubling.output)
    assert [s.case_id for s in folder_status(doubling.output).with_status("done")] == ["case_1", "case_0"]


def test_shards_that_never_started_are_pending(doubling, files):
    cases = files("1", "2", "3")
    list(run_job(doubling, cases, RunOptions(shard=Shard(1, 3))))
    status = folder_status(doubling.output)
    assert (status.done, status.pending, status.is_complete) == (["case_0"], ["case_1", "case_2"], False)
    for number in (2, 3):
        list(run_job(doubling, cases, RunOptions(shard=Shard(number, 3))))
    assert folder_status(doubling.output).is_complete


def test_a_later_list_adds_to_the_plan_of_a_folder(doubling, files):
    first, second, third = files("1", "2", "3")
    list(run_job(doubling, [first, second], RunOptions(shard=Shard(1, 2))))
    list(run_job(doubling, [third]))
    status = folder_status(doubling.output)
    assert (status.done, status.pending) == (["case_0", "case_2"], ["case_1"])


def test_outputs_that_were_lost_or_cut_are_not_done(doubling, files):
    list(run_job(doubling, files("1", "20", "3")))
    (doubling.output / "case_0.txt").unlink()
    (doubling.output / "case_1.txt").write_text("4")
    status = folder_status(doubling.output)
    assert (status.done, status.is_complete) == (["case_2"], False)
    assert status.altered == {
        "case_0": "case_0.txt is missing",
        "case_1": "case_1.txt has 1 bytes, and had 2 when it was written",
    }


def test_a_foreign_plan_is_named(doubling, files):
    doubling.output.mkdir()
    (doubling.output / "plan.json").write_text("[]")
    with pytest.raises(StudyError, match=r"plan\.json: is not the plan of a run"):
        next(run_job(doubling, files("1")))


@pytest.mark.parametrize("room_for", [0, 1])
def test_a_full_disk_does_not_leave_a_run_that_says_it_is_running(doubling, files, monkeypatch, room_for):
    cases, writes = files("1", "raise"), []
    write = RunRecord.write

    def full(self, path):
        writes.append(self.status)
        if 1 < len(writes) < 4 - room_for:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(self, path)

    monkeypatch.setattr(RunRecord, "write", full)
    assert [outcome.status for outcome in run_job(doubling, cases)] == ["done", "failed"]
    assert writes == ["running", "finished", "finished"]
    path = doubling.output / "run.json"
    assert path.exists() == bool(room_for)
    if room_for:
        assert (RunRecord.read(path).status, RunRecord.read(path).totals) == ("finished", {"done": 1, "failed": 1})


@pytest.mark.parametrize("room_kb", [32, 36, 40, 44, 48])  # the disk is full at one file or another
def test_a_full_tmpfs_ends_with_every_case_accounted_for(tmp_path, files, room_kb):
    """Label maps that do not fit are failures that name the file and the cause; what fitted stays done."""
    output = tmp_path / "small"
    output.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={room_kb}k", "tmpfs", output], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        job = Doubling(output)
        outcomes = list(run_job(job, files("1", "9" * 4000, *["8" * 4000] * 6)))
        failed = [outcome for outcome in outcomes if outcome.status == "failed"]
        assert len(outcomes) == 8
        assert failed
        for outcome in failed:
            assert "No space left on device" in outcome.reason
            assert str(output) in outcome.reason
        assert not (output / "run.json").exists() or RunRecord.read(output / "run.json").status == "finished"
    finally:
        subprocess.run(["umount", output], check=True)
