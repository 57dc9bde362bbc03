import math

import pytest

from rankseg_med.metrics import METRICS, Evaluation, Region, RegionScores, label_regions, summarise

LIVER, TUMOUR = REGIONS = label_regions({1: "liver", 2: "tumour"})


def scores(region, value):
    return RegionScores(region, dict.fromkeys(METRICS, value), prediction_volume_ml=0.0, reference_volume_ml=0.0)


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
