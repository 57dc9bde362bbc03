"""Training whatever is left to train."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event

from monai.bundle import ConfigParser

from rankseg_med.studies import Study
from rankseg_med.training.checkpoint import LAST, finished_epochs, read_states
from rankseg_med.training.history import HISTORY, TrainingProgress
from rankseg_med.training.processes import number_of_processes
from rankseg_med.training.record import RECORD, TrainingRecord
from rankseg_med.training.start import RecordedWeights, StartingWeights
from rankseg_med.training.training import train


def train_to_end(
    config: ConfigParser,
    training: Sequence[Study],
    validation: Sequence[Study],
    output: Path,
    *,
    unlabelled: Sequence[Study] = (),
    seed: int = 0,
    weights: StartingWeights | None = None,
    stop: Event | None = None,
    on_start: Callable[[], None] = lambda: None,
    on_epoch: Callable[[TrainingProgress], None] = lambda progress: None,
) -> bool:
    """Start a training, go on with it, or leave it as it is, whichever is left to do.

    Args:
        config: As for `train`, and so are the others.
        training: Studies with labels.
        validation: Studies with labels; may be empty.
        output: Folder of the run.
        unlabelled: Studies without labels.
        seed: Random seed.
        weights: What the network starts from.
        stop: When set, the run ends after the iteration under way.
        on_start: Called before the first iteration, if there is any.
        on_epoch: Called after every epoch.

    Returns:
        Whether all epochs are done; False if it was stopped before.

    Raises:
        StudyError: The folder holds another training, finished or not; or as `train`.
    """
    last, record = output / LAST, output / RECORD
    if record.exists() and not last.exists() and not (output / HISTORY).exists():
        # Killed between its first two files: nothing was trained.
        record.unlink()
    if record.exists() and last.exists() and finished_epochs(read_states(last)) >= int(config["epochs"]):
        asked = TrainingRecord.of(
            config.get(),
            training,
            unlabelled,
            validation,
            seed=seed,
            processes=number_of_processes(),
            weights=None if weights is None else RecordedWeights.of(weights),
        )
        TrainingRecord.read(record).resumed_as(asked, output)
        return True
    return train(
        config,
        training,
        validation,
        output,
        unlabelled=unlabelled,
        seed=seed,
        weights=weights,
        resume=record.exists(),
        stop=stop,
        on_start=on_start,
        on_epoch=on_epoch,
    )
