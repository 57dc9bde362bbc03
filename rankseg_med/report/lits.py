"""Evaluations with the results of LiTS as tables for the terminal."""

import math

from rich.table import Table

from rankseg_med.metrics import Evaluation, LitsEvaluation
from rankseg_med.report.tables import evaluation_table


def evaluation_tables(evaluation: Evaluation) -> list[Table]:
    """All tables of an evaluation: `evaluation_table`, and of a `LitsEvaluation` its `lits_table`."""
    tables = [evaluation_table(evaluation)]
    if isinstance(evaluation, LitsEvaluation):
        tables.append(lits_table(evaluation))
    return tables


def lits_table(evaluation: LitsEvaluation) -> Table:
    """One row a result, in the order of `summarise_lits`; none without scored cases.

    Returns:
        A table to print with rich. An undefined result is shown as a dash.
    """
    mode = "strict: the official script, with its defects" if evaluation.strict else "corrected"
    table = Table(title=f"LiTS ({mode})", caption=f"Failed cases are in no result: {len(evaluation.failures)}.")
    table.add_column("result")
    table.add_column("value", justify="right")
    for name, value in evaluation.results.items():
        table.add_row(name, "-" if math.isnan(value) else f"{value:.4f}")
    return table
