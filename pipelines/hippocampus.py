"""Train on few and on many hippocampus volumes, decode by argmax and by RankSEG, compare.

    python pipelines/hippocampus.py DATA WORK_FOLDER [--labelled 6 120] [--epochs N]

DATA holds ``images/`` and ``labels/`` of the Medical Segmentation Decathlon's Task04. Fold 0 of 5 is held out, used
neither for training nor for choosing a checkpoint (the last one is taken), and scored once. Every step is a
`rankseg-med` command, printed as it runs, and resumable: run the script again to go on.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
from recipe_steps import FOLDS, rankseg_med, train
from rich.console import Console
from rich.table import Table

from rankseg_med.configuration import find_config
from rankseg_med.evaluation import ScoreTable
from rankseg_med.studies import find_studies

CONFIG = "hippocampus"
LABELS = {1: "anterior", 2: "posterior"}
DECODERS = ("argmax", "dice")


def check_list(manifest: Path, images: Path) -> None:
    """Refuse to go on with a list of other images, which would be dealt to other folds.

    Raises:
        SystemExit: It is one.
    """
    listed = {study.image.resolve() for study in find_studies(manifest)}
    if listed != {study.image.resolve() for study in find_studies(images)}:
        raise SystemExit(f"{manifest}: lists other images than {images} has now; take another work folder")


def dice_per_case(scores: Path) -> dict[str, dict[str, float]]:
    """Case id to Dice by class name, and their mean, from a scores.csv."""
    table = ScoreTable.read(scores)
    dice: dict[str, dict[str, float]] = defaultdict(dict)
    for name, cases in table.rows.items():
        for case in cases:
            dice[case][name] = table.score(name, case, "dice")
    return {case: {**by_class, "mean": float(np.mean(list(by_class.values())))} for case, by_class in dice.items()}


def add_comparison(table: Table, labelled: int, folder: Path) -> None:
    """One row per class: mean Dice of both decoders, their difference, volumes better and worse."""
    argmax, rankseg = (dice_per_case(folder / f"scores_{decoder}" / "scores.csv") for decoder in DECODERS)
    for name in [*LABELS.values(), "mean"]:
        before = np.array([argmax[case][name] for case in sorted(argmax)])
        after = np.array([rankseg[case][name] for case in sorted(argmax)])
        change = 100 * (after - before)
        table.add_row(
            *(str(labelled), name, f"{100 * before.mean():.2f}", f"{100 * after.mean():.2f}", f"{change.mean():+.2f}"),
            *(f"{(change > 0).sum()} / {(change < 0).sum()}", f"{(change > 1).sum()} / {(change < -1).sum()}"),
        )


def main() -> None:
    """Manifest, then per number of labelled volumes: train, predict and evaluate with both decoders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--labelled", type=int, nargs="+", default=[6, 120])
    parser.add_argument("--epochs", type=int, help="in place of the config's")
    arguments = parser.parse_args()

    manifest = arguments.work / "hippocampus.json"
    named = ",".join(f"{label}={name}" for label, name in LABELS.items())
    images, labels = arguments.data / "images", arguments.data / "labels"
    if manifest.exists():
        check_list(manifest, images)
    else:
        rankseg_med("manifest", images, labels, "--output", manifest, "--folds", FOLDS, "--seed", 0, "--labels", named)
    overlay: dict[str, object] = {"extends": str(find_config(CONFIG).resolve())}
    if arguments.epochs is not None:
        overlay["epochs"] = arguments.epochs
    table = Table("labelled", "class", "argmax", "RankSEG Dice", "change", "better / worse", "by over 1 point")
    for labelled in arguments.labelled:
        folder = arguments.work / f"labelled_{labelled}"
        config, run = folder / "config.yaml", folder / "run"
        # The paths of the data list are relative to itself.
        train(overlay, config, manifest, manifest.parent, run, fold=0, seed=0, labelled=labelled)
        for decoder in DECODERS:
            predictions = folder / f"predictions_{decoder}"
            model = ["--config", config, "--checkpoint", run / "last.pt", "--decoder", decoder]
            rankseg_med("predict", manifest, *model, "--fold", 0, "--output", predictions)
            scores = ["--labels", named, "--fold", 0, "--output", folder / f"scores_{decoder}"]
            rankseg_med("evaluate", predictions, manifest, *scores)
        add_comparison(table, labelled, folder)
    Console().print(table)


if __name__ == "__main__":
    main()
