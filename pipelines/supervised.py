"""What the supervised recipes share: from a data set's own folder to a verdict on decoding.

Of five folds the first is the test set, the second tunes the decoding, the others are trained on. The last checkpoint
is taken, so that the tuning fold, which training validates on, chooses no weights. Test cases are predicted by argmax
(without the config's cleanup, as `rankseg-med ab` has it) and as tuned, scored by the challenge's rules, and set side
by side by `rankseg-med ab`. Every step is a `rankseg-med` command, printed as it runs, and resumable: run the script
again to go on.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import yaml
from data_sets import Case, DataSet
from recipe_steps import FOLDS, overlay_of, rankseg_med, train, write_list

from rankseg_med.studies import write_text

TEST, TUNING = 0, 1
ARGMAX: dict[str, object] = {
    "decoder": {"_target_": "rankseg_med.decode.make_decoder", "name": "argmax"},
    "cleanup": None,
}
"""What `rankseg-med ab` calls argmax; were the config's cleanup left in, the same name would have two scores."""

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
    if len(cases) < FOLDS * _FEWEST_TO_TUNE_ON:
        raise SystemExit(
            f"{options.data}: a fifth of the cases is tuned on, which takes {_FEWEST_TO_TUNE_ON} at the least, so that "
            f"{FOLDS * _FEWEST_TO_TUNE_ON} with labels are needed, got {len(cases)}"
        )
    work: Path = options.work
    names = {fold: f"{name}.json" for fold, name in ((TEST, "test"), (TUNING, "tuning"))}
    lists = {fold: write_list(work / name, cases, data_set, options.data, {fold}) for fold, name in names.items()}
    training = write_list(work / "training.json", cases, data_set, options.data, set(range(FOLDS)) - {TEST})
    print(f"{data_set.name}: {len(cases)} cases with labels")
    data = ["--data-root", options.data]
    config, run, tuned = work / "config.yaml", work / "run", work / "tuned" / "tuned.yaml"
    overlay = overlay_of(options.config or data_set.config, data_set)
    asked = {"fold": TUNING, "seed": options.seed, "processes": options.processes}
    train(overlay, config, training, options.data, run, **asked)

    network = ["--checkpoint", run / "last.pt"]
    regions = ",".join(f"{name}={'+'.join(map(str, labels))}" for name, labels in data_set.regions.items())
    compared = [*network, *data, "--regions", regions, "--workers", options.workers]
    if not tuned.exists():
        rankseg_med("tune", lists[TUNING], lists[TUNING], "--config", config, *compared, "--output", tuned)
    plain = work / "argmax" / "argmax.yaml"
    write_text(yaml.safe_dump({"extends": str(config.resolve()), **ARGMAX}), plain)
    for name, decoding in {"argmax": plain, "tuned": tuned}.items():
        predictions = work / name / "predictions"
        rankseg_med("predict", lists[TEST], "--config", decoding, *network, *data, "--output", predictions)
        scored = ["--labels", _named(data_set)] if data_set.preset == "nnunet" else []
        rules = ["--preset", data_set.preset, *scored, *data, "--output", work / name / "scores"]
        rankseg_med("evaluate", predictions, lists[TEST], *rules)
    if not (work / "ab").exists():
        rankseg_med("ab", lists[TEST], lists[TEST], "--config", tuned, *compared, "--output", work / "ab")


def _named(data_set: DataSet) -> str:
    return ",".join(f"{label}={name}" for label, name in enumerate(data_set.label_names, start=1))
