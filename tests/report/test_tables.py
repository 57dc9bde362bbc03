import math
from dataclasses import replace

import pytest
from rich.console import Console

from rankseg_med.metrics import METRICS, DataSetResults, Evaluation, RegionScores, Scoring, VoxelCounts, label_regions
from rankseg_med.report import as_latex, as_terminal, tables_as_markdown
from rankseg_med.report.tables import comparison_table, evaluation_table, evaluation_tables

LIVER, TUMOUR = REGIONS = label_regions({1: "liver", 2: "tumour"})


def scores(region, overlap, distance_mm):
    values = {metric: distance_mm if metric.endswith("_mm") else overlap for metric in METRICS}
    return RegionScores(region, values, 1.0, 1.0, VoxelCounts(0, 0, 0, 0))


def evaluation(shift=0.0, failures=()):
    return Evaluation(
        REGIONS,
        {
            "a": [scores(LIVER, 0.9 + shift, 4.0), scores(TUMOUR, 0.5 + shift, 10.0)],
            "b": [scores(LIVER, 0.7 + shift, 8.0), scores(TUMOUR, math.nan, math.nan)],
        },
        failures=dict.fromkeys(failures, "no prediction"),
    )


def rows(table):
    return [list(row) for row in table.rows]


def printed(table, width=160):
    console = Console(width=width)
    with console.capture() as capture:
        console.print(as_terminal(table))
    return capture.get()


def test_evaluation_table_shows_statistics_undefined_and_failures():
    table = evaluation_table(evaluation(failures=["c"]))
    assert table.headings[2:] == ("mean", "95 % interval", "median", "SD", "n", "undef.", "failed")
    found = {(row[0], row[1]): row[2:] for row in rows(table)}
    # Of two values a quarter of all bootstrap samples draw one of them twice, so the interval is their range; their SD
    # is their distance over the root of 2.
    assert found["liver", "Dice"] == ["0.8000", "0.7000 to 0.9000", "0.8000", "0.1414", "2", "0", "1"]
    assert found["liver", "HD95 mm"] == ["6.00", "4.00 to 8.00", "6.00", "2.83", "2", "0", "1"]
    assert found["tumour", "Dice"] == ["0.5000", "-", "0.5000", "-", "1", "1", "1"]
    assert found["foreground", "Dice"] == ["0.6500", *[""] * 6]
    assert len(found) == 3 * 7
    text = printed(table)
    assert "2 cases scored, 1 failed" in text
    assert "policy 'default'" in text
    assert "over cases" in text


def test_evaluation_table_fits_120_columns():
    regions = label_regions({1: "kidney_and_mass_left", 2: "kidney_and_mass_right"})
    cases = {str(case): [scores(region, case / 999, 100.0 + case) for region in regions] for case in range(1000)}
    text = printed(evaluation_table(Evaluation(regions, cases)), width=120)
    assert "…" not in text
    assert "kidney_and_mass_left" in text
    assert all(len(line) <= 120 for line in text.splitlines())


def test_distances_in_voxels_say_so():
    names = [row[1] for row in rows(evaluation_table(replace(evaluation(), distance_unit="voxel")))]
    assert {"HD95 voxels", "ASD pred to ref voxels"} < set(names)
    assert not any("mm" in name for name in names)


def test_intervals_follow_patients():
    # Two studies of one patient: nothing to draw.
    table = evaluation_table(replace(evaluation(), patients={"a": "p", "b": "p"}))
    assert rows(table)[0][3] == "-"
    assert "over patients" in printed(table)


def test_evaluation_table_has_the_metrics_that_were_scored():
    only_distances = Scoring(("hd99_mm", "hd_mm", "assd_mm"))
    row = RegionScores(LIVER, {"hd99_mm": 2.0, "hd_mm": 3.0, "assd_mm": 1.0}, 1.0, 1.0, VoxelCounts(0, 0, 0, 0))
    table = evaluation_table(Evaluation([LIVER], {"a": [row]}, scoring=only_distances))
    assert [row[:3] for row in rows(table)] == [
        [region, metric, mean]
        for region in ("liver", "foreground")
        for metric, mean in (("HD99 mm", "2.00"), ("HD mm", "3.00"), ("ASSD mm", "1.00"))
    ]


def test_evaluation_table_without_any_score():
    table = evaluation_table(Evaluation([LIVER], {}, failures={"a": "no prediction"}))
    assert rows(table)[0] == ["liver", "Dice", *["-"] * 4, "0", "0", "1"]
    assert "0 cases scored, 1 failed" in printed(table)


def test_results_of_the_data_set_are_a_table_of_their_own():
    results = DataSetResults("LiTS", "corrected", "see there", {"liver_dice": 0.95, "lesion_recall": math.nan})
    _, table = evaluation_tables(replace(evaluation(failures=["c"]), results=results))
    assert (table.title, table.note) == ("LiTS (corrected: see there)", "Failed cases are in no result: 1.")
    assert rows(table) == [["liver_dice", "0.9500"], ["lesion_recall", "-"]]
    # A line above and below the headings and one at the end: results are no sections.
    assert sum("─" in line or "━" in line for line in printed(table).splitlines()) == 3


def test_the_same_tables_in_every_form():
    tables = evaluation_tables(evaluation(failures=["c"]))
    markdown, latex, terminal = tables_as_markdown(tables), as_latex(tables), printed(tables[0])
    assert "| liver | Dice | 0.8000 | 0.7000 to 0.9000 | 0.8000 | 0.1414 | 2 | 0 | 1 |" in markdown.splitlines()
    assert r"liver & Dice & 0.8000 & 0.7000 to 0.9000 & 0.8000 & 0.1414 & 2 & 0 & 1 \\" in latex.splitlines()
    for text in (markdown, latex, " ".join(terminal.split())):
        assert "Scores over cases" in text
        assert "2 cases scored, 1 failed (in no mean). Intervals: percentile bootstrap of the mean over cases." in text
        assert "Empty masks score by the policy 'default'" in text


def test_comparison_table_sets_decoders_side_by_side():
    table = comparison_table({"argmax": evaluation(), "rankseg": evaluation(shift=0.05, failures=["c"])})
    assert rows(table) == [
        ["liver", "argmax", "0.8000", "0.8000", "6.00", "6.00"],
        ["liver", "rankseg", "0.8500", "0.8500", "6.00", "6.00"],
        ["tumour", "argmax", "0.5000 (1)", "0.5000 (1)", "10.00 (1)", "10.00 (1)"],
        ["tumour", "rankseg", "0.5500 (1)", "0.5500 (1)", "10.00 (1)", "10.00 (1)"],
        ["foreground", "argmax", "0.6500", "0.6500", "8.00", "8.00"],
        ["foreground", "rankseg", "0.7000", "0.7000", "8.00", "8.00"],
    ]
    text = printed(table)
    assert "argmax: 2 cases scored, 0 failed" in text
    assert "rankseg: 2 cases scored, 1 failed" in text


def test_comparison_of_nothing_or_of_different_things():
    with pytest.raises(ValueError, match="at least one"):
        comparison_table({})
    with pytest.raises(ValueError, match=r"same regions.*kidney"):
        comparison_table({"a": evaluation(), "b": Evaluation(label_regions({1: "kidney"}), {})})
    with pytest.raises(ValueError, match=r"same scoring.*surfels"):
        comparison_table({"a": evaluation(), "b": Evaluation(REGIONS, {}, scoring=Scoring(surface="surfels"))})
