"""What experiments over arms and seeds have in common: an arm is trained and scored, and what is left to run is run."""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from experiment_data import ExperimentData, Split
from experiment_tables import SCORED

from rankseg_med.configuration import Config, load_config
from rankseg_med.evaluation import Network, NetworkCase, Task, run_ab, structures_of_config, tune, write_tuning
from rankseg_med.executors import run_in_processes, run_overlapped
from rankseg_med.studies import NnunetLabels, Study, write_json, write_text
from rankseg_med.threads import one_thread
from rankseg_med.training import LAST, StartingWeights, train_to_end

_log = logging.getLogger(__name__)

TUNED = "tuned.yaml"
"""Overlay with what `tune` chose for a run's network."""
Run = Callable[[str, int, Path], None]
"""Runs an arm with a seed into a folder."""
AlsoMeasure = Callable[[Sequence[NetworkCase], NnunetLabels, Path], None]
"""Called with the test cases, what is scored of them, and the folder of the run."""


def arguments(description: str | None, data_sets: Iterable[str]) -> argparse.ArgumentParser:
    """A parser of what every experiment is told; each adds its own.

    Args:
        description: Of the script.
        data_sets: Names of those that it can take.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_set", choices=list(data_sets))
    parser.add_argument("folder", type=Path, help="folder with images/ and labels/")
    parser.add_argument("work", type=Path, help="folder of runs and results.md")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--iterations", type=int, help="length of every run, rounded down to whole epochs")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each")
    return parser


def in_epochs(config: Config, iterations: int) -> Config:
    """The config, cut into epochs that end with so many iterations, rounded down to whole epochs."""
    config["iterations_per_epoch"] = min(int(config["iterations_per_epoch"]), iterations)
    config["epochs"] = iterations // int(config["iterations_per_epoch"])
    return config


def train_and_score(
    config: Config,
    data_set: ExperimentData,
    split: Split,
    labelled: Sequence[Study],
    unlabelled: Sequence[Study],
    seed: int,
    output: Path,
    *,
    weights: StartingWeights | None = None,
    prediction_changes: Mapping[str, object] | None = None,
    also: AlsoMeasure = lambda cases, structures, output: None,
) -> None:
    """Train with a config, and score the last checkpoint; goes on where it was stopped.

    Decoders are tuned on the validation patients. What is scored, once, are the test patients, by argmax, RankSEG, the
    coherent rule and the tuned decoder.

    Args:
        config: Config of the training.
        data_set: What the studies are of.
        split: Who validates and who is scored.
        labelled: Trained on with labels.
        unlabelled: Trained on without.
        seed: Random seed of the training and the tuning.
        output: Folder of the run.
        weights: What the network starts from; by default random weights.
        prediction_changes: Changes of the data set's config where its network is used, such as that of another one.
        also: What else is measured on the test patients, before their scores mark the run as finished.
    """
    start = time.perf_counter()
    config["num_workers"] = 0  # runs side by side are processes that may start none
    train_to_end(config, labelled, split.validation, output, unlabelled=unlabelled, seed=seed, weights=weights)
    trained = time.perf_counter()
    settings = load_config("inference", data_set.config, device="cpu", changes=prediction_changes)
    structures = structures_of_config(settings)
    if structures is None:
        raise ValueError(f"{data_set.config}: must have label_names")
    network = Network.from_config(settings, [output / LAST])
    validation, test = (
        [
            NetworkCase(study, study.label, data_set.patient_of(study.case_id), network)
            for study in studies
            if study.label is not None
        ]
        for studies in (split.validation, split.test)
    )
    write_tuning(tune(validation, Task(structures), seed=seed), output / TUNED)
    also(test, structures, output)
    run_ab(test, structures, output / Path(SCORED).parent, presence=data_set.presence, overlay=output / TUNED)
    print(f"{output}: trained in {trained - start:.0f} s, scored in {time.perf_counter() - trained:.0f} s", flush=True)


class _Planned(NamedTuple):
    arm: str
    seed: int
    folder: Path


def run_all(
    run: Run,
    arms: Sequence[str],
    seeds: Sequence[int],
    work: Path,
    jobs: int,
    report: Callable[[], str],
) -> None:
    """Run every arm with every seed that is not finished, so many at a time, each on one thread and into ``ARM/SEED``.

    ``results.md`` is written after each. One that fails does not stop the others.

    Args:
        run: Picklable.
        arms: Names.
        seeds: Random seeds.
        work: Folder of the experiment.
        jobs: Processes; a single one is this.
        report: Tables of what is there, as Markdown.

    Raises:
        SystemExit: Runs failed; it names them.
    """
    # Seed by seed, so that a comparison over fewer seeds is complete early.
    planned = [_Planned(arm, seed, work / arm / str(seed)) for seed in seeds for arm in arms]
    todo = [one for one in planned if not (one.folder / SCORED).exists()]
    stages, failed = partial(_stages, run), []
    outcomes = run_overlapped(stages(), todo) if jobs == 1 else run_in_processes(stages, todo, workers=jobs)
    for outcome in outcomes:
        if outcome.error is not None:
            failed.append(f"{outcome.item.arm}, seed {outcome.item.seed}: {outcome.error}")
            _log.error("%s\n%s", failed[-1], outcome.traceback or "")
        write_text(report(), work / "results.md")
    tables = report()
    write_text(tables, work / "results.md")
    print(tables)
    if failed:
        raise SystemExit("\n".join(["failed, and run again by the same command:", *failed]))


def _stages(run: Run) -> list[Callable[[_Planned], None]]:
    return [partial(_on_one_thread, run)]


def _on_one_thread(run: Run, planned: _Planned) -> None:
    with one_thread():
        run(*planned)


def check_same(described: Mapping[str, Any], work: Path) -> None:
    """Refuse to mix runs of different experiments in one folder."""
    path = work / "experiment.json"
    if path.exists() and json.loads(path.read_text()) != described:
        raise SystemExit(f"{path}: runs of another experiment are here; take another folder")
    work.mkdir(parents=True, exist_ok=True)
    write_json(described, path)
