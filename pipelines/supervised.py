"""What the supervised recipes share: from a data set's own folder to a verdict on decoding.

Of five folds the first is the test set, the second tunes the decoding, the others are trained on. The last checkpoint
is taken, so that the tuning fold, which training validates on, chooses no weights. Test cases are predicted by argmax
and as tuned, scored by the challenge's rules, and set side by side by `rankseg-med ab`. Every step is a `rankseg-med`
command, printed as it runs, and resumable: run the script again to go on.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import yaml
from data_sets import Case, DataSet
from recipe_steps import FOLDS, rankseg_med, write_list

from rankseg_med.workflows.config import find_config
from rankseg_med.workflows.train import RECORD

TEST, TUNING = 0, 1
_FEWEST_TO_TUNE_ON = 5


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """The options that the recipes have in common."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the download")
    parser.add_argument("work", type=Path, help="folder of all results")
    parser.add_argument("--config", help="config file to train by, in place of the shipped one")
    parser.add_argument("--seed", type=int, default=0, help="random seed of weights, batches and augmentation")
    parser.add_argument("--processes", type=int, default=1, help="processes that train together, one per GPU")
    parser.add_argument("--workers", type=int, default=1, help="processes that tune and compare")
    return parser


def run_recipe(data_set: DataSet, cases: Sequence[Case], options: argparse.Namespace) -> None:
    """Train, tune, predict, score and compare."""
    work: Path = options.work
    names = {fold: f"{name}.json" for fold, name in ((TEST, "test"), (TUNING, "tuning"))}
    lists = {fold: write_list(work / name, cases, data_set, options.data, {fold}) for fold, name in names.items()}
    training = write_list(work / "training.json", cases, data_set, options.data, set(range(FOLDS)) - {TEST})
    if len(cases) < FOLDS * _FEWEST_TO_TUNE_ON:
        raise SystemExit(
            f"{options.data}: a fifth of the cases is tuned on, which takes {_FEWEST_TO_TUNE_ON} at the least, so that "
            f"{FOLDS * _FEWEST_TO_TUNE_ON} with labels are needed, found {len(cases)}"
        )
    print(f"{data_set.name}: {len(cases)} cases with labels")
    data = ["--data-root", options.data]
    config, run, tuned = work / "config.yaml", work / "run", work / "tuned" / "tuned.yaml"
    extended = str(find_config(options.config or data_set.config).resolve())
    overlay = {"extends": extended, "label_names": ["background", *data_set.label_names]}
    config.write_text(yaml.safe_dump(overlay))
    _train(config, training, run, data, options)

    network = ["--checkpoint", run / "last.pt"]
    regions = ",".join(f"{name}={'+'.join(map(str, labels))}" for name, labels in data_set.regions.items())
    compared = [*network, *data, "--regions", regions, "--workers", options.workers]
    if not tuned.exists():
        rankseg_med("tune", lists[TUNING], lists[TUNING], "--config", config, *compared, "--output", tuned)
    for name, decoding in {"argmax": ["--config", config, "--decoder", "argmax"], "tuned": ["--config", tuned]}.items():
        predictions = work / name / "predictions"
        rankseg_med("predict", lists[TEST], *decoding, *network, *data, "--output", predictions)
        scored = ["--labels", _named(data_set)] if data_set.preset == "nnunet" else []
        rules = ["--preset", data_set.preset, *scored, *data, "--output", work / name / "scores"]
        rankseg_med("evaluate", predictions, lists[TEST], *rules)
    if not (work / "ab").exists():
        rankseg_med("ab", lists[TEST], lists[TEST], "--config", tuned, *compared, "--output", work / "ab")


def _train(config: Path, training: Path, run: Path, data: list[object], options: argparse.Namespace) -> None:
    finished = run.with_name("trained")
    if finished.exists():
        return
    resume = ["--resume"] if (run / RECORD).exists() else []
    paths = ["--config", config, "--manifest", training, *data, "--output", run]
    chosen = ["--fold", TUNING, "--seed", options.seed, *resume]
    rankseg_med("train", *paths, *chosen, processes=options.processes)
    finished.touch()


def _named(data_set: DataSet) -> str:
    return ",".join(f"{label}={name}" for label, name in enumerate(data_set.label_names, start=1))
