import os
import signal
from threading import Event

import pytest

from rankseg_med.cli.interrupts import stopped_by_signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_interrupts(number, capsys):
    stop, before = Event(), signal.getsignal(number)
    with stopped_by_signals(stop):
        assert not stop.is_set()
        os.kill(os.getpid(), number)
        assert stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before
    assert "stopping: what is in hand is finished" in capsys.readouterr().err
