"""What settings change, as a table of plain numbers."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

from rankseg_med.evaluation.ab.side_by_side import POINTS, Change
from rankseg_med.metrics import find_metric
from rankseg_med.studies import atomic_write


def write_changes(changes: Sequence[Change], path: Path) -> None:
    """Write a row for each change, with full precision; an undefined number is an empty cell.

    Cases are better or worse by more than so many of the unit, or hundredths where there is none. p values are
    two-sided, and not corrected for the number of rows.

    Args:
        changes: What to write; at least one.
        path: The file.

    Raises:
        OSError: It cannot be written.
    """
    rows = [_row(change) for change in changes]
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def _row(change: Change) -> dict[str, str | float]:
    found = change.result
    numbers = {
        "mean_argmax": found.mean_a,
        "mean_setting": found.mean_b,
        "mean_difference": found.mean_difference,
        "interval_low": found.interval[0],
        "interval_high": found.interval[1],
        "wilcoxon_p": found.wilcoxon_p,
        "sign_test_p": found.sign_test_p,
    }
    row: dict[str, str | float] = {
        "structure": change.structure,
        "setting": change.setting,
        "metric": change.metric,
        "unit": find_metric(change.metric).unit,
        "group": change.group,
        "n_cases": found.n_cases,
        "n_patients": found.n_patients,
        **{name: "" if math.isnan(number) else number for name, number in numbers.items()},
    }
    for points, cases in zip(POINTS, found.outcomes, strict=True):
        row |= {f"better_by_{points}": cases.wins, f"worse_by_{points}": cases.losses}
    return row
