"""Supervised training with MONAI's engines."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint, DiskSaver, TerminateOnNan
from monai.bundle import ConfigParser
from monai.data import CacheDataset, DataLoader
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import (
    LrScheduleHandler,
    MeanDice,
    TensorBoardStatsHandler,
    ValidationHandler,
    from_engine,
)
from monai.inferers import SimpleInferer
from monai.transforms import AsDiscreted, Compose
from monai.utils import set_determinism
from torch.utils.data import RandomSampler

from rankseg_med.studies import Study, StudyError
from rankseg_med.transforms.errors import own_errors_of_transforms

LAST = "last.pt"
BEST = "best.pt"
_VALIDATION_METRIC = "val_mean_dice"


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


def split_studies(
    studies: Sequence[Study], *, fold: int | None, labelled: int | None = None, seed: int = 0
) -> tuple[list[Study], list[Study]]:
    """Training and validation studies of a fold, the training ones optionally thinned out.

    Args:
        studies: Studies with labels and folds.
        fold: Held out for validation; None trains on everything and validates on nothing.
        labelled: Use only so many training studies, chosen by ``seed``; a larger number contains a smaller one's.
        seed: Of that choice.

    Returns:
        ``(training, validation)``, sorted by case id.

    Raises:
        StudyError: No study is in the fold, or fewer training studies are there than ``labelled``.
    """
    studies = sorted((study for study in studies if study.label is not None), key=lambda study: study.case_id)
    validation = [study for study in studies if fold is not None and study.fold == fold]
    training = [study for study in studies if study not in validation]
    folds = {study.fold for study in studies if study.fold is not None}
    if fold is not None and fold not in folds:
        raise StudyError(f"no study of the data list is in fold {fold}; folds: {sorted(folds)}")
    if labelled is not None:
        if not 1 <= labelled <= len(training):
            raise StudyError(f"asked for {labelled} labelled studies, the data list has {len(training)} to train on")
        shuffled = training.copy()
        random.Random(seed).shuffle(shuffled)
        training = sorted(shuffled[:labelled], key=lambda study: study.case_id)
    if not training:
        raise StudyError("the data list leaves no labelled study to train on")
    return training, validation


def train(
    config: ConfigParser,
    training: Sequence[Study],
    validation: Sequence[Study],
    output: Path,
    *,
    seed: int = 0,
    resume: bool = False,
    on_epoch: Callable[[TrainingProgress], None] = lambda progress: None,
) -> None:
    """Train a network, writing checkpoints and TensorBoard scalars to a folder.

    ``last.pt`` (network, optimizer, schedule, epoch) is written after every epoch, ``best.pt`` (network) whenever the
    validation Dice rises; both whole or not at all. Mixed precision is on where the device is CUDA.

    Args:
        config: From `load_config("train", ...)`.
        training: Studies with labels.
        validation: Studies with labels; may be empty, then there is no ``best.pt``.
        output: Folder of the run.
        seed: Of weights, sampling and augmentation.
        resume: Go on from ``last.pt``.
        on_epoch: Called after every epoch.

    Raises:
        StudyError: The folder holds a run already and ``resume`` is false, or holds none and it is true.
        RuntimeError: The loss became NaN or infinite.
    """
    last = output / LAST
    if last.exists() != resume:
        raise StudyError(
            f"{last}: exists already; go on with --resume, or choose another output folder"
            if last.exists()
            else f"{last}: there is no run to resume; leave --resume out"
        )
    output.mkdir(parents=True, exist_ok=True)
    set_determinism(seed)
    with own_errors_of_transforms():
        trainer = _trainer(config, training, output)
        evaluator = _evaluator(config, validation, output) if validation else None
        state = {
            "trainer": trainer,
            "network": trainer.network,
            "optimizer": trainer.optimizer,
            "lr_scheduler": config.get_parsed_content("lr_scheduler"),
        }
        # Validation comes first among the handlers, so that what is reported and saved of an epoch includes it.
        if evaluator is not None:
            ValidationHandler(int(config["validate_every"]), evaluator).attach(trainer)
            evaluator.add_event_handler(
                Events.COMPLETED, _saver(output, BEST, {"network": trainer.network}, key=_VALIDATION_METRIC)
            )
        trainer.add_event_handler(Events.EPOCH_COMPLETED, _saver(output, LAST, state))
        trainer.add_event_handler(Events.EPOCH_COMPLETED, _report, evaluator, on_epoch)
        if resume:
            _restore(state, last)
        trainer.run()


def _restore(state: dict[str, Any], last: Path) -> None:
    trainer = state["trainer"]
    epochs = trainer.state.max_epochs
    Checkpoint.load_objects(state, torch.load(last, map_location="cpu", weights_only=True))
    if trainer.state.epoch >= epochs:
        raise StudyError(f"{last}: has {trainer.state.epoch} of {epochs} epochs already; ask for more with --epochs")
    # The checkpoint carries the length of the run that wrote it, this one may be longer.
    trainer.state.max_epochs = epochs


def _trainer(config: ConfigParser, training: Sequence[Study], output: Path) -> SupervisedTrainer:
    batch_size, iterations = int(config["batch_size"]), int(config["iterations_per_epoch"])
    transforms = Compose([config.get_parsed_content("preprocessing"), config.get_parsed_content("augmentation")])
    # Flat, because a Compose counts as random itself, and the cache ends at the first random transform.
    dataset = _dataset(config, training, transforms.flatten())
    # With replacement, so that an epoch is as long on six volumes as on a hundred.
    sampler = RandomSampler(dataset, replacement=True, num_samples=batch_size * iterations)
    loader = DataLoader(dataset, batch_size=batch_size, sampler=sampler, num_workers=int(config["num_workers"]))
    device = config.get_parsed_content("device")
    trainer = SupervisedTrainer(
        device=device,
        max_epochs=int(config["epochs"]),
        train_data_loader=loader,
        network=config.get_parsed_content("network"),
        optimizer=config.get_parsed_content("optimizer"),
        loss_function=config.get_parsed_content("loss"),
        inferer=SimpleInferer(),
        amp=device.type == "cuda",
        train_handlers=[
            LrScheduleHandler(config.get_parsed_content("lr_scheduler"), print_lr=False),
            TensorBoardStatsHandler(
                log_dir=str(output / "tensorboard"),
                tag_name="train_loss",
                output_transform=from_engine("loss", first=True),
            ),
        ],
    )
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, TerminateOnNan(output_transform=from_engine("loss", first=True))
    )
    trainer.add_event_handler(Events.TERMINATE, _raise_on_nan)
    return trainer


def _evaluator(config: ConfigParser, validation: Sequence[Study], output: Path) -> SupervisedEvaluator:
    num_classes = config.get_parsed_content("num_classes")
    return SupervisedEvaluator(
        device=config.get_parsed_content("device"),
        val_data_loader=DataLoader(
            _dataset(config, validation, config.get_parsed_content("preprocessing")), batch_size=1
        ),
        network=config.get_parsed_content("network"),
        inferer=config.get_parsed_content("inferer"),
        postprocessing=Compose(
            [AsDiscreted("pred", argmax=True, to_onehot=num_classes), AsDiscreted("label", to_onehot=num_classes)]
        ),
        key_val_metric={
            _VALIDATION_METRIC: MeanDice(include_background=False, output_transform=from_engine(["pred", "label"]))
        },
        val_handlers=[TensorBoardStatsHandler(log_dir=str(output / "tensorboard"), output_transform=lambda _: None)],
    )


def _dataset(config: ConfigParser, studies: Sequence[Study], transforms: Compose) -> CacheDataset:
    items = [{"image": study.image, "label": study.label} for study in studies]
    return CacheDataset(items, transforms, cache_rate=float(config["cache_rate"]), num_workers=1, progress=False)


def _saver(output: Path, filename: str, objects: dict[str, Any], key: str | None = None) -> Checkpoint:
    return Checkpoint(
        objects,
        DiskSaver(str(output), atomic=True, require_empty=False),
        filename_pattern=filename,
        n_saved=1,
        score_function=None if key is None else lambda engine: engine.state.metrics[key],
        greater_or_equal=False,
    )


def _report(trainer: Engine, evaluator: Engine | None, on_epoch: Callable[[TrainingProgress], None]) -> None:
    dice = None if evaluator is None else evaluator.state.metrics.get(_VALIDATION_METRIC)
    loss = float(trainer.state.output[0]["loss"])
    on_epoch(TrainingProgress(trainer.state.epoch, trainer.state.max_epochs, loss, dice))


def _raise_on_nan(trainer: Engine) -> None:
    loss = float(trainer.state.output[0]["loss"])
    raise RuntimeError(
        f"training stopped in iteration {trainer.state.iteration}: the loss became {loss}; "
        f"lower the learning rate (the last finished epoch is in {LAST})"
    )
