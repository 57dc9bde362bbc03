r"""What a network is worth: those that a config calls by name, trained alike.

    python pipelines/networks.py DATA_SET FOLDER WORK_FOLDER [--seeds 0 1 2] [--arms unet danet]

FOLDER holds ``images/`` and ``labels/``. A seed deals the patients out (test, validation, training), and is that of
weights, batches and augmentation, so that networks are paired. All train equally long, with the config's loss, on the
labels of all training patients, in windows of the config's size rounded down to what every network takes; the last
checkpoint is scored, once, by argmax and by what `tune` chooses on the validation patients. Networks are as
docs/training.md has them: ``unet`` is not the config's own, smaller one, so scores are not those of other experiments.
Runs use one thread each, ``--jobs`` of them at a time; one that was stopped goes on, one that is finished is not
repeated. ``results.md`` in WORK_FOLDER has the tables of what is there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from experiment import arguments, check_same, in_epochs, run_all, train_and_score
from experiment_data import DATA_SETS, split_of
from experiment_tables import changes, page, read_runs

from rankseg_med.configuration import load_config

_REFERENCE = "unet"
ARMS = (
    *(_REFERENCE, "attention_unet", "segresnet", "vnet"),
    *("panet", "danet", "fastfcn", "deeplabv3", "gated_scnn", "pspnet"),
)
"""Names of networks."""

_SIDES = 16
"""What sides of windows are multiples of, so that every network takes them."""


@dataclass(frozen=True)
class Experiment:
    """What all runs share.

    Attributes:
        data_set: Key of `DATA_SETS`.
        iterations: Length of every run.
    """

    data_set: str
    iterations: int


def run(experiment: Experiment, folder: Path, arm: str, seed: int, output: Path) -> None:
    """Train a network on the images of a folder, and score on the test patients; goes on where it was stopped."""
    data_set = DATA_SETS[experiment.data_set]
    split = split_of(data_set, folder, seed, data_set.labelled)
    settings = changes_of(arm, data_set.config)
    config = in_epochs(load_config("train", data_set.config, device="cpu", changes=settings), experiment.iterations)
    labelled = (*split.labelled, *split.unlabelled)
    train_and_score(config, data_set, split, labelled, (), seed, output, prediction_changes=settings)


def changes_of(arm: str, base: str) -> dict[str, object]:
    """What a network changes of a config, in training and in prediction."""
    roi_size = load_config("train", base, device="cpu")["roi_size"]
    return {"network": arm, "roi_size": [max(1, side // _SIDES) * _SIDES for side in roi_size]}


def report(work: Path, patient_of: Callable[[str], str]) -> str:
    """All finished runs as Markdown: scores, and what networks change against a U-Net.

    Args:
        work: Folder of an experiment.
        patient_of: Case id to patient.
    """
    runs = read_runs(work)
    arms = [arm for arm in ARMS if arm in runs]
    others = [arm for arm in arms if arm != _REFERENCE and _REFERENCE in runs]
    tables = [changes(runs, _REFERENCE, others, patient_of)] if others else []
    return page("Networks by name", work, runs, arms, tables)


def main() -> None:
    """Run what is left to run, then write the tables."""
    parser = arguments(__doc__, DATA_SETS)
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    given = parser.parse_args()
    data_set = DATA_SETS[given.data_set]
    experiment = Experiment(given.data_set, given.iterations or data_set.iterations)
    check_same({"experiment": "networks", **asdict(experiment)}, given.work)
    one = partial(run, experiment, given.folder.resolve())
    run_all(one, given.arms, given.seeds, given.work, given.jobs, partial(report, given.work, data_set.patient_of))


if __name__ == "__main__":
    main()
