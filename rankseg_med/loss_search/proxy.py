"""The proxy task: a short training with a loss, and what its network reaches on studies that it has not seen."""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch.nn import functional as F

from rankseg_med.configuration import Config
from rankseg_med.errors import InputError
from rankseg_med.loss_search.steps import Trial
from rankseg_med.losses import SegmentationMetric, SurrogateLoss
from rankseg_med.studies import Study
from rankseg_med.threads import one_thread
from rankseg_med.training import DivergenceError, KnownClasses, Preprocessed, train
from rankseg_med.transforms import own_errors_of_transforms


@dataclass(frozen=True)
class Sample:
    """A loss on its way to a worker.

    Attributes:
        index: Its number in the step.
        parameters: Of all curves, one after the other in the order of the metric's operations.
    """

    index: int
    parameters: tuple[float, ...]


@dataclass(frozen=True)
class ProxyTask:
    """What is done with a loss: train a network from the same start, and score it.

    It travels to workers, so it holds plain data; each worker preprocesses a study once, for all its trainings. On CPU
    a training has one thread, since its numbers depend on how many it has: the search is the same with any number of
    workers.

    Attributes:
        config: Settings of a train job, whose ``loss`` is a `SurrogateLoss`.
        training: Studies that are trained on.
        held_out: Studies that the network is scored on.
        seed: Random seed of every training.
    """

    config: Mapping[str, Any]
    training: Sequence[Study]
    held_out: Sequence[Study]
    seed: int
    _preprocessed: Preprocessed = field(default_factory=dict, init=False, repr=False)
    _preprocessed_held_out: Preprocessed = field(default_factory=dict, init=False, repr=False)

    def build(self) -> Sequence[Callable[[Sample], Trial]]:
        """The only stage; see `rankseg_med.executors.StagedWork`."""
        return [self.attempt]

    def memory_needed(self, case: Sample, /) -> int:
        """Not known; samples are bounded by the number of workers alone."""
        return 0

    def attempt(self, sample: Sample) -> Trial:
        """Train with a loss, and score the network by argmax, on all held-out studies together.

        Returns:
            The score; 0, with the reason, if the training diverged.
        """
        start = time.perf_counter()
        config = Config(copy.deepcopy(dict(self.config)))
        loss = surrogate_of(config)
        config["loss::parameters"] = by_operation(loss, sample.parameters)
        score, reason = 0.0, ""
        threads = one_thread() if config.get_parsed_content("device").type == "cpu" else nullcontext()
        with threads, tempfile.TemporaryDirectory() as folder:
            try:
                output = Path(folder) / "run"
                train(config, self.training, [], output, seed=self.seed, preprocessed=self._preprocessed)
                score = score_of(config, self.held_out, loss.metric, self._preprocessed_held_out)
            except DivergenceError as error:
                reason = str(error)
        return Trial(score=score, reason=reason, seconds=time.perf_counter() - start)


def surrogate_of(config: ConfigParser) -> SurrogateLoss:
    """The loss of a config, as it stands there.

    Raises:
        InputError: It is another loss than a `SurrogateLoss`.
    """
    loss = config.get_parsed_content("loss", instantiate=True)
    if not isinstance(loss, SurrogateLoss):
        raise InputError(
            f"loss: must be a rankseg_med.losses.SurrogateLoss, whose parameters are searched, got "
            f"{type(loss).__name__}; take a config such as loss_proxy_lung_nodules"
        )
    return loss


def by_operation(loss: SurrogateLoss, parameters: Sequence[float]) -> dict[str, list[float]]:
    """Parameters of all curves, as a config has them: logical operation to those of its curve."""
    size = loss.form.size
    return {
        name: list(parameters[place * size : (place + 1) * size]) for place, name in enumerate(loss.metric.operations)
    }


def score_of(
    config: ConfigParser, studies: Sequence[Study], metric: SegmentationMetric, preprocessed: Preprocessed
) -> float:
    """The metric itself, of the labels that a config's network finds most probable, over all studies together.

    Args:
        config: Config of a train job, on whose preprocessed grid is scored; its network is used as it is.
        studies: Studies with labels.
        metric: What is scored.
        preprocessed: Studies as this left them here before; the others are added.

    Raises:
        StudyError: A study cannot be read, or its label map has other classes.
        DivergenceError: The network says something else than finite numbers.
    """
    preprocessing, inferer, network, device = (
        config.get_parsed_content(name) for name in ("preprocessing", "inferer", "network", "device")
    )
    classes = int(config.get_parsed_content("num_classes"))
    known, counts = KnownClasses(classes), []
    network.eval()
    with torch.inference_mode(), own_errors_of_transforms():
        for study in studies:
            if study not in preprocessed:
                preprocessed[study] = known(preprocessing(study.item))
            item = preprocessed[study]
            labels = item["label"].as_tensor().long()
            logits = inferer(item["image"].as_tensor()[None].to(device), network).cpu()
            if not logits.isfinite().all():
                strange = logits[~logits.isfinite()][0].item()
                raise DivergenceError(f"{study.case_id}: the trained network says {strange}")
            prediction, target = (F.one_hot(one, classes).movedim(-1, 1).double() for one in (logits.argmax(1), labels))
            counts.append(metric.counts(prediction, target))
    return float(metric.value(torch.stack(counts).sum(0)))
