import math

import pytest

from rankseg_med.metrics import EmptyPolicy


def test_default_is_undefined_where_both_are_empty_and_worst_where_one_is():
    policy = EmptyPolicy()
    assert math.isnan(policy.overlap(both_empty=True))
    assert math.isnan(policy.distance_mm(both_empty=True, image_diagonal_mm=500.0))
    assert policy.overlap(both_empty=False) == 0
    assert policy.distance_mm(both_empty=False, image_diagonal_mm=500.0) == 500


@pytest.mark.parametrize(("both_empty", "overlap", "distance_mm"), [(True, 1.0, 0.0), (False, 0.25, 373.13)])
def test_every_value_can_be_chosen(both_empty, overlap, distance_mm):
    policy = EmptyPolicy(
        both_empty_overlap=1.0, one_empty_overlap=0.25, both_empty_distance_mm=0.0, one_empty_distance_mm=373.13
    )
    assert policy.overlap(both_empty=both_empty) == overlap
    assert policy.distance_mm(both_empty=both_empty, image_diagonal_mm=500.0) == distance_mm
