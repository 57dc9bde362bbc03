"""What a comparison of settings says, as a report."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rankseg_med.evaluation.ab.groups import ALL
from rankseg_med.evaluation.ab.settings import ARGMAX
from rankseg_med.evaluation.ab.side_by_side import MEAN, POINTS, WORST, SideBySide
from rankseg_med.evaluation.ab.verdict import Verdict, worse
from rankseg_med.metrics import PairedComparison, find_metric
from rankseg_med.report import Document, Picture, TextTable

_TITLE = "Decoding, side by side"


def ab_document(
    result: SideBySide, verdict: Verdict, pictures: Sequence[Picture] = (), notes: Sequence[str] = ()
) -> Document:
    """The report of a comparison."""
    return Document(_TITLE, verdict.sentence, tuple(_tables(result)), tuple(pictures), (*notes, *_notes(result)))


def _tables(result: SideBySide) -> Iterator[TextTable]:
    for metric in result.argmax.scoring.metrics:
        yield _score_table(result, metric)
    yield _group_table(result)
    yield _worst_table(result)


def _score_table(result: SideBySide, metric: str) -> TextTable:
    name, unit = find_metric(metric).titled(), find_metric(metric).unit or "points"
    rows = []
    for structure in result.structures:
        changes = result.changes_of(structure, metric)
        of_argmax = next(iter(changes.values())).mean_a
        rows.append((structure, ARGMAX, _number(of_argmax, metric), *[""] * (3 + len(POINTS))))
        rows += [
            (
                *(structure, setting, _number(change.mean_b, metric), _signed(change.mean_difference, metric)),
                *(_interval(change, metric), _count(change)),
                *(f"{outcomes.wins}/{outcomes.losses}" for outcomes in change.outcomes),
            )
            for setting, change in changes.items()
        ]
    by_points = [f"better/worse\nby > {points}" for points in POINTS]
    return TextTable(
        f"Mean {name}",
        ("structure", "setting", name, "change", "95 % interval", "cases", *by_points),
        tuple(rows),
        note=f"Change against {ARGMAX}, of the cases that have a score with both. Better/worse: cases, by {unit}. "
        f"Empty masks score by the policy {result.argmax.scoring.empty_policy.name!r}.",
    )


def _group_table(result: SideBySide) -> TextTable:
    metric, name = result.metric, find_metric(result.metric).titled()
    groups = {
        (change.structure, change.group): result.changes_of(change.structure, metric, change.group)
        for change in result.changes
        if change.group != ALL
    }
    rows = [
        (
            *(structure, group, setting, _count(change), _number(change.mean_a, metric)),
            *(_number(change.mean_b, metric), _signed(change.mean_difference, metric), _interval(change, metric)),
            str(worse(change)),
        )
        for (structure, group), changes in groups.items()
        for setting, change in changes.items()
    ]
    return TextTable(
        f"{name} by group of cases",
        ("structure", "group", "setting", "cases", ARGMAX, name, "change", "95 % interval", "worse\nby > 1"),
        tuple(rows),
        numbers_from=3,
        note="Thirds are of the cases that have the structure, by its volume in the reference.",
    )


def _worst_table(result: SideBySide) -> TextTable:
    rows = [
        (structure, setting, ", ".join(f"{case.case_id} {_signed(case.difference, result.metric)}" for case in worst))
        for (structure, setting), worst in result.worst.items()
    ]
    return TextTable(
        f"The {WORST} worst cases by {find_metric(result.metric).titled()}",
        ("structure", "setting", "case and change"),
        tuple(rows),
        numbers_from=3,
    )


def _notes(result: SideBySide) -> Iterator[str]:
    for case_id, reason in result.argmax.failures.items():
        yield f"Failed, in no number above: {case_id}: {reason}"
    for setting, change in result.changes_of(result.summary, result.metric).items():
        if change.unpaired:
            yield f"Without a score with {ARGMAX} or {setting}, and so in no change: {', '.join(change.unpaired)}"
    yield (
        "Intervals: percentile bootstrap of the mean change, patients drawn whole, not corrected for the number of "
        "settings."
    )
    if MEAN in result.structures:
        yield f"{MEAN}: of the structures of each case that have a score with every setting."


def _count(change: PairedComparison) -> str:
    of = "" if change.n_patients == change.n_cases else f" ({change.n_patients} patients)"
    return f"{change.n_cases}{of}"


def _interval(change: PairedComparison, metric: str) -> str:
    low, high = change.interval
    return "-" if math.isnan(low) else f"{_signed(low, metric)} to {_signed(high, metric)}"


def _signed(value: float, metric: str) -> str:
    return find_metric(metric).shown(value, "+")


def _number(value: float, metric: str) -> str:
    return find_metric(metric).shown(value)
