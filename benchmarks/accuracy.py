"""Ways to decode side by side, on real images, as accuracy_scores.py has scored them.

    python benchmarks/accuracy_networks.py DATA WORK_FOLDER     # trains: hours
    python benchmarks/accuracy_scores.py WORK_FOLDER            # tunes on the tuning cases, scores the test cases once
    python benchmarks/accuracy.py WORK_FOLDER [--dataset lung_nodules] [--markdown]

Every pair of test case and seed counts once. Intervals are of the mean change against argmax, over patients. Thirds are
by the volume of the reference.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from side_by_side import print_table

from rankseg_med.evaluation import quality_of
from rankseg_med.metrics import bootstrap_interval, totals_by_unit

DATASETS = ("lung_nodules", "sarcoma_pet", "left_atrium", "hippocampus")
IN_SUMMARY = ("best fixed threshold", "independent, always", "coherent, maybe", "coherent, always", "tuned")
Row = dict[str, Any]
Line = tuple[str, ...]
_POINT = 100.0


def read_kinds(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Scored models by what they are, seeds and folds together."""
    kinds = defaultdict(list)
    for path in sorted(folder.glob("*.json")):
        scored = json.loads(path.read_text())
        kind = "_".join(part for part in scored["model"].split("_") if not part.isdigit())
        kinds[kind].append(scored)
    return dict(kinds)


def by_decoder(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows of each way to decode, argmax first, all in the same order of cases."""
    found = defaultdict(list)
    for row in rows:
        found[row["decoder"]].append(row)
    return dict(found)


def values_of(rows: Sequence[Row], name: str) -> np.ndarray:
    """One column."""
    return np.array([row[name] for row in rows], dtype=float)


def changes(decoders: dict[str, list[Row]]) -> list[Line]:
    """A line for each way to decode: Dice, its change against argmax, who wins and loses, and by size."""
    argmax = decoders["argmax"]
    before, volumes = values_of(argmax, "dice"), values_of(argmax, "reference_ml")
    third = np.searchsorted(np.quantile(volumes, [1 / 3, 2 / 3]), volumes)
    patients = [row["patient"] for row in argmax]
    lines: list[Line] = []
    for name, rows in decoders.items():
        change = _POINT * (values_of(rows, "dice") - before)
        low, high = bootstrap_interval(*totals_by_unit(change, patients))
        lines.append(
            (
                name,
                f"{_POINT * values_of(rows, 'dice').mean():.2f}",
                f"{change.mean():+.2f} ({low:+.2f} to {high:+.2f})",
                f"{(change > 1).sum()} / {(change < -1).sum()}",
                f"{100 * (change < -1).mean():.1f} %",
                f"{change.min():+.1f}",
                " / ".join(f"{change[third == number].mean():+.1f}" for number in range(3)),
                f"{values_of(rows, 'hd95_mm').mean():.2f}",
                f"{_POINT * values_of(rows, 'surface_dice').mean():.1f}",
            )
        )
    return lines


def changes_where(decoders: dict[str, list[Row]], chosen: Callable[[Row], bool]) -> dict[str, str]:
    """Change, wins and losses of some cases."""
    places = [place for place, row in enumerate(decoders["argmax"]) if chosen(row)]
    if not places:
        return dict.fromkeys(decoders, "no case")
    before = values_of(decoders["argmax"], "dice")[places]
    found = {}
    for name, rows in decoders.items():
        change = _POINT * (values_of(rows, "dice")[places] - before)
        found[name] = f"{change.mean():+.2f} ({(change > 1).sum()} / {(change < -1).sum()} of {len(places)})"
    return found


def painted(decoders: dict[str, list[Row]], named: Callable[[str], bool]) -> dict[str, str]:
    """In how many parts of images without the structure something is marked, and how much."""
    found = {}
    for name, rows in decoders.items():
        volumes = np.array([row["painted_ml"] for row in rows if named(row["case"])])
        found[name] = f"{100 * (volumes > 0).mean():.0f} %, {volumes.mean():.2f} ml" if len(volumes) else ""
    return found


def qualities(scored: Sequence[dict[str, Any]]) -> list[Line]:
    """How well the expected score of a label map foretells the true one, without a reference."""
    for_dice = [model for model in scored if model["setting"].startswith("dice")]
    signals = {
        "coherent, always": (scored, {"independent": 0, "coherent": 1}),
        "tuned": (for_dice, {"independent": 0, "coherent": 1, "as tuned": 2}),
    }
    lines: list[Line] = []
    for name, (models, kinds) in signals.items():
        if not models:
            continue
        rows = by_decoder([row for model in models for row in model["rows"]])[name]
        true = values_of(rows, "dice")
        foretold = {kind: np.array([row["expected"][place] for row in rows]) for kind, place in kinds.items()}
        foretold |= {"soft Dice": values_of(rows, "soft_dice"), "a constant": np.full(len(true), true.mean())}
        for signal, expected in foretold.items():
            quality = quality_of(expected, true)
            numbers = (quality.bias, quality.mean_absolute_error, quality.aurc)
            bias, error, area = (f"{_POINT * number:.1f}" for number in numbers)
            lines.append((name, str(len(rows)), signal, bias, error, f"{quality.spearman:.2f}", area))
    return lines


def summary(title: str, scored: Sequence[dict[str, Any]]) -> Line:
    """A model in a line: argmax, then the change by each of the other ways to decode, and the share that gets worse."""
    decoders = by_decoder([row for model in scored for row in model["rows"]])
    before = values_of(decoders["argmax"], "dice")
    cells = []
    for name in IN_SUMMARY:
        change = _POINT * (values_of(decoders[name], "dice") - before)
        cells.append(f"{change.mean():+.2f} ({100 * (change < -1).mean():.1f} %)")
    return (title, str(len(before)), f"{_POINT * before.mean():.2f}", *cells)


def show(console: Console, title: str, scored: Sequence[dict[str, Any]], *, markdown: bool) -> None:
    """Tables of one kind of model."""
    decoders = by_decoder([row for model in scored for row in model["rows"]])
    columns: Line = (
        "decoder",
        "Dice",
        "change",
        "> 1 point",
        "worse",
        "worst",
        "small / middle / large",
        "HD95",
        "NSD 1 mm",
    )
    print_table(console, f"{title}: {len(scored)} models", columns, changes(decoders), markdown=markdown)
    settings = Counter(model["setting"] for model in scored)
    console.print("Tuned: " + "; ".join(f"{setting} ({count})" for setting, count in settings.most_common()))
    parts = [
        changes_where(decoders, lambda row: not row["argmax_is_empty"]),
        changes_where(decoders, lambda row: row["argmax_is_empty"]),
    ]
    names = ["argmax found something", "argmax found nothing"]
    if without := by_decoder([row for model in scored for row in model["without_structure"]]):
        parts += [
            painted(without, lambda case: case.startswith("thorax")),
            painted(without, lambda case: "_beside" in case),
        ]
        names += ["marked in lung", "marked beside a nodule"]
    lines = [(name, *(part[name] for part in parts)) for name in decoders]
    print_table(console, f"{title}: where", ("decoder", *names), lines, markdown=markdown)
    columns = ("label map", "cases", "signal", "bias", "mean absolute error", "Spearman", "AURC")
    print_table(console, f"{title}: quality without a reference", columns, qualities(scored), markdown=markdown)


def main() -> None:
    """Print the tables of every data set that is scored."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--dataset", nargs="+", choices=DATASETS, default=list(DATASETS))
    parser.add_argument("--markdown", action="store_true")
    arguments = parser.parse_args()
    console = Console(width=180)
    lines: list[Line] = []
    for dataset in arguments.dataset:
        for kind, scored in read_kinds(arguments.work / dataset / "scores").items():
            show(console, f"{dataset}, {kind}", scored, markdown=arguments.markdown)
            lines.append(summary(f"{dataset}, {kind}", scored))
    title = "All: change against argmax, and cases that get worse by more than a point"
    print_table(console, title, ("network", "cases", "argmax", *IN_SUMMARY), lines, markdown=arguments.markdown)


if __name__ == "__main__":
    main()
