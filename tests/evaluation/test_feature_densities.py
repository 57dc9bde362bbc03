import numpy as np
import pytest

from rankseg_med.evaluation.feature_densities import projected


def test_images_are_placed_along_the_direction_in_which_they_differ():
    """Along (-3, 4) / 5, from the mean of all; the larger coefficient counts as positive."""
    nothing = np.full(2, np.nan)

    def at(place):
        return np.array([nothing, [10 - 3 * place, 7 + 4 * place]])

    groups = {
        "labelled": {"a": at(-1.0), "b": at(1.0)},
        "unlabelled": {"c": at(4.0), "d": at(0.0), "e": np.array([nothing, nothing])},
    }
    values = projected(groups, 1)
    assert values["labelled"] == pytest.approx({"a": -10.0, "b": 0.0})
    assert values["unlabelled"] == pytest.approx({"c": 15.0, "d": -5.0})
    assert projected(groups, 0) == {"labelled": {}, "unlabelled": {}}
