"""What the recipes for LiTS and KiTS share: the split, the arms, and the commands from data list to scores.

The test set is fold 0 of 5, the same whatever the seed, and scored by each arm's last checkpoint alone, decoded by
argmax; fold 1 validates, which chooses nothing here, but calibrates the teacher whose pseudo-labels RankSEG decodes;
the others are trained on. Folds are dealt by case id with seed 0, as in `data_manifests/`. Every step is a
`rankseg-med` command, printed as it runs, and resumable: run the script again to go on.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from data_sets import Case, DataSet
from recipe_steps import FOLDS, overlay_of, rankseg_med, train, write_list

TEST, VALIDATION = 0, 1

ARMS = ("supervised", "published", "rankseg")
"""Labels alone; copy-paste with argmax for pseudo-labels; copy-paste with RankSEG, of calibrated probabilities."""

_PSEUDO_LABELS: dict[str, dict[str, object]] = {
    "published": {"pseudo_labeller::decoder": "argmax", "teacher::calibration": None},
    "rankseg": {
        "pseudo_labeller::decoder": "rankseg",
        "teacher::calibration": {
            "_target_": "rankseg_med.calibration.IsotonicCalibration",
            "num_classes": "@num_classes",
            "weighting": "cases",
        },
    },
}


def overlay_of_arm(arm: str, data_set: DataSet, base: str | None) -> dict[str, object]:
    """An arm's config: that of the data set, with what makes the arm; ``base`` replaces the shipped config."""
    shipped = data_set.config if arm == "supervised" else f"bcp_{data_set.config}"
    return overlay_of(base or shipped, data_set) | _PSEUDO_LABELS.get(arm, {})


def run_arm(arm: str, data_set: DataSet, lists: tuple[Path, Path], options: argparse.Namespace) -> None:
    """Train, predict the test set, score it."""
    folder = options.work / arm / f"seed_{options.seed}"
    config, run = folder / "config.yaml", folder / "run"
    base = options.supervised_config if arm == "supervised" else options.bcp_config
    training, test = lists
    data = ["--data-root", options.data]
    asked = {"fold": VALIDATION, "seed": options.seed, "labelled": options.labelled}
    overlay = overlay_of_arm(arm, data_set, base)
    train(overlay, config, training, options.data, run, **asked, processes=options.processes)
    model = ["--config", config, "--checkpoint", run / "last.pt", "--decoder", "argmax"]
    rankseg_med("predict", test, *model, *data, "--output", folder / "predictions")
    scores = [*data, "--preset", data_set.preset, "--output", folder / "scores"]
    rankseg_med("evaluate", folder / "predictions", test, *scores)


def parser_of(description: str | None, labelled: int) -> argparse.ArgumentParser:
    """The options that the recipes have in common."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the download")
    parser.add_argument("work", type=Path, help="folder of all results")
    parser.add_argument("--labelled", type=int, default=labelled, help="studies whose labels may be looked at")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of labels, weights and all randomness")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--processes", type=int, default=1, help="that train together, one per GPU")
    parser.add_argument("--supervised-config", help="in place of the shipped one")
    parser.add_argument("--bcp-config", help="in place of the shipped one")
    return parser


def run_recipe(data_set: DataSet, cases: Sequence[Case], options: argparse.Namespace) -> None:
    """All arms, one after the other."""
    training, test = set(range(FOLDS)) - {TEST}, {TEST}
    lists = (
        write_list(options.work / "training.json", cases, data_set, options.data, training),
        write_list(options.work / "test.json", cases, data_set, options.data, test),
    )
    print(f"{data_set.name}: {len(cases)} cases with labels")
    for arm in options.arms:
        run_arm(arm, data_set, lists, options)
