import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rankseg_med.studies import FolderLock, StudyError


def test_one_at_a_time(tmp_path):
    folder = tmp_path / "new" / "run"
    with FolderLock(folder) as lock:
        assert lock.path.parent == folder
        with pytest.raises(StudyError, match=rf"process {os.getpid()} on \S+ has worked in this folder since 20"):
            FolderLock(folder).__enter__()
    assert list(folder.iterdir()) == []
    with FolderLock(folder):
        pass


def test_the_folder_is_free_again_after_an_error(tmp_path):
    with pytest.raises(RuntimeError), FolderLock(tmp_path):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


HOLD = """
import sys, time
from pathlib import Path
from rankseg_med.studies import FolderLock
with FolderLock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def hold(folder: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    return process


def test_another_process_is_named_and_a_killed_one_is_succeeded(tmp_path):
    process = hold(tmp_path)
    with pytest.raises(StudyError, match=f"process {process.pid} on .* remove .*\\.lock"):
        FolderLock(tmp_path).__enter__()
    process.kill()
    # Dead, though its parent has not asked yet what became of it.
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    with FolderLock(tmp_path):
        process.communicate()
    assert list(tmp_path.iterdir()) == []


def claim(folder: Path, **changed: object) -> Path:
    with FolderLock(folder) as lock:
        owner = json.loads(lock.path.read_text())
    lock.path.write_text(json.dumps(owner | changed))
    return lock.path


@pytest.mark.parametrize("process", [2**22 + 1, 10**30, "x", None])
def test_a_process_that_cannot_be_is_dead(tmp_path, process):
    claim(tmp_path, process=process)
    with FolderLock(tmp_path):
        pass


def test_a_later_process_of_the_same_number_is_not_the_owner(tmp_path):
    claim(tmp_path, born="1")
    with FolderLock(tmp_path):
        pass


@pytest.mark.parametrize("content", ['{"host": "elsewhere", "process": 1}', "", "[]", "\0"])
def test_what_nothing_is_known_of_is_kept_for_an_hour(tmp_path, content):
    path = tmp_path / ".lock"
    path.write_text(content)
    with pytest.raises(StudyError, match="has worked in this folder"):
        FolderLock(tmp_path).__enter__()
    os.utime(path, times=(time.time() - 3700,) * 2)
    with FolderLock(tmp_path):
        pass


def test_a_lock_is_renewed_and_its_loss_is_noticed(tmp_path, monkeypatch):
    with FolderLock(tmp_path) as lock:
        os.utime(lock.path, times=(1, 1))
        lock.renew()
        assert lock.path.stat().st_mtime == 1
        now = time.monotonic()
        monkeypatch.setattr("rankseg_med.studies.folder_lock.time.monotonic", lambda: now + 61)
        lock.renew()
        assert time.time() - lock.path.stat().st_mtime < 60
        lock.path.write_text("another's")
        monkeypatch.setattr("rankseg_med.studies.folder_lock.time.monotonic", lambda: now + 200)
        with pytest.raises(StudyError, match="is no longer this process's"):
            lock.renew()
    assert lock.path.read_text() == "another's"
