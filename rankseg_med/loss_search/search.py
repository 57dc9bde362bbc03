"""Search the parameters of a surrogate loss on a proxy task."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, TypeAlias, cast

import yaml
from monai.bundle import ConfigParser

from rankseg_med import __version__
from rankseg_med.errors import InputError
from rankseg_med.executors import Executor, InProcess
from rankseg_med.loss_search.proxy import ProxyTask, Sample, by_operation, surrogate_of
from rankseg_med.loss_search.record import SEARCH, SearchRecord
from rankseg_med.loss_search.settings import SearchSettings
from rankseg_med.loss_search.steps import Step, Trial, found, next_step
from rankseg_med.runs import claimed
from rankseg_med.studies import Study, atomic_write, remove_unfinished
from rankseg_med.training import TrainingRecord

LOSS = "loss.yaml"

Tried: TypeAlias = Iterator[tuple[int, Trial]]
OnTrial: TypeAlias = Callable[[int, int, Trial], None]
"""Called with the number of the step, from 1, the index of the sample and what became of it."""


@dataclass(frozen=True)
class LossSearch:
    """What a search came to.

    Attributes:
        loss: Entry of a config: the loss that was found.
        score: Its score on the proxy task, see `rankseg_med.loss_search.found`.
        steps: All that was tried.
    """

    loss: dict[str, Any]
    score: float
    steps: Sequence[Step]


def search_loss(
    config: ConfigParser,
    training: Sequence[Study],
    held_out: Sequence[Study],
    output: Path,
    settings: SearchSettings | None = None,
    *,
    executor: Executor | None = None,
    choice: Mapping[str, str | int | None] | None = None,
    stop: Event | None = None,
    on_trial: OnTrial = lambda step, index, trial: None,
) -> LossSearch | None:
    """Search the parameters of a config's `SurrogateLoss` (Auto Seg-Loss; Li et al., ICLR 2021).

    Every sample is a short training of the config with one set of parameters, from the same random start on the same
    batches; its score is the loss's metric itself, of argmax on the held-out studies together. The samples of a step
    run side by side. A training that diverges has the worst score, 0, and its reason is on record.

    ``search.json`` in the output folder has all that was tried, and is written whole after every sample. A search that
    was stopped or killed goes on when it is called again, and finds what it would have found (on CPU, to the bit, and
    with any executor). ``loss.yaml`` is written at the end: an overlay with the loss, for the config of any training.

    Args:
        config: Config of a train job, small and short. Batches are loaded by the process that trains.
        training: Studies with labels that are trained on.
        held_out: Other studies with labels, of the training part of the data too: what they score chooses the loss.
        output: Folder of the search.
        settings: How is searched; by default as published.
        executor: How samples are spread; by default one after the other in this process.
        choice: How the studies were chosen, for the record.
        stop: When set, no more samples are begun, and those in hand are finished.
        on_trial: Called after every sample.

    Returns:
        What was found; None if the search was stopped before its end.

    Raises:
        InputError: The config's loss is no `SurrogateLoss`, or there is nothing to train on or to score.
        StudyError: A study cannot be used; the folder holds another search, or one that is under way.
    """
    settings = settings or SearchSettings()
    if not training or not held_out:
        raise InputError(f"a search needs studies to train on and to score, got {len(training)} and {len(held_out)}")
    loss = surrogate_of(config)
    config["num_workers"] = 0  # workers of executors may start no processes
    asked = SearchRecord(
        task=TrainingRecord.of(
            config.get(), training, [], held_out, seed=settings.seed, processes=1, choice=dict(choice or {})
        ),
        settings=settings,
        start=[value for name in loss.metric.operations for value in loss.parameters_of[name]],
    )
    path = output / SEARCH
    output.mkdir(parents=True, exist_ok=True)
    task = ProxyTask(config.get(), training, held_out, settings.seed)
    # By an identity that no other search has.
    with claimed(output, "search-loss", asked.task.identity):
        record = SearchRecord.read(path) if path.exists() else asked
        record.check_same(asked, output)
        remove_unfinished([path, output / LOSS])
        is_complete = _go_on(record, path, task, executor or InProcess(), stop or Event(), on_trial)
        if not is_complete:
            return None
        parameters, score = found(settings, record.steps)
        entry = {**config.get("loss"), "parameters": by_operation(loss, parameters)}
        _write_loss(entry, score, settings, record, output / LOSS)
    return LossSearch(entry, score, record.steps)


def _go_on(
    record: SearchRecord, path: Path, task: ProxyTask, executor: Executor, stop: Event, on_trial: OnTrial
) -> bool:
    """Try what is left to try, writing the record after each sample; whether that was all."""
    steps, settings = record.steps, record.settings
    while True:
        if not steps or not steps[-1].todo:
            if len(steps) == settings.steps:
                return True
            steps.append(next_step(settings, record.start, steps))
            record.write(path)
        step = steps[-1]
        for index, trial in _tried(step, task, executor, stop):
            step.trials[index] = trial
            record.write(path)
            on_trial(len(steps), index, trial)
        if step.todo:
            return False


def _tried(step: Step, task: ProxyTask, executor: Executor, stop: Event) -> Tried:
    """Trials of a step as they end; what else goes wrong than a training that diverges ends the search."""
    waiting = (Sample(index, tuple(step.samples[index])) for index in step.todo)
    samples = (sample for sample in waiting if not stop.is_set())
    for outcome in executor(task, samples, None):
        if outcome.error is not None:
            raise outcome.error
        yield outcome.item.index, cast("Trial", outcome.result)


def _write_loss(
    entry: Mapping[str, Any], score: float, settings: SearchSettings, record: SearchRecord, path: Path
) -> None:
    head = (
        f"# Found by rankseg-med {__version__} ({settings.strategy}, {settings.steps} x {settings.samples} losses): "
        f"{entry['metric']} {score:.4f} on {len(record.task.validation)} held-out studies of the proxy task.\n"
    )
    with atomic_write(path) as temporary:
        text = yaml.safe_dump({"loss": dict(entry)}, sort_keys=False, default_flow_style=None, width=120)
        temporary.write_text(head + text, encoding="utf-8")
