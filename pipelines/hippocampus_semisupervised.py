"""What 6 labels and 114 unlabelled hippocampus volumes are worth: mean teacher, copy-paste, RankSEG pseudo-labels.

    python pipelines/hippocampus_semisupervised.py DATA WORK_FOLDER [--augmentation crops] [--iterations 1500] ...

DATA holds ``images/`` and ``labels/`` of the Medical Segmentation Decathlon's Task04. Of its volumes 60 are the test
set, the same for all runs and scored by the last checkpoint of each; 20 validate, which calibrates the teacher where an
arm asks for it, and chose ``min_confidence`` where an arm has one; the others are trained on. A seed chooses the
labelled ones of them, the weights, and all randomness. All arms have as many iterations. Runs use one thread each and
``--jobs`` of them go at a time; a run that was stopped goes on, one that is finished is not repeated. Of 20 unlabelled
volumes the truth is used to judge the teacher's pseudo-labels along the way, which changes nothing. ``results.md`` in
WORK_FOLDER has the tables.
"""

import argparse
import json
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from hippocampus_arms import ARMS, AUGMENTATIONS, config_of
from hippocampus_scores import PSEUDO_LABELS, SCORES, folder_of, report, score
from monai.bundle import ConfigParser
from pseudo_label_quality import pseudo_label_quality

from rankseg_med.studies import Study, atomic_write, find_studies
from rankseg_med.training import LAST, RECORD, TrainingProgress, split_studies, train, unlabelled_studies

JUDGED_EVERY = 500
"""Iterations between looks at the teacher's pseudo-labels."""


@dataclass(frozen=True)
class Plan:
    """What every run shares.

    Attributes:
        pool: Studies to train on, with labels.
        validation: Studies that are validated on.
        test: Studies that are scored in the end.
        labelled: How many labels a semi-supervised run has.
        iterations: Of every run.
        augmentation: Of every run; see `AUGMENTATIONS`.
        judged: How many unlabelled studies the teacher's pseudo-labels are judged on, along the way.
    """

    pool: list[Study]
    validation: list[Study]
    test: list[Study]
    labelled: int
    iterations: int
    augmentation: str = "config"
    judged: int = 20


def make_plan(
    data: Path, labelled: int, iterations: int, test: int, validation: int, augmentation: str = "config"
) -> Plan:
    """Split the volumes, the same way whenever the same files are there."""
    studies = [Study(s.case_id, s.image, data / "labels" / s.image.name) for s in find_studies(data / "images")]
    random.Random(0).shuffle(studies)
    pool, validating, testing = studies[test + validation :], studies[test : test + validation], studies[:test]
    return Plan(pool, validating, testing, labelled, iterations, augmentation)


def run(plan: Plan, name: str, seed: int, folder: Path) -> None:
    """Train an arm and score it on the test set; goes on where it was stopped."""
    torch.set_num_threads(1)
    arm, scores = ARMS[name], folder / SCORES
    if scores.exists():
        return
    config = config_of(arm, plan.iterations, plan.augmentation)
    chosen = None if arm.all_labels else plan.labelled
    training, _ = split_studies(plan.pool, fold=None, labelled=chosen, seed=seed)
    unlabelled = unlabelled_studies(plan.pool, training, []) if "method" in config else []
    judged = {study.case_id for study in unlabelled[: plan.judged]}
    with_truth = [study for study in plan.pool if study.case_id in judged]
    start, finished = time.perf_counter(), _finished_epochs(folder / LAST)
    if finished < config["epochs"]:
        train(
            config,
            training,
            plan.validation,
            folder,
            unlabelled=unlabelled,
            seed=seed,
            resume=(folder / RECORD).exists(),
            on_epoch=partial(_judge_teacher, config, with_truth, folder / PSEUDO_LABELS),
        )
    seconds = time.perf_counter() - start
    iterations = (config["epochs"] - finished) * config["iterations_per_epoch"]
    print(f"{folder}: {iterations} iterations and validation in {seconds:.0f} s", flush=True)
    network = config.get_parsed_content("network")
    network.load_state_dict(torch.load(folder / LAST, map_location="cpu", weights_only=True)["network"])
    _write_json(scores, score(config, network, plan.test))


def _judge_teacher(config: ConfigParser, studies: Sequence[Study], path: Path, progress: TrainingProgress) -> None:
    """Add to a JSON file what a teacher's pseudo-labels are worth now and then."""
    iteration = progress.epoch * int(config["iterations_per_epoch"])
    if not studies or iteration % JUDGED_EVERY:
        return
    teacher = config.get_parsed_content("method").teacher.calibrated_network
    qualities = json.loads(path.read_text()) if path.exists() else {}
    qualities[str(iteration)] = pseudo_label_quality(config, teacher, studies)
    _write_json(path, qualities)


def _write_json(path: Path, content: Any) -> None:  # noqa: ANN401 - what JSON can hold
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1))


def _finished_epochs(last: Path) -> int:
    if not last.exists():
        return 0
    content = torch.load(last, map_location="cpu", weights_only=True)
    return int(content["trainer"]["iteration"]) // int(content["trainer"]["epoch_length"])


def main() -> None:
    """Run what is left to run, then write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--iterations", type=int, default=1500, help="rounded down to whole epochs of 50")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--augmentation", choices=list(AUGMENTATIONS), default="config")
    parser.add_argument("--labelled", type=int, default=6)
    parser.add_argument("--test", type=int, default=60, help="volumes that are scored")
    parser.add_argument("--validation", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each")
    arguments = parser.parse_args()

    plan = make_plan(
        arguments.data,
        arguments.labelled,
        arguments.iterations,
        arguments.test,
        arguments.validation,
        arguments.augmentation,
    )
    _check_same_plan(arguments.work, plan)
    one: Callable[..., None] = partial(run, plan)
    # Seed by seed, so that a comparison over fewer seeds is complete early. Fresh processes, since forked ones keep
    # the threads' settings of this one.
    with ProcessPoolExecutor(arguments.jobs, mp_context=get_context("spawn")) as pool:
        runs = [
            pool.submit(one, arm, seed, folder_of(arguments.work, arm, seed))
            for seed in arguments.seeds
            for arm in arguments.arms
        ]
        for finished in runs:
            finished.result()
    without_labels = len(plan.pool) - plan.labelled
    heading = (
        f"{plan.labelled} labelled and {without_labels} unlabelled volumes, {len(plan.test)} test volumes, "
        f"{arguments.iterations} iterations, augmentation {plan.augmentation!r}, "
        f"seeds {', '.join(map(str, arguments.seeds))}."
    )
    tables = report(arguments.work, arguments.arms, arguments.seeds, heading)
    (arguments.work / "results.md").write_text(tables)
    print(tables)


def _check_same_plan(work: Path, plan: Plan) -> None:
    """Refuse to mix runs of different plans in one folder."""
    described = {
        "iterations": plan.iterations,
        "labelled": plan.labelled,
        "augmentation": plan.augmentation,
        **{part: [study.case_id for study in getattr(plan, part)] for part in ("pool", "validation", "test")},
    }
    path = work / "plan.json"
    if path.exists() and json.loads(path.read_text()) != described:
        raise SystemExit(
            f"{path}: runs of another plan are here (iterations, labels, augmentation, split); take another folder"
        )
    work.mkdir(parents=True, exist_ok=True)
    _write_json(path, described)


if __name__ == "__main__":
    main()
