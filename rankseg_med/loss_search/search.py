"""Search the parameters of a surrogate loss on a proxy task."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, TypeAlias, cast

import yaml
from monai.bundle import ConfigParser

from rankseg_med.configuration import Config
from rankseg_med.errors import InputError
from rankseg_med.executors import Executor, InProcess
from rankseg_med.loss_search.proxy import ProxyTask, Sample, by_operation, surrogate_of
from rankseg_med.loss_search.record import SEARCH, SearchRecord
from rankseg_med.loss_search.settings import SearchSettings
from rankseg_med.loss_search.steps import Step, Trial, found, next_step
from rankseg_med.runs import claimed
from rankseg_med.studies import Study, remove_unfinished, write_text
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
    on_start: Callable[[int], None] = lambda tried: None,
    on_trial: OnTrial = lambda step, index, trial: None,
) -> LossSearch | None:
    """Search the parameters of a config's `SurrogateLoss` (Auto Seg-Loss; Li et al., ICLR 2021).

    Every sample is a short training of the config with one set of parameters, from the same random start on the same
    batches; its score is the loss's metric itself, of argmax on the held-out studies together. The samples of a step
    run side by side. A training that diverges has the worst score, 0, and its reason is on record.

    ``search.json`` in the output folder has all that was tried, and is written whole after every sample. A search that
    was stopped or killed goes on when it is called again, and finds what it would have found (on CPU, to the bit, and
    with any executor); on another type of device, whose scores are not comparable, it does not go on. ``loss.yaml`` is
    written at the end: an overlay with the loss, for the config of any training.

    Args:
        config: Config of a train job, small and short. It stays as it is; batches are loaded by the process that
            trains.
        training: Studies with labels that are trained on.
        held_out: Other studies with labels, of the training part of the data too: what they score chooses the loss.
        output: Folder of the search.
        settings: How is searched; by default as in the paper.
        executor: How samples are spread; by default one after the other in this process.
        choice: How the studies were chosen, for the record.
        stop: When set, no more samples are begun, and those in hand are finished.
        on_start: Called before the first sample, with the number of those that were tried before.
        on_trial: Called after every sample.

    Returns:
        What was found; None if the search was stopped before its end.

    Raises:
        InputError: The config's loss is no `SurrogateLoss`; there is nothing to train on or to score, or a study is
            for both; every training diverged.
        StudyError: A study cannot be used; the folder holds another search, or one that is under way.
    """
    settings = settings or SearchSettings()
    if not training or not held_out:
        raise InputError(f"a search needs studies to train on and to score, got {len(training)} and {len(held_out)}")
    if both := sorted({study.case_id for study in training} & {study.case_id for study in held_out}):
        raise InputError(
            f"studies that choose the loss must not be trained on, got {', '.join(both)} for both; take other ones"
        )
    config = Config(copy.deepcopy(dict(config.get())))
    loss, device = surrogate_of(config), str(config.get_parsed_content("device"))
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
        record.check_same(asked, output, device)
        remove_unfinished([path, output / LOSS])
        on_start(record.tried)
        if not record.is_complete:
            # It is of an earlier search, whose record somebody took away.
            (output / LOSS).unlink(missing_ok=True)
            record = record.in_session(device)
            _go_on(record, path, task, executor or InProcess(), stop or Event(), on_trial)
        if not record.is_complete:
            return None
        if reasons := record.why_all_diverged:
            raise InputError(
                f"all {record.tried} trainings diverged, so that no loss is better than another (the first: "
                f"{reasons[0]}); lower the learning rate of the proxy task, and search in another folder"
            )
        parameters, score = found(settings, record.steps)
        entry = {**config.get("loss"), "parameters": by_operation(loss, parameters)}
        _write_loss(entry, score, settings, record, output / LOSS)
    return LossSearch(entry, score, record.steps)


def _go_on(
    record: SearchRecord, path: Path, task: ProxyTask, executor: Executor, stop: Event, on_trial: OnTrial
) -> None:
    """Try what is left to try, writing the record after each sample, until it is told to stop."""
    steps = record.steps
    while not record.is_complete and not stop.is_set():
        if not steps or not steps[-1].todo:
            steps.append(next_step(record.settings, record.start, steps))
            record.write(path)
        step = steps[-1]
        for index, trial in _tried(step, task, executor, stop):
            step.trials[index] = trial
            record.write(path)
            on_trial(len(steps), index, trial)


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
    version = record.task.sessions[-1].versions["rankseg_med"]
    head = (
        f"# Found by rankseg-med {version} ({settings.strategy}, {settings.steps} x {settings.samples} losses): "
        f"{entry['metric']} {score:.4f} on {len(record.task.validation)} held-out studies of the proxy task.\n"
    )
    text = yaml.safe_dump({"loss": dict(entry)}, sort_keys=False, default_flow_style=None, width=120)
    write_text(head + text, path)
