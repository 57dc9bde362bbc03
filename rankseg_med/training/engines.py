"""MONAI's engines as the train config describes them."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import torch
from ignite.engine import Engine, Events
from ignite.handlers import TerminateOnNan
from monai.bundle import ConfigParser
from monai.data import CacheDataset, DataLoader
from monai.data.utils import worker_init_fn
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import LrScheduleHandler, MeanDice, from_engine
from monai.inferers import SimpleInferer
from monai.transforms import AsDiscreted, Compose, Transform
from torch import Tensor
from torch.utils.data import RandomSampler

from rankseg_med.calibration import Calibration
from rankseg_med.losses import WEIGHT, beside_labels
from rankseg_med.semisupervised import SemiSupervisedMethod, TwoStreams, logits_alone
from rankseg_med.studies import Study
from rankseg_med.training.calibration import CalibrationOnValidation
from rankseg_med.training.known_classes import KnownClasses
from rankseg_med.training.processes import across_processes, share_of
from rankseg_med.training.seeds import SeededBatches
from rankseg_med.training.supervision import Supervision, check_weights

VALIDATION_METRIC = "val_mean_dice"
Preprocessed: TypeAlias = MutableMapping[Study, Any]
"""Studies as the config's preprocessing leaves them, up to the first transform that is random."""


class DivergenceError(RuntimeError):
    """The loss of a training, or what its network says, is no finite number any more."""


# A worker that its own process has to terminate, since it hangs, is gone after so many seconds.
_WORKER_OUTLIVES_S = 60


def make_trainer(
    config: ConfigParser,
    training: Sequence[Study],
    unlabelled: Sequence[Study],
    seed: int,
    *,
    iteration: int = 0,
    preprocessed: Preprocessed | None = None,
) -> SupervisedTrainer:
    """Trainer of the config's network, by its ``method`` where it has one, and of this process's batches.

    Args:
        config: Config of a train job.
        training: Studies with labels.
        unlabelled: Studies without; only for a config with a method.
        seed: Random seed of every batch's randomness.
        iteration: The last that is done, where the trainer goes on; may be in the middle of an epoch.
        preprocessed: Studies that a trainer of the same preprocessing left here; the others are added.
    """
    loss = config.get_parsed_content("loss")
    # Before anything is loaded.
    check_weights(loss, training)
    num_classes = int(config.get_parsed_content("num_classes"))
    dataset = partial(_dataset, config, {} if preprocessed is None else preprocessed)
    learner: SemiSupervisedMethod | Supervision
    if "method" in config:
        learner = config.get_parsed_content("method")
        batch_sizes = [int(config["batch_size"]), int(config.get_parsed_content("unlabelled_batch_size"))]
        learner.check_batch_sizes(*batch_sizes)
        datasets = [dataset(training, "", [KnownClasses(num_classes)]), dataset(unlabelled, "unlabelled_")]
        loss_of_output: Callable[[Any, Any], Tensor] = partial(_loss_of_logits, learner)
        loader: Any = TwoStreams(*map(partial(_loader, config), datasets, batch_sizes))
    else:
        learner = Supervision(loss, num_classes)
        loss_of_output = learner.loss
        known = KnownClasses(
            num_classes, getattr(loss, "ignore_index", None), is_weighted=WEIGHT in beside_labels(loss)
        )
        datasets = [dataset(training, "", [known], learner.transforms)]
        loader = _loader(config, datasets[0], int(config["batch_size"]))
    batches = SeededBatches(loader, datasets, seed, skip=iteration % len(loader))
    device = config.get_parsed_content("device")
    scaler = scaler_of(device)
    trainer = SupervisedTrainer(
        device=device,
        max_epochs=int(config["epochs"]),
        train_data_loader=batches,
        network=across_processes(config.get_parsed_content("network")),
        optimizer=config.get_parsed_content("optimizer"),
        inferer=SimpleInferer(),
        amp=scaler is not None,
        decollate=False,
        prepare_batch=learner,
        loss_function=loss_of_output,
        train_handlers=[batches, LrScheduleHandler(config.get_parsed_content("lr_scheduler"), print_lr=False)],
    )
    # MONAI's `Trainer.run` would make a new one, which knows nothing of a checkpoint.
    trainer.scaler = scaler
    trainer.load_state_dict(
        {"iteration": iteration, "epoch_length": len(batches), "max_epochs": trainer.state.max_epochs}
    )
    learner.attach(trainer)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, TerminateOnNan(output_transform=loss_of))
    trainer.add_event_handler(Events.TERMINATE, _raise_if_nan)
    return trainer


def _loss_of_logits(
    method: SemiSupervisedMethod,
    output: Tensor | Sequence[Tensor],
    targets: Any,  # noqa: ANN401  (the method's own)
) -> Tensor:
    return method.loss(logits_alone(output), targets)


def scaler_of(device: torch.device) -> torch.amp.GradScaler | None:
    """What scales the loss where precision is mixed, which is on CUDA; None elsewhere."""
    return torch.amp.GradScaler(device.type) if device.type == "cuda" else None


def make_evaluator(
    config: ConfigParser,
    network: torch.nn.Module,
    validation: Sequence[Study],
    calibration: Calibration | None = None,
) -> SupervisedEvaluator:
    """Evaluator of whole volumes by foreground mean Dice of argmax, on the preprocessed grid.

    Processes that train together share the volumes out; the metric, which MONAI gathers, is that of all.

    Args:
        config: Config of a train job.
        network: What to validate: the teacher, where there is one; not wrapped for several processes.
        validation: Studies with labels.
        calibration: Is fitted to the network in every validation. The metric is of the network without it.
    """
    num_classes = config.get_parsed_content("num_classes")
    preprocessing = Compose([config.get_parsed_content("preprocessing"), KnownClasses(num_classes)])
    dataset = _cached(config, {}, share_of(validation), preprocessing)
    evaluator = SupervisedEvaluator(
        device=config.get_parsed_content("device"),
        val_data_loader=DataLoader(dataset, batch_size=1),
        network=network,
        inferer=config.get_parsed_content("inferer"),
        postprocessing=Compose(
            [AsDiscreted("pred", argmax=True, to_onehot=num_classes), AsDiscreted("label", to_onehot=num_classes)]
        ),
        key_val_metric={
            VALIDATION_METRIC: MeanDice(include_background=False, output_transform=from_engine(["pred", "label"]))
        },
    )
    if calibration is not None:
        CalibrationOnValidation(calibration).attach(evaluator)
    return evaluator


def _dataset(
    config: ConfigParser,
    preprocessed: Preprocessed,
    studies: Sequence[Study],
    stream: str,
    loaded: Sequence[Transform] = (),
    augmented: Sequence[Transform] = (),
) -> CacheDataset:
    preprocessing, augmentation = (
        config.get_parsed_content(f"{stream}{part}") for part in ("preprocessing", "augmentation")
    )
    # Flat, because a Compose counts as random itself, and the cache ends at the first random transform.
    transforms = Compose([preprocessing, *loaded, augmentation, *augmented]).flatten()
    return _cached(config, preprocessed, studies, transforms)


def _cached(
    config: ConfigParser, preprocessed: Preprocessed, studies: Sequence[Study], transforms: Compose
) -> CacheDataset:
    return _CachedHere(studies, transforms, float(config["cache_rate"]), preprocessed)


class _CachedHere(CacheDataset):
    """Fills its cache in the thread that makes it, with what is preprocessed already as it is.

    MONAI's own threads would go on loading after an error, and abort the interpreter when that ends.
    """

    def __init__(
        self, studies: Sequence[Study], transforms: Compose, cache_rate: float, preprocessed: Preprocessed
    ) -> None:
        self._studies, self._preprocessed = studies, preprocessed
        super().__init__([study.item for study in studies], transforms, cache_rate=cache_rate, progress=False)

    def _fill_cache(self, indices: Sequence[int] | None = None) -> list[Any]:
        return [self._prepared(index) for index in (range(self.cache_num) if indices is None else indices)]

    def _prepared(self, index: int) -> Any:  # noqa: ANN401
        study = self._studies[index]
        if study not in self._preprocessed:
            self._preprocessed[study] = self._load_cache_item(index)
        return self._preprocessed[study]


def _loader(config: ConfigParser, dataset: CacheDataset, batch_size: int) -> DataLoader:
    # With replacement, so that an epoch is as long on six volumes as on a hundred.
    samples = batch_size * int(config["iterations_per_epoch"])
    sampler = RandomSampler(dataset, replacement=True, num_samples=samples)
    return _Loader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=int(config["num_workers"]),
        worker_init_fn=_begin_worker,
    )


class _Loader(DataLoader):
    """Its workers outlive the SIGTERM of a scheduler to all processes.

    The process that trains finishes its iteration, for which it may need them, and then ends them.
    """

    def __iter__(self) -> Any:  # noqa: ANN401
        # Workers inherit the mask: none can be met before it knows what to do.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        try:
            return super().__iter__()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_worker(worker: int) -> None:
    """As MONAI begins the workers of a loader; SIGTERM ends it a while later only."""
    worker_init_fn(worker)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.alarm(_WORKER_OUTLIVES_S))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def loss_of(output: Mapping[str, Any]) -> float:
    """Loss of the iteration whose output a trainer's state holds."""
    return float(output["loss"].detach())


def _raise_if_nan(trainer: Engine) -> None:
    loss = loss_of(trainer.state.output)
    if not math.isfinite(loss):
        raise DivergenceError(
            f"training stopped in iteration {trainer.state.iteration}: the loss became {loss}; lower the learning rate"
        )
