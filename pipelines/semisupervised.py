"""What images without labels are worth, and by which pseudo-labels: copy-paste and mean teacher, on one data set.

    python pipelines/semisupervised.py DATA_SET FOLDER WORK_FOLDER [--seeds 0 1 2] [--arms published coherent ...]

FOLDER holds ``images/`` and ``labels/``. A seed deals the patients out (test, validation, with labels, without), and is
that of weights, batches and augmentation, so that arms of a seed are paired. All arms have as many iterations; the last
checkpoint is scored, once, by argmax, RankSEG, the coherent rule and what `tune` chooses on the validation patients.
Runs use one thread each, ``--jobs`` of them at a time; one that was stopped goes on, one that is finished is not
repeated. ``results.md`` in WORK_FOLDER has the tables of what is there.
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch
from semisupervised_arms import ARMS, AUGMENTATIONS, config_of
from semisupervised_data import DATA_SETS, Split, split_of
from semisupervised_report import SCORED, report

from rankseg_med.configuration import load_config
from rankseg_med.evaluation import Network, NetworkCase, Task, run_ab, structures_of_config, tune, write_tuning
from rankseg_med.studies import Study, write_json
from rankseg_med.training import LAST, RECORD, train

_TUNED = "tuned.yaml"


@dataclass(frozen=True)
class Experiment:
    """What all runs share.

    Attributes:
        data_set: Key of `DATA_SETS`.
        folder: Where it lies.
        labelled: How many patients keep their labels.
        iterations: Length of every run.
        augmentation: Key of `AUGMENTATIONS`.
    """

    data_set: str
    folder: Path
    labelled: int
    iterations: int
    augmentation: str

    def split(self, seed: int) -> Split:
        """Who is trained on, tuned on and scored."""
        return split_of(DATA_SETS[self.data_set], self.folder, seed, self.labelled)


def run(experiment: Experiment, arm: str, seed: int, output: Path) -> None:
    """Train an arm and score it on the test patients; goes on where it was stopped."""
    if (output / SCORED).exists():
        return
    torch.set_num_threads(1)
    data_set, split = DATA_SETS[experiment.data_set], experiment.split(seed)
    start = time.perf_counter()
    _train(experiment, arm, seed, split, output)
    trained = time.perf_counter()
    settings = load_config("inference", data_set.config, device="cpu")
    structures = structures_of_config(settings)
    if structures is None:
        raise ValueError(f"{data_set.config}: must have label_names")
    network = Network.from_config(settings, [output / LAST])

    def cases(studies: tuple[Study, ...]) -> list[NetworkCase]:
        return [
            NetworkCase(study, study.label, data_set.patient_of(study.case_id), network)
            for study in studies
            if study.label is not None
        ]

    write_tuning(tune(cases(split.validation), Task(structures), seed=seed), output / _TUNED)
    run_ab(
        cases(split.test),
        structures,
        output / Path(SCORED).parent,
        presence=data_set.presence,
        overlay=output / _TUNED,
    )
    print(f"{output}: trained in {trained - start:.0f} s, scored in {time.perf_counter() - trained:.0f} s", flush=True)


def _train(experiment: Experiment, arm: str, seed: int, split: Split, output: Path) -> None:
    data_set = DATA_SETS[experiment.data_set]
    config = config_of(arm, data_set.config, data_set.presence, experiment.iterations, experiment.augmentation)
    if _epochs_in(output / LAST) >= int(config["epochs"]):
        return
    labelled = (*split.labelled, *split.unlabelled) if ARMS[arm].all_labels else split.labelled
    without = [Study(one.case_id, one.image) for one in split.unlabelled] if ARMS[arm].learns_unlabelled else []
    resume = (output / RECORD).exists()
    train(config, labelled, split.validation, output, unlabelled=without, seed=seed, resume=resume)


def _epochs_in(last: Path) -> int:
    if not last.exists():
        return 0
    trainer = torch.load(last, map_location="cpu", weights_only=True)["trainer"]
    return int(trainer["iteration"]) // int(trainer["epoch_length"])


def main() -> None:
    """Run what is left to run, then write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_set", choices=list(DATA_SETS))
    parser.add_argument("folder", type=Path, help="folder with images/ and labels/")
    parser.add_argument("work", type=Path, help="folder of runs and results.md")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--labelled", type=int, help="patients that keep their labels")
    parser.add_argument("--iterations", type=int, help="length of every run, rounded down to whole epochs of 50")
    parser.add_argument("--augmentation", choices=list(AUGMENTATIONS), default="config")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each")
    given = parser.parse_args()
    data_set = DATA_SETS[given.data_set]
    experiment = Experiment(
        given.data_set,
        given.folder.resolve(),
        given.labelled or data_set.labelled,
        given.iterations or data_set.iterations,
        given.augmentation,
    )
    _check_same(experiment, given.work)
    # Seed by seed, so that a comparison over fewer seeds is complete early. Fresh processes, since forked ones keep
    # the threads' settings of this one.
    with ProcessPoolExecutor(given.jobs, mp_context=get_context("spawn")) as pool:
        one = partial(run, experiment)
        runs = [pool.submit(one, arm, seed, given.work / arm / str(seed)) for seed in given.seeds for arm in given.arms]
        for finished in runs:
            finished.result()
            (given.work / "results.md").write_text(report(given.work, DATA_SETS[given.data_set].patient_of))
    print((given.work / "results.md").read_text())


def _check_same(experiment: Experiment, work: Path) -> None:
    """Refuse to mix runs of different experiments in one folder."""
    described = {
        "data_set": experiment.data_set,
        "labelled": experiment.labelled,
        "iterations": experiment.iterations,
        "augmentation": experiment.augmentation,
    }
    path = work / "experiment.json"
    if path.exists() and json.loads(path.read_text()) != described:
        raise SystemExit(f"{path}: runs of another experiment are here; take another folder")
    work.mkdir(parents=True, exist_ok=True)
    write_json(described, path)


if __name__ == "__main__":
    main()
