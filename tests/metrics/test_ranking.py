import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankseg_med.metrics.ranking import rank_runs
from rankseg_med.metrics.ranking_schemes import RANKING_SCHEMES

SCHEMES = pytest.mark.parametrize("scheme", RANKING_SCHEMES)


def scores_of(table):
    """Rows are cases, columns runs; None is missed."""
    return {f"run_{run}": {f"case_{case}": row[run] for case, row in enumerate(table)} for run in range(len(table[0]))}


@SCHEMES
def test_a_perfect_order_is_certain(scheme):
    ranking = rank_runs(scores_of([[0.9, 0.5, 0.7, 0.3]] * 40), scheme=scheme)
    assert [standing.rank for standing in ranking.standings] == [1, 3, 2, 4]
    assert [standing.interval for standing in ranking.standings] == [(1, 1), (3, 3), (2, 2), (4, 4)]
    assert [standing.first for standing in ranking.standings] == [1, 0, 0, 0]
    assert [standing.beaten for standing in ranking.standings] == [3, 1, 2, 0]
    assert (ranking.tau, ranking.tau_interval) == (1, (1, 1))
    assert ranking.tests.friedman_statistic == pytest.approx(40 * 3)


@SCHEMES
def test_of_distances_the_smallest_is_first(scheme):
    ranking = rank_runs(scores_of([[2.0, 5.0, 3.0]] * 40), "hd95_mm", scheme=scheme)
    assert [standing.rank for standing in ranking.standings] == [1, 3, 2]
    assert [standing.mean_score for standing in ranking.standings] == [2, 5, 3]


@SCHEMES
def test_identical_runs_tie(scheme):
    generator = np.random.default_rng(0)
    table = [[*([score] * 2), score - 0.1] for score in generator.uniform(0.2, 1, 31).tolist()]
    ranking = rank_runs(scores_of(table), scheme=scheme)
    first, second, third = ranking.standings
    assert (first.rank, second.rank, third.rank) == (1, 1, 3)
    assert (first.interval, first.first) == (second.interval, second.first) == ((1, 1), 1)
    assert ranking.tests.nemenyi_p[0][1] == pytest.approx(1)


TABLES = st.integers(3, 5).flatmap(
    lambda runs: st.lists(
        st.lists(st.sampled_from([None, 0.0, 0.25, 0.5, 0.75, 1.0]), min_size=runs, max_size=runs),
        min_size=1,
        max_size=8,
    )
)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(TABLES, st.sampled_from(list(RANKING_SCHEMES)), st.randoms(use_true_random=False))
def test_permuted_runs_have_permuted_ranks(table, scheme, random):
    scores = scores_of(table)
    names = list(scores)
    random.shuffle(names)
    ranking = rank_runs(scores, scheme=scheme, resamples=20)
    shuffled = rank_runs({name: scores[name] for name in names}, scheme=scheme, resamples=20)
    assert repr(sorted(ranking.standings, key=lambda standing: standing.run)) == repr(
        sorted(shuffled.standings, key=lambda standing: standing.run)
    )
    assert ranking.tau == pytest.approx(shuffled.tau, nan_ok=True)
    assert ranking.tests.friedman_p == pytest.approx(shuffled.tests.friedman_p, nan_ok=True)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(TABLES)
def test_mean_ranks_sum_to_those_of_any_order(table):
    ranking = rank_runs(scores_of(table), resamples=5)
    runs = len(ranking.standings)
    if ranking.n_cases:
        assert sum(standing.mean_rank for standing in ranking.standings) == pytest.approx(runs * (runs + 1) / 2)
    assert ranking.n_cases + len(ranking.unranked) == len(table)


def test_missed_cases_count_against_a_run():
    ranking = rank_runs(scores_of([[0.8, 0.7, 0.6], [None, 0.7, 0.6], [None, 0.7, 0.6], [None, None, None]]))
    standing = ranking.standings[0]
    # Mean ranks 7/3, 4/3 and again 7/3.
    assert (standing.rank, standing.missed) == (2, ("case_1", "case_2"))
    assert (standing.mean_rank, standing.mean_score) == pytest.approx((7 / 3, 0.8 / 3))
    assert (ranking.n_cases, ranking.unranked) == (3, {"case_3": "no score in any run"})


def test_patients_are_the_blocks():
    table = [[0.9, 0.8, 0.7], [0.1, 0.4, 0.2], [0.9, 0.8, 0.7]]
    ranking = rank_runs(scores_of(table), patients={"case_0": "p", "case_1": "p", "case_2": "q"})
    # p's means are 0.5, 0.6 and 0.45: ranks 2, 1, 3.
    assert ranking.tests.mean_ranks == pytest.approx((1.5, 1.5, 3))
    assert (ranking.n_cases, ranking.n_patients, ranking.tests.n_blocks) == (3, 2, 2)
    assert ranking.standings[0].mean_rank == pytest.approx((1 + 3 + 1) / 3)


@pytest.mark.parametrize("table", [[[None] * 3], [[math.nan] * 3]])
def test_nothing_to_rank(table):
    ranking = rank_runs(scores_of(table))
    assert (ranking.n_cases, ranking.n_patients) == (0, 0)
    for standing in ranking.standings:
        numbers = (standing.rank, *standing.interval, standing.first, standing.mean_rank, standing.mean_score)
        assert all(map(math.isnan, numbers))
    assert math.isnan(ranking.tau)


def test_seeds():
    table = np.random.default_rng(0).random((20, 3)).tolist()
    assert rank_runs(scores_of(table)) == rank_runs(scores_of(table), seed=0)
    assert rank_runs(scores_of(table)).tau != rank_runs(scores_of(table), seed=1).tau


def test_many_runs_and_cases_take_a_second_or_so():
    scores = scores_of(np.random.default_rng(0).random((1_000, 10)).tolist())
    start = time.perf_counter()
    rank_runs(scores, resamples=1_000)
    assert time.perf_counter() - start < 5  # 0.4 s alone; machines may be busy


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scheme": "best"}, "the ranking schemes are"),
        ({"confidence": 1.0}, r"confidence in \(0, 1\)"),
        ({"resamples": 0}, "resamples positive"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        rank_runs(scores_of([[0.1, 0.2, 0.3]]), **options)


def test_two_runs_are_too_few():
    with pytest.raises(ValueError, match=r"runs must be at least 3.* got 2"):
        rank_runs(scores_of([[0.1, 0.2]]))
