"""What the recipes for LiTS and KiTS share: the split, the arms, and the commands from data list to scores.

The test set is fold 0 of 5, the same whatever the seed, and scored by each arm's last checkpoint alone, decoded by
argmax; fold 1 validates, which chooses nothing here, but calibrates the teacher whose pseudo-labels RankSEG decodes;
the others are trained on. Folds are dealt by case id with seed 0, as in `data_manifests/`. Every step is a
`rankseg-med` command, printed as it runs, and resumable: run the script again to go on.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from rankseg_med.studies import LabelledEntry, Manifest
from rankseg_med.workflows.manifest import deal_folds
from rankseg_med.workflows.train import RECORD

TEST, VALIDATION = 0, 1


@dataclass(frozen=True)
class Case:
    """A case with labels, as it lies in a data set's folder."""

    case_id: str
    image: Path
    label: Path


@dataclass(frozen=True)
class Recipe:
    """What a data set needs.

    Attributes:
        name: Of the data set.
        label_names: Of label values from 1 on.
        config: Shipped config of supervised training; that of copy-paste is named ``bcp_<config>``.
        preset: Rules of its challenge.
    """

    name: str
    label_names: tuple[str, ...]
    config: str
    preset: str


ARMS = ("supervised", "published", "rankseg")
"""Labels alone; copy-paste with argmax for pseudo-labels; copy-paste with RankSEG, of calibrated probabilities."""


def overlay_of(arm: str, recipe: Recipe, base: str | None) -> dict[str, object]:
    """An arm's config: that of the data set, with what makes the arm; ``base`` replaces the shipped config."""
    shipped = recipe.config if arm == "supervised" else f"bcp_{recipe.config}"
    overlay: dict[str, object] = {"extends": base or shipped, "label_names": ["background", *recipe.label_names]}
    if arm == "published":
        overlay |= {"pseudo_labeller::decoder": "argmax", "teacher::calibration": None}
    return overlay


def write_lists(cases: Sequence[Case], recipe: Recipe, data: Path, work: Path) -> tuple[Path, Path]:
    """Data lists of what is trained and validated on, and of the test set, with paths relative to the data."""
    fold_of = deal_folds([case.case_id for case in cases], folds=5, seed=0)
    entries = [
        LabelledEntry(
            id=case.case_id,
            image=case.image.relative_to(data).as_posix(),
            label=case.label.relative_to(data).as_posix(),
            fold=fold_of[case.case_id],
        )
        for case in cases
    ]
    labels = dict(enumerate(("background", *recipe.label_names)))
    named = {str(value): name for value, name in labels.items()}
    training, test = work / "training.json", work / "test.json"
    for path, wanted in ((training, set(range(5)) - {TEST}), (test, {TEST})):
        chosen = [entry for entry in entries if entry.fold in wanted]
        Manifest(name=recipe.name, labels=named, training=chosen).write(path)
    return training, test


def run_arm(arm: str, recipe: Recipe, lists: tuple[Path, Path], options: argparse.Namespace) -> None:
    """Train, predict the test set, score it."""
    folder = options.work / arm / f"seed_{options.seed}"
    folder.mkdir(parents=True, exist_ok=True)
    config, run, finished = folder / "config.yaml", folder / "run", folder / "trained"
    base = options.supervised_config if arm == "supervised" else options.bcp_config
    config.write_text(yaml.safe_dump(overlay_of(arm, recipe, base)))
    training, test = lists
    data = ["--data-root", options.data]
    if not finished.exists():
        resume = ["--resume"] if (run / RECORD).exists() else []
        chosen = ["--labelled", options.labelled, "--fold", VALIDATION, "--seed", options.seed, *resume]
        paths = ["--config", config, "--manifest", training, *data, "--output", run]
        rankseg_med("train", *paths, *chosen, processes=options.processes)
        finished.touch()
    model = ["--config", config, "--checkpoint", run / "last.pt", "--decoder", "argmax"]
    rankseg_med("predict", test, *model, *data, "--output", folder / "predictions")
    scores = [*data, "--preset", recipe.preset, "--output", folder / "scores"]
    rankseg_med("evaluate", folder / "predictions", test, *scores)


def rankseg_med(*arguments: object, processes: int = 1) -> None:
    """Run one command, showing it; in several processes by torchrun."""
    launcher = ["-m", "rankseg_med"]
    if processes > 1:
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes), *launcher]
    command = [*launcher, *map(str, arguments)]
    print("$ python", *command, flush=True)
    subprocess.run([sys.executable, *command], check=True)


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


def run_recipe(recipe: Recipe, cases: Sequence[Case], options: argparse.Namespace) -> None:
    """All arms, one after the other."""
    if len(cases) < 5:
        raise SystemExit(f"{options.data}: five folds need five cases with labels, found {len(cases)}")
    print(f"{recipe.name}: {len(cases)} cases with labels")
    lists = write_lists(cases, recipe, options.data, options.work)
    for arm in options.arms:
        run_arm(arm, recipe, lists, options)
