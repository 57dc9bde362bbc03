import math

import numpy as np
import pytest

from rankseg_med.metrics.score_matrix import gather_scores

SCORES = {
    "a": {"p1_x": 0.9, "p1_y": 0.7, "p2_x": 0.5, "empty": math.nan, "lost": None},
    "b": {"p1_x": 0.8, "p1_y": None, "p2_x": 0.5, "empty": 0.0},
    "c": {"p1_x": 0.8, "empty": math.nan},
}
PATIENTS = {"p1_x": "p1", "p1_y": "p1", "p2_x": "p2"}


def test_cases_and_reasons():
    matrix = gather_scores(SCORES, "dice", None)
    assert (matrix.runs, matrix.case_ids) == (("a", "b", "c"), ("p1_x", "p1_y", "p2_x"))
    assert matrix.unranked == {"empty": "undefined in a, c", "lost": "no score in any run"}
    assert [matrix.missed(run) for run in "abc"] == [(), ("p1_y",), ("p1_y", "p2_x")]


def test_missed_cases_rank_last_and_share_that():
    matrix = gather_scores(SCORES, "dice", None)
    np.testing.assert_array_equal(matrix.rank_totals, [[1, 2.5, 2.5], [1, 2.5, 2.5], [1.5, 1.5, 3]])
    # Even where another run scores the worst that there is.
    zero = gather_scores({"a": {"x": 0.0}, "b": {}, "c": {"x": 0.5}}, "dice", None)
    np.testing.assert_array_equal(zero.rank_totals, [[2, 3, 1]])


def test_missed_cases_have_the_worst_score_in_means():
    dice = gather_scores(SCORES, "dice", None)
    np.testing.assert_array_equal(dice.gain_totals, [[0.9, 0.8, 0.8], [0.7, 0, 0], [0.5, 0.5, 0]])
    # The largest distance of any run in any ranked case: 9 mm; that of 80 mm is in a case that is not ranked.
    distances = {"a": {"x": 3.0, "y": 9.0, "z": 80.0}, "b": {"x": 4.0, "y": None, "z": math.nan}}
    assert gather_scores(distances, "hd_mm", None).gain_totals.tolist() == [[-3, -4], [-9, -9]]


def test_patients_are_units():
    matrix = gather_scores(SCORES, "dice", PATIENTS)
    assert matrix.sizes.tolist() == [2, 1]
    np.testing.assert_array_equal(matrix.rank_totals, [[2, 5, 5], [1.5, 1.5, 3]])
    np.testing.assert_allclose(matrix.mean_gains, [[0.8, 0.4, 0.4], [0.5, 0.5, 0]])
    # Run c missed all of p2, and half of p1.
    np.testing.assert_allclose(matrix.blocks, [[0.8, 0.4, 0.4], [0.5, 0.5, -math.inf]])


def test_scores_that_rounding_alone_tells_apart_share_their_rank():
    matrix = gather_scores({"a": {"x": 0.1 + 0.2}, "b": {"x": 0.3}, "c": {"x": 0.1}}, "dice", None)
    assert matrix.rank_totals.tolist() == [[1.5, 1.5, 3]]


def test_nothing():
    matrix = gather_scores({"a": {}, "b": {"x": math.nan}}, "hd_mm", {})
    assert (matrix.gains.shape, matrix.sizes.size) == ((0, 2), 0)
    assert matrix.unranked == {"x": "undefined in b"}


@pytest.mark.parametrize(
    ("scores", "metric", "patients", "message"),
    [
        ({"a": {"x": math.inf}, "b": {"x": 0.5}}, "dice", None, r"must be finite, .*'a': inf.* for x"),
        ({"a": {"x": 0.5}, "b": {"x": 0.5}}, "dice", {"y": "p"}, "needs a patient, but these have none: x"),
        ({"a": {}, "b": {}}, "relative_volume_difference", None, "neither more nor less of it is better"),
    ],
)
def test_errors(scores, metric, patients, message):
    with pytest.raises(ValueError, match=message):
        gather_scores(scores, metric, patients)
