"""`rankseg-med status` on what runs leave behind."""

import json
import os
import subprocess
import sys
from threading import Timer

import pytest

from rankseg_med.runs.plan import record_plan
from rankseg_med.studies import Sidecar


def sidecar(case_id: str, status: str, **entries: object) -> Sidecar:
    return Sidecar(
        case_id=case_id,
        job="predict",
        status=status,
        inputs=[f"{case_id}.nii.gz"],
        input_fingerprint="",
        config_digest="",
        outputs={},
        time="2026-01-01T00:00:00+00:00",
        host="node7:12",
        **entries,
    )


def test_started_and_failed_studies_are_named(rankseg_med, tmp_path):
    for case in (sidecar("a", "done"), sidecar("b", "started"), sidecar("c", "failed", error="no header")):
        case.write(tmp_path)
    (tmp_path / "notes.json").write_text("[]")
    result = rankseg_med("status", tmp_path)
    assert result.code == 1
    assert "started: b: 2026-01-01T00:00:00+00:00 on node7:12" in result.out
    assert "failed: c: no header" in result.out
    assert "unreadable: notes.json" in result.out


def test_everything_done(rankseg_med, tmp_path):
    sidecar("a", "done").write(tmp_path)
    assert rankseg_med("status", tmp_path).code == 0


def test_no_run_there(rankseg_med, tmp_path):
    result = rankseg_med("status", tmp_path)
    assert (result.code, "holds no record of a run" in result.err) == (1, True)


def test_json_counts_against_the_plan(rankseg_med, tmp_path):
    sidecar("a", "done").write(tmp_path)
    sidecar("c", "failed", error="no header").write(tmp_path)
    record_plan(tmp_path, ["a", "b", "c"])
    result = rankseg_med("status", tmp_path, "--json")
    status = json.loads(result.out)
    assert (result.code, status["complete"]) == (1, False)
    assert status["counts"] == {"done": 1, "started": 0, "failed": 1, "altered": 0, "pending": 1, "planned": 3}
    assert (status["pending"], status["failed"]) == (["b"], {"c": "no header"})


def test_watch_ends_when_all_is_done(rankseg_med, tmp_path):
    sidecar("a", "started").write(tmp_path)
    later = Timer(0.5, lambda: sidecar("a", "done").write(tmp_path))
    later.start()
    result = rankseg_med("status", tmp_path, "--watch", "--every", "0.1", "--json")
    later.join()
    assert result.code == 0
    assert [json.loads(line)["complete"] for line in result.out.splitlines()] == [False, True]


@pytest.mark.slow
def test_a_reader_that_leaves_does_not_change_the_exit_code(tmp_path):
    sidecar("a", "done").write(tmp_path)
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.run(
        [sys.executable, "-m", "rankseg_med", "status", tmp_path], stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)
    assert (process.returncode, process.stderr) == (0, b"")
