"""How many threads torch takes, and that it is as before afterwards."""

import pytest
import torch

from rankseg_med.threads import one_thread, settle_threads


@pytest.fixture(autouse=True)
def as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_one_thread_for_a_while():
    settle_threads(3)
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3


def test_as_before_after_an_error():
    settle_threads(3)
    with pytest.raises(OSError, match="disk"), one_thread():
        raise OSError("disk full")
    assert torch.get_num_threads() == 3
