"""What every run of threads must hold."""

import faulthandler
import logging
import os
import sys
import threading
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _no_deadlock_and_no_thread_left() -> Iterator[None]:
    before = set(threading.enumerate())
    faulthandler.dump_traceback_later(60, exit=True, file=sys.__stderr__)
    yield
    faulthandler.cancel_dump_traceback_later()
    assert set(threading.enumerate()) <= before


@pytest.fixture(autouse=True)
def _log_reaches_caplog(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line, once tested in the same process, keeps the package's log to itself."""
    monkeypatch.setattr(logging.getLogger("rankseg_med"), "propagate", True)


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[None]:
    """A cluster of this machine, with two cores, that this process is connected to."""
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'rankseg-med[ray]'")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    yield
    ray.shutdown()
