"""What images without labels are worth, and by which pseudo-labels: copy-paste, mean teacher and self-training.

    python pipelines/semisupervised.py DATA_SET FOLDER WORK_FOLDER [--seeds 0 1 2] [--arms published coherent ...]

FOLDER holds ``images/`` and ``labels/``. A seed deals the patients out (test, validation, with labels, without), and is
that of weights, batches and augmentation, so that arms of a seed are paired. All arms have as many iterations; the last
checkpoint is scored, once, by argmax, RankSEG, the coherent rule and what `tune` chooses on the validation patients.
Runs use one thread each, ``--jobs`` of them at a time; one that was stopped goes on, one that is finished is not
repeated. ``results.md`` in WORK_FOLDER has the tables of what is there.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from experiment import arguments, check_same, run_all, train_and_score
from experiment_data import DATA_SETS, split_of
from self_training import pseudo_labelled
from semisupervised_arms import ARMS, AUGMENTATIONS, LABELS_ALONE, config_of
from semisupervised_report import report

from rankseg_med.studies import Study


@dataclass(frozen=True)
class Experiment:
    """What all runs share.

    Attributes:
        data_set: Key of `DATA_SETS`.
        labelled: How many patients keep their labels.
        iterations: Length of every run.
        augmentation: Key of `AUGMENTATIONS`.
    """

    data_set: str
    labelled: int
    iterations: int
    augmentation: str


def run(experiment: Experiment, folder: Path, arm: str, seed: int, output: Path) -> None:
    """Train an arm on the images of a folder, and score it on the test patients; goes on where it was stopped."""
    data_set = DATA_SETS[experiment.data_set]
    split = split_of(data_set, folder, seed, experiment.labelled)
    config = config_of(arm, data_set.config, data_set.presence, experiment.iterations, experiment.augmentation)
    labelled = (*split.labelled, *split.unlabelled) if ARMS[arm].all_labels else split.labelled
    without = [Study(one.case_id, one.image) for one in split.unlabelled]
    if (decoder := ARMS[arm].self_training) is not None:
        teacher, presence = output.parents[1] / LABELS_ALONE / output.name, data_set.presence
        labelled += tuple(pseudo_labelled(teacher, data_set.config, decoder(presence), without, output / "pseudo"))
    train_and_score(config, data_set, split, labelled, without if ARMS[arm].learns_unlabelled else (), seed, output)


def main() -> None:
    """Run what is left to run, then write the tables."""
    parser = arguments(__doc__, DATA_SETS)
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--labelled", type=int, help="patients that keep their labels")
    parser.add_argument("--augmentation", choices=list(AUGMENTATIONS), default="config")
    given = parser.parse_args()
    data_set = DATA_SETS[given.data_set]
    experiment = Experiment(
        given.data_set,
        given.labelled or data_set.labelled,
        given.iterations or data_set.iterations,
        given.augmentation,
    )
    check_same(asdict(experiment), given.work)
    tables = partial(report, given.work, data_set.patient_of)
    one = partial(run, experiment, given.folder.resolve())
    taught = [arm for arm in given.arms if ARMS[arm].self_training is not None]
    # Teachers have to be finished.
    for arms in ([arm for arm in given.arms if arm not in taught], taught):
        if arms:
            run_all(one, arms, given.seeds, given.work, given.jobs, tables)


if __name__ == "__main__":
    main()
