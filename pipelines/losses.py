r"""What a loss is worth, and what decoding adds to each: cross-entropy, Dice, both, focal, Lovász, and searched ones.

    python pipelines/losses.py DATA_SET FOLDER WORK_FOLDER [--seeds 0 1 2] [--searched 'found/{seed}/loss.yaml']

FOLDER holds ``images/`` and ``labels/``. A seed deals the patients out (test, validation, training), and is that of
weights, batches and augmentation, so that losses are paired. All train equally long, on the labels of all training
patients; the last checkpoint is scored, once, by argmax, RankSEG, the coherent rule and what `tune` chooses on the
validation patients. Runs use one thread each, ``--jobs`` of them at a time; one that was stopped goes on, one that is
finished is not repeated. ``results.md`` in WORK_FOLDER has the tables of what is there.

A loss is searched for each seed anew, on its training patients alone. Their data lists are written to
``WORK_FOLDER/lists`` before anything else (with ``--arms`` and no names, nothing else is done):

    rankseg-med search-loss --config loss_proxy_DATA_SET --manifest WORK_FOLDER/lists/0.json --data-root FOLDER \
        --fold -1 --held-out 0 -o found/0

``unsearched`` is the loss that such a search starts from. Proxy tasks are shipped for hippocampus and lung_nodules.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from experiment import arguments, check_same, in_epochs, run_all, train_and_score
from experiment_data import DATA_SETS, Split, split_of
from losses_calibration import measure
from losses_report import ARMS, SEARCHED, UNSEARCHED, report

from rankseg_med.configuration import Config, load_config
from rankseg_med.loss_search import SEARCH
from rankseg_med.studies import LabelledEntry, Manifest
from rankseg_med.training import RECORD, TrainingRecord

_FOLDS = 5
_START = {"surrogate": {"include_background": False}}
"""The loss of the proxy tasks' configs, before its parameters are searched."""


@dataclass(frozen=True)
class Experiment:
    """What all runs share.

    Attributes:
        data_set: Key of `DATA_SETS`.
        iterations: Length of every run.
        searched: Overlay with the searched loss, where ``{seed}`` stands for the seed.
    """

    data_set: str
    iterations: int
    searched: str | None


def run(experiment: Experiment, folder: Path, arm: str, seed: int, output: Path) -> None:
    """Train with a loss on the images of a folder, and score on the test patients; goes on where it was stopped."""
    data_set = DATA_SETS[experiment.data_set]
    split = _split(experiment.data_set, folder, seed)
    config = config_of(arm, data_set.config, experiment.iterations, _searched(experiment, seed, split, arm))
    train_and_score(config, data_set, split, (*split.labelled, *split.unlabelled), (), seed, output, also=measure)


def config_of(arm: str, base: str, iterations: int, searched: Path | None = None) -> Config:
    """The config of a loss, cut into epochs that end with the iterations.

    Args:
        arm: Name of the loss, `UNSEARCHED` or `SEARCHED`.
        base: Shipped config.
        iterations: How long it trains; rounded down to whole epochs.
        searched: Overlay with the searched loss.
    """
    overlays: list[str | Path] = [base] if searched is None else [base, searched]
    changes = {"loss": _START if arm == UNSEARCHED else arm} if searched is None else None
    config = load_config("train", overlays, device="cpu", changes=changes)
    return in_epochs(config, iterations)


def _split(name: str, folder: Path, seed: int) -> Split:
    return split_of(DATA_SETS[name], folder, seed, DATA_SETS[name].labelled)


def _searched(experiment: Experiment, seed: int, split: Split, arm: str) -> Path | None:
    """The overlay of the searched loss, if that is the arm.

    Raises:
        SystemExit: There is none, it says nothing of how it was searched, or that was on patients that are not for it.
    """
    if arm != SEARCHED:
        return None
    if experiment.searched is None:
        raise SystemExit(f"{SEARCHED}: name its overlay with --searched, such as 'found/{{seed}}/loss.yaml'")
    path = Path(experiment.searched.format(seed=seed))
    record = path.parent / SEARCH
    if not path.exists() or not record.exists():
        raise SystemExit(f"{path}: must be a searched loss, with {SEARCH} beside it; search it with search-loss")
    task = json.loads(record.read_text())["task"]
    seen = {study["case_id"] for part in ("training", "validation") for study in task[part]}
    if leaked := sorted(seen & {study.case_id for study in (*split.validation, *split.test)}):
        raise SystemExit(f"{path}: was searched on studies that seed {seed} tunes or is scored on: {', '.join(leaked)}")
    return path


def _check_searched(experiment: Experiment, folder: Path, seeds: Sequence[int], work: Path) -> None:
    """Make sure that every seed has a searched loss, and that no runs of different searches are in one table.

    Raises:
        SystemExit: A loss is missing or cannot be used; a run that is there was trained with another loss than the
            overlay's.
    """
    for seed in seeds:
        record = work / SEARCHED / str(seed) / RECORD
        overlay = _searched(experiment, seed, _split(experiment.data_set, folder, seed), SEARCHED)
        if record.exists():
            config = config_of(SEARCHED, DATA_SETS[experiment.data_set].config, experiment.iterations, overlay)
            if TrainingRecord.read(record).config["loss"] != config["loss"]:
                raise SystemExit(f"{record}: was trained with another loss than that of {overlay}; take another folder")


def write_lists(name: str, folder: Path, seeds: Sequence[int], output: Path) -> None:
    """Write a data list of each seed's training patients, dealt out to folds, for searches."""
    data_set = DATA_SETS[name]
    names = load_config("train", data_set.config, device="cpu")["label_names"]
    for seed in seeds:
        split = _split(name, folder, seed)
        studies = (*split.labelled, *split.unlabelled)
        patients = sorted({data_set.patient_of(study.case_id) for study in studies})
        entries = [
            LabelledEntry(
                id=study.case_id,
                image=study.image.relative_to(folder).as_posix(),
                label=study.label.relative_to(folder).as_posix(),
                fold=patients.index(data_set.patient_of(study.case_id)) % _FOLDS,
            )
            for study in studies
            if study.label is not None
        ]
        labels = {str(label): label_name for label, label_name in enumerate(names)}
        Manifest(name=f"{name}, seed {seed}", labels=labels, training=entries).write(output / f"{seed}.json")


def main() -> None:
    """Run what is left to run, then write the tables."""
    parser = arguments(__doc__, DATA_SETS)
    parser.add_argument("--arms", nargs="*", choices=list(ARMS), help="by default all, the searched one if it is given")
    parser.add_argument("--searched", help="overlay of the searched loss, such as 'found/{seed}/loss.yaml'")
    given = parser.parse_args()
    data_set, folder = DATA_SETS[given.data_set], given.folder.resolve()
    experiment = Experiment(given.data_set, given.iterations or data_set.iterations, given.searched)
    check_same({"data_set": experiment.data_set, "iterations": experiment.iterations}, given.work)
    write_lists(given.data_set, folder, given.seeds, given.work / "lists")
    possible = [arm for arm in ARMS if arm != SEARCHED or given.searched]
    arms = possible if given.arms is None else given.arms
    if SEARCHED in arms:
        _check_searched(experiment, folder, given.seeds, given.work)
    if arms:
        tables = partial(report, given.work, data_set.patient_of)
        run_all(partial(run, experiment, folder), arms, given.seeds, given.work, given.jobs, tables)


if __name__ == "__main__":
    main()
