import os
import subprocess
import sys

import pytest

from rankseg_med.studies import birth_of, is_running


def test_this_process_and_no_later_one_of_its_number():
    born = birth_of(os.getpid())
    assert is_running(os.getpid())
    assert is_running(os.getpid(), born)
    assert not is_running(os.getpid(), "1")


def test_a_killed_process_is_dead_before_its_parent_has_asked():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert is_running(process.pid)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not is_running(process.pid)
    process.communicate()
    assert not is_running(process.pid)


@pytest.mark.parametrize("process", [0, 2**22 + 1, 10**30])
def test_numbers_that_no_process_has(process):
    assert not is_running(process)
