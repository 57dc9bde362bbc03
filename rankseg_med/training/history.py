"""What every epoch of a training came to, reported as it ends and kept in ``history.csv``."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from ignite.engine import Engine, Events
from monai.engines import SupervisedTrainer

from rankseg_med.studies import StudyError, atomic_write
from rankseg_med.training.engines import VALIDATION_METRIC, loss_of

HISTORY = "history.csv"


@dataclass(frozen=True)
class TrainingProgress:
    """What an epoch came to.

    Attributes:
        epoch: Number of the epoch, from 1.
        epochs: How many there will be.
        iteration: The epoch's last, from 1.
        learning_rate: Learning rate of the epoch; of the first parameter group, where there are several.
        loss: Loss of the epoch's last iteration.
        validation_dice: Foreground mean Dice in [0, 1]; None of an epoch that was not validated.
        seconds: Wall time with the validation; of an epoch that was interrupted, only of its last part.
    """

    epoch: int
    epochs: int
    iteration: int
    learning_rate: float
    loss: float
    validation_dice: float | None
    seconds: float


_COLUMNS = [field.name for field in fields(TrainingProgress)]


class EpochReporter:
    """Says what an epoch came to once it is validated.

    Args:
        evaluator: Engine of the trainer's validation; None without one.
        validate_every: Epochs between validations.
        listeners: Are told, one after the other.
    """

    def __init__(
        self, evaluator: Engine | None, validate_every: int, listeners: Sequence[Callable[[TrainingProgress], None]]
    ) -> None:
        self.evaluator = evaluator
        self.validate_every = validate_every
        self.listeners = listeners
        self._start = 0.0
        self._learning_rate = 0.0

    def attach(self, trainer: SupervisedTrainer) -> None:
        """Follow a trainer; attach after what validates it."""
        trainer.add_event_handler(Events.EPOCH_STARTED, self._note)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self._report)

    def _note(self, trainer: SupervisedTrainer) -> None:
        self._start = time.perf_counter()
        self._learning_rate = float(trainer.optimizer.param_groups[0]["lr"])

    def _report(self, trainer: SupervisedTrainer) -> None:
        state, dice = trainer.state, None
        if self.evaluator is not None and state.epoch % self.validate_every == 0:
            dice = float(self.evaluator.state.metrics[VALIDATION_METRIC])
        progress = TrainingProgress(
            epoch=state.epoch,
            epochs=state.max_epochs,
            iteration=state.iteration,
            learning_rate=self._learning_rate,
            loss=loss_of(state.output),
            validation_dice=dice,
            seconds=time.perf_counter() - self._start,
        )
        for listener in self.listeners:
            listener(progress)


class History:
    """The file ``history.csv``: a line per epoch, with what `TrainingProgress` says of it; whole at any time.

    Args:
        path: Place of the file; it is written with the first epoch that is added.
        epochs: How many epochs of it are kept, if it is there: a run that is resumed does later ones again.

    Raises:
        StudyError: The file is there, but no history.
        OSError: It cannot be read.
    """

    def __init__(self, path: Path, *, epochs: int = 0) -> None:
        self.path = path
        self._rows = [row for row in _rows_of(path) if int(row[0]) <= epochs] if epochs and path.exists() else []

    def add(self, progress: TrainingProgress) -> None:
        """Put the next epoch on record."""
        self._rows.append(["" if value is None else str(value) for value in astuple(progress)])
        with atomic_write(self.path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([_COLUMNS, *self._rows])


def _rows_of(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        columns, *rows = [*csv.reader(file)] or [[]]
    if columns != _COLUMNS or not all(len(row) == len(_COLUMNS) and row[0].isdigit() for row in rows):
        raise StudyError(f"{path}: is no history of a training, whose columns are {','.join(_COLUMNS)}; remove it")
    return rows
