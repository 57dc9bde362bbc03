"""Intervals by hand, and what is not compared."""

import pytest
from experiment_tables import changes, read_runs, with_intervals

from tests.pipelines.made_data import write_run


def test_seeds_count_alike_whatever_their_cases():
    """Ten patients, of whom the one in the first seed weighs as much as the nine of the second."""
    of_cases = {0: {"a": 1.0}, 1: {f"b{number}": 0.0 for number in range(9)}}
    _, change, _, patients, _ = with_intervals(of_cases, str)
    low, high = map(float, patients.split(" to "))
    assert change == "+0.50"
    # Of ten draws, the first patient's share is binomial: none in 35 % of the samples, more than three in 1.3 %.
    assert (low, high) == (0, pytest.approx(3 / (3 + 7 / 9), abs=0.005))


def test_runs_of_other_cases_are_not_compared(tmp_path):
    write_run(tmp_path, "labels_alone", 0, {"a_R_1": 0.1, "b_R_1": 0.5})
    write_run(tmp_path, "published", 0, {"a_R_1": 0.1, "c_R_1": 0.5})
    with pytest.raises(ValueError, match="must be scored on the same cases"):
        changes(read_runs(tmp_path), "labels_alone", ["published"], str)


def test_a_gap_of_nothing_has_no_share(tmp_path):
    for arm in ("alone", "more", "all"):
        write_run(tmp_path, arm, 0, {"a_R_1": 0.2, "b_R_1": 0.5})
    table = changes(read_runs(tmp_path), "alone", ["more"], str, gap_to="all")
    assert [row[-1] for row in table.rows] == ["", ""]
