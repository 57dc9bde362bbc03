from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from rankseg_med.metrics.ranking_schemes import find_ranking_scheme, mean_gains, mean_ranks, ranks_by, runs_beaten
from rankseg_med.metrics.score_matrix import gather_scores


def matrix_of(table, patients=None):
    """Rows are cases, columns runs."""
    scores = {
        f"run_{run}": {str(case): float(score) for case, score in enumerate(column)}
        for run, column in enumerate(np.array(table).T)
    }
    return gather_scores(scores, "dice", patients)


# The first wins most cases, and loses two of them badly.
TABLE = np.array([[0.91, 0.90, 0.80], [0.81, 0.80, 0.70], [0.71, 0.70, 0.72], [0.10, 0.60, 0.50], [0.66, 0.65, 0.64]])


def test_when_they_differ():
    matrix, everything = matrix_of(TABLE), np.ones((1, 5))
    ranks = np.array([[1, 2, 3], [1, 2, 3], [2, 3, 1], [3, 1, 2], [1, 2, 3]])
    assert mean_ranks(matrix, everything)[0] == pytest.approx(ranks.mean(0))
    assert mean_gains(matrix, everything)[0] == pytest.approx(TABLE.mean(0))
    assert ranks_by(find_ranking_scheme("rank-then-mean")(matrix, everything)).tolist() == [[1, 2, 3]]
    assert ranks_by(find_ranking_scheme("mean-then-rank")(matrix, everything)).tolist() == [[3, 1, 2]]
    # Five cases are too few for six tests: nobody beats anybody.
    assert ranks_by(find_ranking_scheme("significance")(matrix, everything)).tolist() == [[1, 1, 1]]


def test_samples_hold_units_as_often_as_drawn():
    draws = np.array([[0, 2, 1, 0, 2], [5, 0, 0, 0, 0]])
    matrix = matrix_of(TABLE)
    for found, draw in zip(mean_ranks(matrix, draws.astype(float)), draws, strict=True):
        assert found == pytest.approx(stats.rankdata(-np.repeat(TABLE, draw, axis=0), axis=1).mean(0))
    for found, draw in zip(mean_gains(matrix, draws.astype(float)), draws, strict=True):
        assert found == pytest.approx(np.repeat(TABLE, draw, axis=0).mean(0))


def test_patients_count_by_their_cases():
    # Cases 0 and 1 are of one patient, who is drawn twice; cases 2 to 4 are of one who is not.
    matrix = matrix_of(TABLE, dict(zip("01234", "aabbb", strict=True)))
    assert mean_gains(matrix, np.array([[2.0, 0.0]]))[0] == pytest.approx(TABLE[:2].mean(0))
    assert mean_gains(matrix, np.ones((1, 2)))[0] == pytest.approx(TABLE.mean(0))


def test_runs_beaten():
    generator = np.random.default_rng(0)
    table = np.clip(generator.normal([0.8, 0.79, 0.6, 0.6], 0.03, (25, 4)), 0, 1)
    expected = np.zeros(4)
    options = {"alternative": "greater", "method": "asymptotic", "correction": True}
    p = {(a, b): stats.wilcoxon(table[:, a] - table[:, b], **options).pvalue for a, b in permutations(range(4), 2)}
    # Holm by its definition: down from the smallest, until the first that is too large.
    for step, (a, b) in enumerate(sorted(p, key=p.get)):
        if p[a, b] >= 0.05 / (len(p) - step):
            break
        expected[a] += 1
    assert expected[0] >= 2
    assert runs_beaten(matrix_of(table), np.ones((1, 25)))[0].tolist() == expected.tolist()


def test_ties_share_the_best_rank():
    assert ranks_by(np.array([[3.0, 5.0, 3.0, 1.0]])).tolist() == [[2, 1, 2, 4]]


def test_equal_means_tie_in_whatever_order_they_are_summed():
    matrix = matrix_of([[0.1, 0.3], [0.2, 0.2], [0.3, 0.1]])
    assert sum([0.1, 0.2, 0.3]) != sum([0.3, 0.2, 0.1])
    assert ranks_by(mean_gains(matrix, np.ones((1, 3)))).tolist() == [[1, 1]]


def test_unknown_scheme():
    with pytest.raises(ValueError, match=r"schemes are rank-then-mean, mean-then-rank, significance; got 'best'"):
        find_ranking_scheme("best")
