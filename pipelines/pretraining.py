"""What pre-training on explained classes of images is worth where few volumes have labels, on one data set.

    python pipelines/pretraining.py DATA_SET FOLDER WORK_FOLDER [--seeds 0 1 2] [--arms labels_alone pretrained ...]

FOLDER holds ``images/`` and ``labels/``. A seed deals the patients out (test, validation, with labels, without), and is
that of weights, batches and augmentation, so that arms of a seed are paired. Patches of a known class are cut out of
the volumes of all training patients, with labels or without, around their structures; of their label maps nothing else
than these places and the classes is used.
Classifiers learn these, explanations of what they see become label maps, and a network is pre-trained on them, which
``pretrained`` then fine-tunes. It has as many iterations with labels as ``labels_alone``; classifiers and pre-training
come on top. The last checkpoint is scored, once, by argmax and by what `tune` chooses on the validation patients. Runs
use one thread each, ``--jobs`` of them at a time; one that was stopped goes on, one that is finished is not repeated.
``results.md`` in WORK_FOLDER has the tables of what is there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from experiment import arguments, check_same, in_epochs, run_all, train_and_score
from experiment_data import DATA_SETS, split_of
from experiment_tables import changes, page, read_runs
from pretraining_patches import PATCHES, cut_patches
from semisupervised_arms import ALL_LABELS, LABELS_ALONE, config_of

from rankseg_med.configuration import load_config
from rankseg_med.pretraining import (
    ExplainJob,
    read_image_classes,
    train_classifiers,
    with_image_classes,
    write_explained_list,
)
from rankseg_med.runs import run_job
from rankseg_med.studies import Study, StudyError, find_studies
from rankseg_med.training import LAST, StartingWeights, train_to_end

PRETRAINED = "pretrained"
ARMS = (LABELS_ALONE, PRETRAINED, ALL_LABELS)


@dataclass(frozen=True)
class Experiment:
    """What all runs share.

    Attributes:
        data_set: Key of `DATA_SETS` and of `PATCHES`.
        labelled: How many patients keep their labels.
        iterations: Length of every training with labels.
        classifier_iterations: Length of each classifier's training.
        pretraining_iterations: Length of the pre-training.
    """

    data_set: str
    labelled: int
    iterations: int
    classifier_iterations: int
    pretraining_iterations: int


def run(experiment: Experiment, folder: Path, arm: str, seed: int, output: Path) -> None:
    """Train an arm on the images of a folder, and score it on the test patients; goes on where it was stopped."""
    data_set = DATA_SETS[experiment.data_set]
    split = split_of(data_set, folder, seed, experiment.labelled)
    everyone = (*split.labelled, *split.unlabelled)
    weights = None
    if arm == PRETRAINED:
        weights = StartingWeights(pretrain(experiment, everyone, seed, output / "pretraining"))
    config = config_of(LABELS_ALONE, data_set.config, data_set.presence, experiment.iterations)
    labelled = everyone if arm == ALL_LABELS else split.labelled
    train_and_score(config, data_set, split, labelled, (), seed, output, weights=weights)


def pretrain(experiment: Experiment, studies: Sequence[Study], seed: int, folder: Path) -> Path:
    """Pre-train a network on explained patches of studies; what is done already is not done again.

    Returns:
        Its last checkpoint.

    Raises:
        StudyError: A patch could not be explained.
    """
    name = DATA_SETS[experiment.data_set].config
    config = in_epochs(load_config("train", f"classify_{name}", device="cpu"), experiment.classifier_iterations)
    cut_patches(studies, PATCHES[experiment.data_set], config["label_names"], folder / "patches")
    classes = read_image_classes(folder / "patches" / "classes.csv")
    patches = with_image_classes(find_studies(folder / "patches" / "images"), classes, config["label_names"])
    explained = folder / "explained"
    checkpoints = train_classifiers(config, patches, explained / "classifiers", seed=seed)
    assert checkpoints is not None
    job = ExplainJob(config, checkpoints, patches, explained, seed=seed)
    failed = [outcome for outcome in run_job(job, patches) if outcome.status not in ("done", "skipped")]
    if failed:
        raise StudyError(f"{failed[0].case.case_id}: {failed[0].reason}")
    listed = write_explained_list(job, patches)
    if not listed.is_written:
        raise StudyError(
            f"{explained}: no list to pre-train on; patches without an explanation: {len(listed.unexplained)}, of "
            f"other settings: {len(listed.stale)}; classes without a patch: {', '.join(listed.absent) or 'none'}"
        )
    config = in_epochs(load_config("train", f"pretrain_{name}", device="cpu"), experiment.pretraining_iterations)
    train_to_end(config, find_studies(listed.path), [], folder / "network", seed=seed)
    return folder / "network" / LAST


def report(work: Path, patient_of: Callable[[str], str]) -> str:
    """All finished runs as Markdown: every arm by argmax and by the tuned decoder, and what arms change.

    Args:
        work: Folder of an experiment.
        patient_of: Case id to patient.
    """
    runs = read_runs(work)
    arms = [arm for arm in ARMS if arm in runs]
    tables = []
    if LABELS_ALONE in runs and len(arms) > 1:
        tables.append(changes(runs, LABELS_ALONE, arms[1:], patient_of, gap_to=ALL_LABELS))
    return page("Pre-training on classes of images", work, runs, arms, tables)


def main() -> None:
    """Run what is left to run, then write the tables."""
    parser = arguments(__doc__, PATCHES)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--labelled", type=int, help="patients that keep their labels")
    parser.add_argument("--classifier-iterations", type=int, default=500, help="length of each classifier's training")
    parser.add_argument("--pretraining-iterations", type=int, default=1500, help="length of the pre-training")
    given = parser.parse_args()
    data_set = DATA_SETS[given.data_set]
    experiment = Experiment(
        given.data_set,
        given.labelled or data_set.labelled,
        given.iterations or data_set.iterations,
        given.classifier_iterations,
        given.pretraining_iterations,
    )
    check_same(asdict(experiment), given.work)
    tables = partial(report, given.work, data_set.patient_of)
    one = partial(run, experiment, given.folder.resolve())
    run_all(one, given.arms, given.seeds, given.work, given.jobs, tables)


if __name__ == "__main__":
    main()
