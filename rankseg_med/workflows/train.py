"""Supervised and semi-supervised training with MONAI's engines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint, DiskSaver
from monai.bundle import ConfigParser
from monai.engines import SupervisedTrainer
from monai.handlers import ValidationHandler
from monai.utils import set_determinism

from rankseg_med.semisupervised import Teacher
from rankseg_med.studies import Study, StudyError
from rankseg_med.transforms.errors import own_errors_of_transforms
from rankseg_med.workflows.training_engines import VALIDATION_METRIC, loss_of, make_evaluator, make_trainer
from rankseg_med.workflows.training_processes import is_first_process, joined_processes
from rankseg_med.workflows.training_split import split_studies, unlabelled_studies

__all__ = ["BEST", "LAST", "TrainingProgress", "split_studies", "train", "unlabelled_studies"]

LAST = "last.pt"
BEST = "best.pt"


@dataclass(frozen=True)
class TrainingProgress:
    """What an epoch came to.

    Attributes:
        epoch: From 1.
        epochs: How many there will be.
        loss: Of the epoch's last iteration.
        validation_dice: Foreground mean Dice of the latest validation in [0, 1]; None before the first.
    """

    epoch: int
    epochs: int
    loss: float
    validation_dice: float | None


def train(
    config: ConfigParser,
    training: Sequence[Study],
    validation: Sequence[Study],
    output: Path,
    *,
    unlabelled: Sequence[Study] = (),
    seed: int = 0,
    resume: bool = False,
    on_epoch: Callable[[TrainingProgress], None] = lambda progress: None,
) -> None:
    """Train a network, writing checkpoints and TensorBoard scalars and pictures to a folder.

    ``last.pt`` is written after every epoch, ``best.pt`` (weights alone) whenever the validation Dice rises; both whole
    or not at all. Their ``network`` is the one to predict with: where the config has a semi-supervised ``method`` that
    is the teacher, which is also what validates, and ``last.pt`` has the ``student`` beside it. A teacher's
    ``calibration`` is fitted to the validation studies whenever they are validated, and is in both files. Optimizer,
    schedule, epoch and best score are in ``last.pt`` too, and an epoch's randomness depends on the seed and the epoch
    alone, so a run that was interrupted and resumed gives the losses of one that was not (on CPU, to the bit).

    Mixed precision is on where the device is CUDA.

    Where `torchrun` started several processes, each takes batches of its own, their gradients are averaged, teachers
    stay in step, and only the first writes and reports; a batch size is that of one process. A run is resumed to the
    same losses with as many processes.

    Args:
        config: From `load_config("train", ...)`.
        training: Studies with labels.
        validation: Studies with labels; may be empty, then there is no ``best.pt``.
        output: Folder of the run.
        unlabelled: Studies whose labels, if any, are not looked at; for configs with a ``method``, and only those.
        seed: Of weights, sampling and augmentation.
        resume: Go on from ``last.pt``.
        on_epoch: Called after every epoch, in the first process.

    Raises:
        StudyError: The folder holds a run already and ``resume`` is false, or holds none and it is true; there are
            unlabelled studies and no method for them, or the reverse; a calibration, and no validation studies to fit
            it to, or a class that does not occur in them (which the first validation finds out).
        RuntimeError: The loss became NaN or infinite.
    """
    last = output / LAST
    _check_resume(last, resume)
    _check_unlabelled(config, unlabelled)
    output.mkdir(parents=True, exist_ok=True)
    with joined_processes(config.get_parsed_content("device")) as config["device"], own_errors_of_transforms():
        set_determinism(seed)
        trainer = make_trainer(config, training, unlabelled, output, seed)
        network = config.get_parsed_content("network")
        state = {"trainer": trainer, "network": network, "optimizer": trainer.optimizer}
        calibration = None
        if "method" in config:
            teacher: Teacher = config.get_parsed_content("method").teacher
            state["student"] = network
            state["network"] = network = teacher.network
            calibration = teacher.calibration
        predictor = {"network": network}
        if calibration is not None:
            _check_calibration(validation)
            state["calibration"] = predictor["calibration"] = calibration
        state["lr_scheduler"] = config.get_parsed_content("lr_scheduler")
        if trainer.scaler is not None:
            state["scaler"] = trainer.scaler
        evaluator = None
        # Validation comes first among the handlers, so that what is reported and saved of an epoch includes it.
        if validation:
            evaluator = make_evaluator(config, network, validation, output, calibration)
            ValidationHandler(int(config["validate_every"]), evaluator).attach(trainer)
            state["best"] = _saver(output, BEST, predictor, key=VALIDATION_METRIC)
            evaluator.add_event_handler(Events.COMPLETED, state["best"])
        trainer.add_event_handler(Events.EPOCH_COMPLETED, _saver(output, LAST, state))
        if is_first_process():
            trainer.add_event_handler(Events.EPOCH_COMPLETED, _report, evaluator, on_epoch)
        if resume:
            _restore(state, last)
        trainer.run()
        # Or another process would go on, and might read, before the first one has written its files.
        idist.barrier()


def _check_resume(last: Path, resume: bool) -> None:
    if last.exists() and not resume:
        raise StudyError(f"{last}: exists already; go on with --resume, or choose another output folder")
    if resume and not last.exists():
        raise StudyError(f"{last}: there is no run to resume; leave --resume out")


def _check_unlabelled(config: ConfigParser, unlabelled: Sequence[Study]) -> None:
    if "method" in config and not unlabelled:
        raise StudyError(
            "the config's method learns from unlabelled studies too, but there are none; ask for fewer labelled ones "
            "with --labelled, or name further images with --unlabelled"
        )
    if "method" not in config and unlabelled:
        raise StudyError(
            f"there are {len(unlabelled)} unlabelled studies, but the config has no method to learn from them; take a "
            "config such as bcp_hippocampus"
        )


def _check_calibration(validation: Sequence[Study]) -> None:
    if not validation:
        raise StudyError(
            "the teacher's calibration is fitted to validation studies, but there are none; hold some out with --fold, "
            "or set teacher::calibration to null in the config"
        )


def _restore(state: Mapping[str, Any], last: Path) -> None:
    trainer: SupervisedTrainer = state["trainer"]
    epochs = trainer.state.max_epochs
    content = torch.load(last, map_location="cpu", weights_only=True)
    lacking = sorted(state.keys() - content.keys())
    if lacking:
        raise StudyError(
            f"{last}: cannot be resumed, since it lacks {', '.join(lacking)}; resume with the config, the fold and the "
            "device of the run's start"
        )
    Checkpoint.load_objects(state, content)
    if trainer.state.epoch >= epochs:
        raise StudyError(f"{last}: has {trainer.state.epoch} of {epochs} epochs already; ask for more with --epochs")
    # The checkpoint carries the length of the run that wrote it, this one may be longer.
    trainer.state.max_epochs = epochs


def _saver(output: Path, filename: str, objects: Mapping[str, Any], key: str | None = None) -> Checkpoint:
    return Checkpoint(
        objects,
        DiskSaver(str(output), atomic=True, require_empty=False),
        filename_pattern=filename,
        n_saved=1,
        score_function=None if key is None else lambda engine: engine.state.metrics[key],
        greater_or_equal=False,
    )


def _report(trainer: Engine, evaluator: Engine | None, on_epoch: Callable[[TrainingProgress], None]) -> None:
    dice = None if evaluator is None else evaluator.state.metrics.get(VALIDATION_METRIC)
    loss = loss_of(trainer.state.output)
    on_epoch(TrainingProgress(trainer.state.epoch, trainer.state.max_epochs, loss, dice))
