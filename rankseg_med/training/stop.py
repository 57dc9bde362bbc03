"""Ending a training early, so that it can go on later."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

import ignite.distributed as idist
from ignite.engine import Engine, Events


class StopWhenAsked:
    """Ends a training after the iteration in which it was asked to end, in all processes alike.

    After the last iteration of an epoch, what belongs to its end comes first: schedule, validation and checkpoint.

    Args:
        stop: Is looked at after every iteration; it is enough to set it in one of the processes.
        save: Writes the checkpoint.

    Attributes:
        stopped: Whether the training was ended before its last epoch was over.
    """

    def __init__(self, stop: Event, save: Callable[[], None]) -> None:
        self.stop = stop
        self.save = save
        self.stopped = False

    def attach(self, trainer: Engine) -> None:
        """Watch over a trainer; attach after everything that belongs to an iteration or an epoch."""
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self._after_iteration)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self._after_epoch)

    def _after_iteration(self, trainer: Engine) -> None:
        is_last = trainer.state.iteration % trainer.state.epoch_length == 0
        # What ends by itself, ends for a reason, such as a loss that is no number.
        if not is_last and not trainer.should_terminate and self._is_asked():
            self.save()
            self._end(trainer)

    def _after_epoch(self, trainer: Engine) -> None:
        if trainer.state.epoch < trainer.state.max_epochs and self._is_asked():
            self._end(trainer)

    def _end(self, trainer: Engine) -> None:
        self.stopped = True
        trainer.terminate()

    def _is_asked(self) -> bool:
        return bool(idist.all_reduce(int(self.stop.is_set()), op="MAX"))
