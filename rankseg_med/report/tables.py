"""Evaluations as tables for the terminal."""

import math
from collections.abc import Mapping, Sequence

from rich.table import Table

from rankseg_med.metrics import Evaluation

HEADINGS = {
    "dice": "Dice",
    "jaccard": "Jaccard",
    "hd95_mm": "HD95 mm",
    "hd_mm": "HD mm",
    "asd_prediction_to_reference_mm": "ASD mm\npred to ref",
    "asd_reference_to_prediction_mm": "ASD mm\nref to pred",
}
COMPARED = ("dice", "jaccard", "hd95_mm", "asd_prediction_to_reference_mm")


def evaluation_table(evaluation: Evaluation) -> Table:
    """Means of every metric, one row a class and one for the foreground.

    Means are over the cases with a defined value. The cases that are in no mean are counted: those with an undefined
    overlap or distance beside their class, those that failed below the table.

    Args:
        evaluation: scores of any number of cases, none included.

    Returns:
        A table to print with rich. A mean over no value is shown as a dash.
    """
    table = _table(tuple(HEADINGS), caption=_coverage(evaluation))
    for label, name in evaluation.labels.items():
        table.add_row(name, *_class_cells(evaluation, label, tuple(HEADINGS)))
    table.add_section()
    table.add_row("foreground", *_foreground_cells(evaluation, tuple(HEADINGS)))
    return table


def comparison_table(evaluations: Mapping[str, Evaluation]) -> Table:
    """Means of several evaluations of the same cases, class by class, such as argmax against RankSEG.

    Args:
        evaluations: name of what is compared (a decoder) to its evaluation. At least one.

    Returns:
        A table to print with rich: for every class, and for the foreground, one row for each evaluation. Undefined and
        failed cases are counted as in `evaluation_table`, since means over different cases do not compare.

    Raises:
        ValueError: there is nothing to compare, or the evaluations are of different classes.
    """
    if not evaluations:
        raise ValueError("A comparison needs at least one evaluation, got none.")
    labels, *others = (dict(evaluation.labels) for evaluation in evaluations.values())
    for other in others:
        if other != labels:
            raise ValueError(f"A comparison needs evaluations of the same classes, got {labels} and {other}.")

    caption = "\n".join(f"{name}: {_coverage(evaluation)}" for name, evaluation in evaluations.items())
    table = _table(COMPARED, caption, "decoder")
    for label, class_name in labels.items():
        for name, evaluation in evaluations.items():
            table.add_row(class_name, name, *_class_cells(evaluation, label, COMPARED))
        table.add_section()
    for name, evaluation in evaluations.items():
        table.add_row("foreground", name, *_foreground_cells(evaluation, COMPARED))
    return table


def _table(metrics: Sequence[str], caption: str, *more_keys: str) -> Table:
    table = Table(title="Mean over cases", caption=caption)
    for heading in ("class", *more_keys):
        table.add_column(heading)
    for heading in (*(HEADINGS[metric] for metric in metrics), "undefined\noverlap", "undefined\ndistance"):
        table.add_column(heading, justify="right")
    return table


def _class_cells(evaluation: Evaluation, label: int, metrics: Sequence[str]) -> list[str]:
    means = [_format(metric, evaluation.summary(label, metric).mean) for metric in metrics]
    # Emptiness decides what is undefined, so all overlaps share one count and all distances another.
    return means + [str(evaluation.summary(label, metric).n_undefined) for metric in ("dice", "hd_mm")]


def _foreground_cells(evaluation: Evaluation, metrics: Sequence[str]) -> list[str]:
    return [_format(metric, evaluation.foreground_mean(metric)) for metric in metrics]


def _coverage(evaluation: Evaluation) -> str:
    return f"{len(evaluation.scores)} cases scored, {len(evaluation.failures)} failed (in no mean)"


def _format(metric: str, value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.2f}" if metric.endswith("_mm") else f"{value:.4f}"
