"""Evaluations as tables for the terminal."""

import math
from collections.abc import Mapping, Sequence

from rich.table import Table

from rankseg_med.metrics import Evaluation

HEADINGS = {
    "dice": "Dice",
    "jaccard": "Jaccard",
    "surface_dice": "surface\nDice",
    "hd95_mm": "HD95 mm",
    "hd_mm": "HD mm",
    "asd_prediction_to_reference_mm": "ASD mm\npred to ref",
    "asd_reference_to_prediction_mm": "ASD mm\nref to pred",
}
"""The metrics that tables show, of those that were scored, in this order."""
COMPARED = ("dice", "jaccard", "hd95_mm", "asd_prediction_to_reference_mm")
"""Those that tables with several evaluations have room for."""


def evaluation_table(evaluation: Evaluation) -> Table:
    """Means of the usual metrics, one row a region and one for the foreground.

    Means are over the cases with a defined score, whose number stands behind the mean where it is not all of those
    scored. Failed cases are counted below the table, and the policy for empty masks is named there.

    Args:
        evaluation: scores of any number of cases, none included.

    Returns:
        A table to print with rich. A mean over no value is shown as a dash.
    """
    metrics = [metric for metric in HEADINGS if metric in evaluation.scoring.metrics]
    table = _table(metrics, caption=f"{_coverage(evaluation)}\n{_explanation(evaluation)}")
    for region in evaluation.regions:
        table.add_row(region.name, *_region_cells(evaluation, region.name, metrics))
    table.add_section()
    table.add_row("foreground", *_foreground_cells(evaluation, metrics))
    return table


def comparison_table(evaluations: Mapping[str, Evaluation]) -> Table:
    """Means of several evaluations of the same cases, region by region, such as argmax against RankSEG.

    Args:
        evaluations: name of what is compared (a decoder) to its evaluation. At least one.

    Returns:
        A table to print with rich: for every region, and for the foreground, one row for each evaluation. Undefined and
        failed cases are counted as in `evaluation_table`, since means over different cases do not compare.

    Raises:
        ValueError: there is nothing to compare, or the evaluations are of different regions or scored differently.
    """
    if not evaluations:
        raise ValueError("A comparison needs at least one evaluation, got none.")
    first, *others = evaluations.values()
    for other in others:
        if list(other.regions) != list(first.regions):
            raise ValueError(
                f"A comparison needs evaluations of the same regions, got {first.regions} and {other.regions}."
            )
        if other.scoring != first.scoring:
            raise ValueError(f"A comparison needs the same scoring, got {first.scoring} and {other.scoring}.")

    metrics = [metric for metric in COMPARED if metric in first.scoring.metrics]
    coverage = [f"{name}: {_coverage(evaluation)}" for name, evaluation in evaluations.items()]
    caption = "\n".join([*coverage, _explanation(first)])
    table = _table(metrics, caption, "decoder")
    for region in first.regions:
        for name, evaluation in evaluations.items():
            table.add_row(region.name, name, *_region_cells(evaluation, region.name, metrics))
        table.add_section()
    for name, evaluation in evaluations.items():
        table.add_row("foreground", name, *_foreground_cells(evaluation, metrics))
    return table


def _table(metrics: Sequence[str], caption: str, *more_keys: str) -> Table:
    table = Table(title="Mean over cases", caption=caption)
    for heading in ("region", *more_keys):
        table.add_column(heading)
    for metric in metrics:
        table.add_column(HEADINGS[metric], justify="right")
    return table


def _region_cells(evaluation: Evaluation, region: str, metrics: Sequence[str]) -> list[str]:
    cells = []
    for metric in metrics:
        summary = evaluation.summary(region, metric)
        mean = _format(metric, summary.mean)
        cells.append(f"{mean} ({summary.n})" if summary.n_undefined else mean)
    return cells


def _foreground_cells(evaluation: Evaluation, metrics: Sequence[str]) -> list[str]:
    return [_format(metric, evaluation.foreground_mean(metric)) for metric in metrics]


def _coverage(evaluation: Evaluation) -> str:
    return f"{len(evaluation.scores)} cases scored, {len(evaluation.failures)} failed (in no mean)"


def _explanation(evaluation: Evaluation) -> str:
    policy = evaluation.scoring.empty_policy.name
    return (
        f"Empty masks score by the policy {policy!r}. (n): undefined in all but n of the cases, which the mean is of."
    )


def _format(metric: str, value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.2f}" if metric.endswith("_mm") else f"{value:.4f}"
