import math
import signal
from concurrent.futures.process import BrokenProcessPool

import pytest

from rankseg_med.executors import map_items


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_is_the_result_of_its_case(workers):
    first, second, third = map_items(math.sqrt, [4.0, -1.0, 9.0], workers)
    assert (first, third) == (2, 3)
    assert isinstance(second, ValueError)


def test_a_process_that_ends_fails_its_case_only():
    # SIGCHLD is ignored by default, SIGKILL cannot be.
    first, second, third = map_items(signal.raise_signal, [signal.SIGCHLD, signal.SIGKILL, signal.SIGCHLD], 2)
    assert first is None
    assert isinstance(second, BrokenProcessPool)
    assert third is None


def test_no_workers():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        list(map_items(math.sqrt, [], 0))
