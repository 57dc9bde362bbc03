import math
from dataclasses import astuple

import pytest

from rankseg_med.metrics import METRICS, Evaluation, Region, RegionScores, VoxelCounts, label_regions, summarise
from rankseg_med.metrics.summary import distribution_of

LIVER, TUMOUR = REGIONS = label_regions({1: "liver", 2: "tumour"})


def scores(region, value):
    return RegionScores(region, dict.fromkeys(METRICS, value), 0.0, 0.0, VoxelCounts(0, 0, 0, 0))


def test_statistics_by_hand():
    summary = summarise([1.0, math.nan, 2.0, 6.0])
    assert (summary.mean, summary.median, summary.min, summary.max) == (3, 2, 1, 6)
    assert summary.sd == pytest.approx(math.sqrt((4 + 1 + 9) / 2))
    assert (summary.n, summary.n_undefined) == (3, 1)


@pytest.mark.parametrize("values", [[], [math.nan, math.nan]])
def test_nothing_defined(values):
    summary = summarise(values)
    assert all(math.isnan(value) for value in (summary.mean, summary.median, summary.sd, summary.min, summary.max))
    assert (summary.n, summary.n_undefined) == (0, len(values))


def test_one_value_has_no_standard_deviation():
    assert math.isnan(summarise([0.5]).sd)


def test_foreground_mean_is_the_mean_over_regions_of_the_means_over_cases():
    # Liver 0.9 and 0.7, tumour 0.2 and undefined: (0.8 + 0.2) / 2, not (0.9 + 0.7 + 0.2) / 3.
    cases = {
        "a": [scores(LIVER, 0.9), scores(TUMOUR, 0.2)],
        "b": [scores(LIVER, 0.7), scores(TUMOUR, math.nan)],
    }
    evaluation = Evaluation(REGIONS, cases)
    assert evaluation.summary("liver", "dice").mean == pytest.approx(0.8)
    assert evaluation.summary("tumour", "dice").n_undefined == 1
    assert evaluation.foreground_mean("dice") == pytest.approx(0.5)


def test_region_without_a_defined_value_is_not_in_the_foreground_mean():
    evaluation = Evaluation(REGIONS, {"a": [scores(LIVER, 0.9), scores(TUMOUR, math.nan)]})
    assert evaluation.foreground_mean("dice") == pytest.approx(0.9)
    assert math.isnan(Evaluation(REGIONS, {}).foreground_mean("dice"))


def test_nested_regions_are_summarised_by_name():
    organ = Region("organ", (1, 2))
    evaluation = Evaluation([organ, TUMOUR], {"a": [scores(organ, 0.9), scores(TUMOUR, 0.4)]})
    assert evaluation.summary("organ", "hd95_mm").mean == 0.9
    assert evaluation.summary("tumour", "hd95_mm").mean == 0.4


def test_quantiles_by_hand():
    # 0, 1, ..., 20: the quantile p lies at 20 p.
    distribution = distribution_of([math.nan, *map(float, range(21))])
    assert (distribution.q05, distribution.q25, distribution.q75, distribution.q95) == pytest.approx((1, 5, 15, 19))
    assert 0 < distribution.mean_low < 10 < distribution.mean_high < 20


def test_equal_values_leave_no_doubt():
    assert astuple(distribution_of([2.0, 2.0])) == (2.0,) * 6


def test_one_value_has_no_interval():
    distribution = distribution_of([0.5])
    assert distribution.q05 == distribution.q95 == 0.5
    assert math.isnan(distribution.mean_low)
    assert math.isnan(distribution.mean_high)


def test_patients_are_drawn_whole():
    # Patient p has three values of 0 and q one of 1; drawn twice each, or both: means 0, 1/4 and 1, the extremes with a
    # chance of a quarter each. The undefined value of r counts for nothing.
    distribution = distribution_of([0.0, 1.0, math.nan, 0.0, 0.0], ["p", "q", "r", "p", "p"])
    assert (distribution.mean_low, distribution.mean_high) == (0, 1)
    independent = distribution_of([0.0, 1.0, 0.0, 0.0])
    assert independent.mean_high == 0.75
    alone = distribution_of([0.0, 1.0], ["p", "p"])
    assert math.isnan(alone.mean_low)
    assert math.isnan(alone.mean_high)


def test_no_value_has_no_distribution():
    assert all(map(math.isnan, astuple(distribution_of([math.nan]))))
