"""Supervised and semi-supervised training with MONAI's engines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import ignite.distributed as idist
from ignite.engine import Events
from monai.bundle import ConfigParser
from monai.engines import SupervisedEvaluator, SupervisedTrainer, Workflow
from monai.handlers import ValidationHandler
from monai.utils import set_determinism
from torch.utils.tensorboard import SummaryWriter

from rankseg_med.runs import claimed
from rankseg_med.studies import Study, StudyError, remove_unfinished
from rankseg_med.training.checkpoint import (
    BEST,
    LAST,
    finished_epochs,
    finished_iterations,
    read_states,
    restore,
    write_states,
)
from rankseg_med.training.engines import Preprocessed, make_evaluator, make_trainer
from rankseg_med.training.history import HISTORY, EpochReporter, History, TrainingProgress
from rankseg_med.training.parts import parts_of, parts_of_trainer
from rankseg_med.training.processes import is_first_process, joined_processes, number_of_processes
from rankseg_med.training.record import RECORD, TrainingRecord
from rankseg_med.training.split import check_unlabelled, split_studies, unlabelled_studies, without_labels
from rankseg_med.training.start import RecordedWeights, StartingWeights
from rankseg_med.training.stop import StopWhenAsked
from rankseg_med.training.tensorboard import show_in_tensorboard
from rankseg_med.transforms import own_errors_of_transforms

__all__ = [
    "BEST",
    "HISTORY",
    "LAST",
    "RECORD",
    "StartingWeights",
    "TrainingProgress",
    "split_studies",
    "train",
    "unlabelled_studies",
]


def train(
    config: ConfigParser,
    training: Sequence[Study],
    validation: Sequence[Study],
    output: Path,
    *,
    unlabelled: Sequence[Study] = (),
    seed: int = 0,
    choice: Mapping[str, str | int | None] | None = None,
    weights: StartingWeights | None = None,
    preprocessed: Preprocessed | None = None,
    resume: bool = False,
    stop: Event | None = None,
    on_start: Callable[[], None] = lambda: None,
    on_epoch: Callable[[TrainingProgress], None] = lambda progress: None,
) -> bool:
    """Train a network, writing checkpoints, a record, a history and TensorBoard's files to a folder.

    ``last.pt`` is written at the start and after every epoch, ``best.pt`` (weights alone) whenever the validation Dice
    rises; both whole or not at all. Their ``network`` is the one to predict with: where the config has a
    semi-supervised ``method`` that is the teacher, which is also what validates, and ``last.pt`` has the ``student``
    beside it. A teacher's ``calibration`` is fitted to the validation studies whenever they are validated, and is in
    both files. Optimizer, schedule, epoch and best score are in ``last.pt`` too, and a batch's randomness depends on
    the seed and its number alone, so a run that was interrupted and resumed gives the losses of one that was not (on
    CPU, to the bit).

    ``training.json`` says what the training is of (see `TrainingRecord`), ``history.csv`` what every epoch came to.
    A run is resumed with the settings and studies that it was started with. It may have more epochs than before, and
    goes on with the learning rate that a run of so many has in that epoch.

    Mixed precision is on where the device is CUDA.

    Where `torchrun` started several processes, each takes batches of its own, their gradients are averaged, teachers
    stay in step, and only the first writes and reports; a batch size is that of one process. A run is resumed with as
    many processes.

    Args:
        config: Config from `load_config("train", ...)`.
        training: Studies with labels.
        validation: Studies with labels; may be empty, then there is no ``best.pt``.
        output: Folder of the run.
        unlabelled: Studies whose labels, if any, are not looked at; for configs with a ``method``, and only those.
        seed: Random seed of weights, sampling and augmentation.
        choice: How the studies were chosen, for the record.
        weights: What the network starts from; by default random weights. Resumed with the same ones.
        preprocessed: What is trained on, by study, as a training with the same preprocessing left it here; studies
            that are missing are added. By default nothing is kept for other trainings.
        resume: Go on from ``last.pt``.
        stop: When set, ``last.pt`` is written after the iteration under way, and the run ends. Between the last
            iteration of an epoch and the next epoch's first, validation and all else that ends the epoch come before.
        on_start: Called before the first iteration, when everything is loaded.
        on_epoch: Called after every epoch, in the first process.

    Returns:
        Whether all epochs are done; False if the run was stopped before.

    Raises:
        InputError: The network gives a list in training, which the method or the loss does not take.
        StudyError: The folder holds a run already and ``resume`` is false, or holds none and it is true; the run there
            is another than the one that is asked for, or its files are damaged; another process trains in the folder;
            there are unlabelled studies and no method for them, or the reverse, or they are among the others; a
            study's label map has a label that is no class, or one of its voxels' weights is negative or not finite; a
            calibration, and no validation to fit it to, or a class that does not occur in the validation studies (which
            the first validation finds out).
        CheckpointError: The weights to start from cannot be used, or do not fit the network.
        DivergenceError: The loss became NaN or infinite.
    """
    _check_method(config, unlabelled)
    check_unlabelled(unlabelled, training, validation)
    unlabelled = without_labels(unlabelled)
    _check_folder(output, resume)
    asked = TrainingRecord.of(
        config.get(),
        training,
        unlabelled,
        validation,
        seed=seed,
        processes=number_of_processes(),
        choice=dict(choice or {}),
        weights=None if weights is None else RecordedWeights.of(weights),
    )
    record = TrainingRecord.read(output / RECORD).resumed_as(asked, output) if resume else asked
    output.mkdir(parents=True, exist_ok=True)
    with (
        # By an identity that no other training has.
        claimed(output, "train", asked.identity) if is_first_process() else nullcontext() as claim,
        joined_processes(config.get_parsed_content("device")) as config["device"],
        own_errors_of_transforms(),
        ExitStack() as at_the_end,
    ):
        set_determinism(seed)
        if record.weights is not None and not resume:
            # Before a teacher is made, which is a copy of it.
            filled = record.weights.fill(config.get_parsed_content("network"))
            record = record.model_copy(update={"weights": filled})
        parts = parts_of(config, validation, output, record.identity)
        last = output / LAST
        content = _read_last(last, int(config["epochs"])) if resume else None
        iteration, epochs = (0, 0) if content is None else (finished_iterations(content), finished_epochs(content))
        history = History(output / HISTORY, epochs=epochs)
        if content is not None:
            restore(parts, content, last)
        trainer = make_trainer(config, training, unlabelled, seed, iteration=iteration, preprocessed=preprocessed)
        parts |= parts_of_trainer(trainer, content)
        # Validation comes first among the handlers, so that what is reported and saved of an epoch includes it.
        evaluator = _attach_validation(config, trainer, parts, validation) if validation else None
        if is_first_process():
            writer = at_the_end.enter_context(SummaryWriter(output / "tensorboard"))
            show_in_tensorboard(writer, trainer, evaluator, panels_every=int(config["validate_every"]))
        # By now all processes have read what the folder holds.
        idist.barrier()
        save = partial(write_states, parts, last)
        if claim is not None:
            remove_unfinished(output / name for name in (LAST, BEST, RECORD, HISTORY))
            record.in_session(str(config["device"]), int(config["epochs"]), iteration).write(output / RECORD)
            if not resume:
                save()
            trainer.add_event_handler(Events.ITERATION_COMPLETED, claim.check)
            listeners = (history.add, lambda progress: save(), on_epoch)
            EpochReporter(evaluator, int(config["validate_every"]), listeners).attach(trainer)
        ending = StopWhenAsked(stop or Event(), save)
        ending.attach(trainer)
        on_start()
        # Not the trainer's own `run`, which would replace the scaler.
        Workflow.run(trainer)
        # Or another process would go on, and might read, before the first one has written its files.
        idist.barrier()
    return not ending.stopped


def _check_method(config: ConfigParser, unlabelled: Sequence[Study]) -> None:
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


def _check_folder(output: Path, resume: bool) -> None:
    found = [path for path in (output / LAST, output / RECORD) if path.exists()]
    if found and not resume:
        raise StudyError(f"{found[0]}: exists already; go on with --resume, or choose another output folder")
    if resume and not found:
        raise StudyError(f"{output / LAST}: there is no run to resume; leave --resume out")
    if resume and output / RECORD not in found:
        raise StudyError(
            f"{output / RECORD}: is missing, as in folders of older versions, so that nothing tells which studies and "
            f"settings {LAST} is of; it cannot be resumed: train anew in another folder"
        )
    if resume and output / LAST not in found:
        raise StudyError(f"{output / LAST}: is missing; put it back, or train anew in another folder")


def _read_last(last: Path, epochs: int) -> dict[str, Any]:
    content = read_states(last)
    finished = finished_epochs(content)
    if finished >= epochs:
        raise StudyError(f"{last}: has {finished} of {epochs} epochs already; ask for more with --epochs")
    return content


def _attach_validation(
    config: ConfigParser,
    trainer: SupervisedTrainer,
    parts: Mapping[str, Any],
    validation: Sequence[Study],
) -> SupervisedEvaluator:
    evaluator = make_evaluator(config, parts["network"], validation, parts.get("calibration"))
    ValidationHandler(int(config["validate_every"]), evaluator).attach(trainer)
    evaluator.add_event_handler(Events.COMPLETED, parts["best"])
    return evaluator
