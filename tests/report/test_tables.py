import math

import pytest
from rich.console import Console

from rankseg_med.metrics import METRICS, Evaluation, LabelScores
from rankseg_med.report.tables import comparison_table, evaluation_table

LABELS = {1: "liver", 2: "tumour"}


def scores(label, overlap, distance_mm):
    measured = {metric: distance_mm if metric.endswith("_mm") else overlap for metric in METRICS}
    return LabelScores(label, LABELS[label], **measured, prediction_volume_ml=1.0, reference_volume_ml=1.0)


def evaluation(shift=0.0, failures=()):
    return Evaluation(
        LABELS,
        {
            "a": [scores(1, 0.9 + shift, 4.0), scores(2, 0.5 + shift, 10.0)],
            "b": [scores(1, 0.7 + shift, 8.0), scores(2, math.nan, math.nan)],
        },
        failures=dict.fromkeys(failures, "no prediction"),
    )


def rows(table):
    columns = [list(column.cells) for column in table.columns]
    return [list(row) for row in zip(*columns, strict=True)]


def printed(table):
    console = Console(width=160)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def test_evaluation_table_shows_means_undefined_and_failures():
    table = evaluation_table(evaluation(failures=["c"]))
    assert rows(table) == [
        ["liver", "0.8000", "0.8000", "6.00", "6.00", "6.00", "6.00", "0", "0"],
        ["tumour", "0.5000", "0.5000", "10.00", "10.00", "10.00", "10.00", "1", "1"],
        ["foreground", "0.6500", "0.6500", "8.00", "8.00", "8.00", "8.00", "", ""],
    ]
    assert "2 cases scored, 1 failed" in printed(table)


def test_evaluation_table_without_any_score():
    table = evaluation_table(Evaluation({1: "liver"}, {}, failures={"a": "no prediction"}))
    assert rows(table)[0] == ["liver", *["-"] * 6, "0", "0"]
    assert "0 cases scored, 1 failed" in printed(table)


def test_comparison_table_sets_decoders_side_by_side():
    table = comparison_table({"argmax": evaluation(), "rankseg": evaluation(shift=0.05, failures=["c"])})
    assert rows(table) == [
        ["liver", "argmax", "0.8000", "0.8000", "6.00", "6.00", "0", "0"],
        ["liver", "rankseg", "0.8500", "0.8500", "6.00", "6.00", "0", "0"],
        ["tumour", "argmax", "0.5000", "0.5000", "10.00", "10.00", "1", "1"],
        ["tumour", "rankseg", "0.5500", "0.5500", "10.00", "10.00", "1", "1"],
        ["foreground", "argmax", "0.6500", "0.6500", "8.00", "8.00", "", ""],
        ["foreground", "rankseg", "0.7000", "0.7000", "8.00", "8.00", "", ""],
    ]
    text = printed(table)
    assert "argmax: 2 cases scored, 0 failed" in text
    assert "rankseg: 2 cases scored, 1 failed" in text


def test_comparison_of_nothing_or_of_different_classes():
    with pytest.raises(ValueError, match="at least one"):
        comparison_table({})
    with pytest.raises(ValueError, match=r"same classes.*kidney"):
        comparison_table({"a": evaluation(), "b": Evaluation({1: "kidney"}, {})})
