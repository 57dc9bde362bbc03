"""Evaluations as tables."""

import math
from collections.abc import Mapping, Sequence

from rankseg_med.metrics import METRICS, DataSetResults, Evaluation, find_metric
from rankseg_med.report.document import TextTable

_USUAL = (
    *("dice", "jaccard", "surface_dice", "hd95_mm", "hd_mm"),
    *("asd_prediction_to_reference_mm", "asd_reference_to_prediction_mm"),
)
"""What a table shows where all metrics were scored."""
_COMPARED = ("dice", "jaccard", "hd95_mm", "asd_prediction_to_reference_mm")
"""Those that tables with several evaluations have room for."""


def evaluation_table(evaluation: Evaluation) -> TextTable:
    """One row for each region and metric; the usual metrics where all were scored, else those that were.

    Statistics are over the cases with a defined score, of which there are n. Undefined scores and failed cases are
    counted in every row, and the policy for empty masks is named below the table.

    Args:
        evaluation: scores of any number of cases, none included.

    Returns:
        A table that is 120 columns wide at most on a terminal, for names of regions up to 20. A statistic over no value
        is shown as a dash.
    """
    scored = evaluation.scoring.metrics
    metrics = _USUAL if set(scored) == set(METRICS) else scored
    drawn = "cases" if evaluation.patients is None else "patients"
    statistics = ("mean", "95 % interval", "median", "SD", "n", "undef.", "failed")
    rows = [
        (region.name, _heading(evaluation, metric), *_statistics(evaluation, region.name, metric))
        for region in evaluation.regions
        for metric in metrics
    ]
    for metric in metrics:
        mean = find_metric(metric).shown(evaluation.foreground_mean(metric))
        rows.append(("foreground", _heading(evaluation, metric), mean, *[""] * (len(statistics) - 1)))
    return TextTable(
        "Scores over cases",
        ("region", "metric", *statistics),
        tuple(rows),
        note=f"{_coverage(evaluation)}.\nIntervals: percentile bootstrap of the mean over {drawn}. Foreground: mean "
        f"of the regions' means.\n{_policy(evaluation)}",
    )


def evaluation_tables(evaluation: Evaluation) -> list[TextTable]:
    """All tables of an evaluation: `evaluation_table`, and `results_table` where there are results of the data set."""
    tables = [evaluation_table(evaluation)]
    if evaluation.results is not None:
        tables.append(results_table(evaluation.results, failed=len(evaluation.failures)))
    return tables


def results_table(results: DataSetResults, failed: int) -> TextTable:
    """One row a result of the whole data set; none without scored cases.

    Args:
        results: what to show; an undefined result is shown as a dash.
        failed: number of cases that are in no result.
    """
    mode = f"{results.mode}: {results.remark}" if results.remark else results.mode
    return TextTable(
        f"{results.challenge} ({mode})",
        ("result", "value"),
        tuple((name, "-" if math.isnan(value) else f"{value:.4f}") for name, value in results.values.items()),
        numbers_from=1,
        note=f"Failed cases are in no result: {failed}.",
    )


def comparison_table(evaluations: Mapping[str, Evaluation]) -> TextTable:
    """Means of several evaluations of the same cases, region by region, such as argmax against RankSEG.

    Args:
        evaluations: name of what is compared (a decoder) to its evaluation. At least one.

    Returns:
        A table with one row for each evaluation of every region, and of the foreground. Undefined and failed cases are
        counted as in `evaluation_table`, since means over different cases do not compare.

    Raises:
        ValueError: there is nothing to compare, or the evaluations are of different regions or scored differently.
    """
    if not evaluations:
        raise ValueError("a comparison needs at least one evaluation, got none")
    first, *others = evaluations.values()
    for other in others:
        if list(other.regions) != list(first.regions):
            raise ValueError(
                f"a comparison needs evaluations of the same regions, got {first.regions} and {other.regions}"
            )
        if other.scoring != first.scoring:
            raise ValueError(f"a comparison needs the same scoring, got {first.scoring} and {other.scoring}")

    metrics = [metric for metric in _COMPARED if metric in first.scoring.metrics]
    coverage = [f"{name}: {_coverage(evaluation)}." for name, evaluation in evaluations.items()]
    undefined = "(n): undefined in all but n of the cases, which the mean is of."
    rows = [
        (region.name, name, *_region_cells(evaluation, region.name, metrics))
        for region in first.regions
        for name, evaluation in evaluations.items()
    ]
    rows += [("foreground", name, *_foreground_cells(evaluation, metrics)) for name, evaluation in evaluations.items()]
    return TextTable(
        "Mean over cases",
        ("region", "decoder", *(_heading(first, metric) for metric in metrics)),
        tuple(rows),
        note="\n".join([*coverage, f"{_policy(first)} {undefined}"]),
    )


def _heading(evaluation: Evaluation, metric: str) -> str:
    return find_metric(metric).titled(evaluation.distance_unit, link=" ")


def _statistics(evaluation: Evaluation, region: str, metric: str) -> list[str]:
    summary, distribution = evaluation.summary(region, metric), evaluation.distribution(region, metric)
    mean, low, high, median, sd = (
        find_metric(metric).shown(value)
        for value in (summary.mean, distribution.mean_low, distribution.mean_high, summary.median, summary.sd)
    )
    interval = "-" if math.isnan(distribution.mean_low) else f"{low} to {high}"
    return [mean, interval, median, sd, str(summary.n), str(summary.n_undefined), str(len(evaluation.failures))]


def _region_cells(evaluation: Evaluation, region: str, metrics: Sequence[str]) -> list[str]:
    cells = []
    for metric in metrics:
        summary = evaluation.summary(region, metric)
        mean = find_metric(metric).shown(summary.mean)
        cells.append(f"{mean} ({summary.n})" if summary.n_undefined else mean)
    return cells


def _foreground_cells(evaluation: Evaluation, metrics: Sequence[str]) -> list[str]:
    return [find_metric(metric).shown(evaluation.foreground_mean(metric)) for metric in metrics]


def _coverage(evaluation: Evaluation) -> str:
    return f"{len(evaluation.scores)} cases scored, {len(evaluation.failures)} failed (in no mean)"


def _policy(evaluation: Evaluation) -> str:
    return f"Empty masks score by the policy {evaluation.scoring.empty_policy.name!r}."
