import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rankseg_med.calibration.hierarchy import Node, hierarchy_of, shared_out
from rankseg_med.decode.regions import Regions

SETS = [
    None,
    [[1, 2], [2]],
    [[2], [1, 2]],
    [[1, 2, 3, 4], [1, 2], [3], [2]],
    [[1, 2], [1], [2]],
    [[3, 4], [1]],
    [[1, 2, 3, 4], [1, 2, 3, 4]],
]


def shared(sets, regions, classes):
    known = Regions.of(len(classes), sets)
    return shared_out(hierarchy_of(known), torch.tensor(regions)[:, None], torch.tensor(classes)[:, None])[
        :, 0
    ].tolist()


def test_who_lies_within_whom():
    root = hierarchy_of(Regions.of(5, [[2], [1, 2], [3]]))
    assert root == Node(None, (0, 4), (Node(1, (1,), (Node(0, (2,), ()),)), Node(2, (3,), ())))


@pytest.mark.parametrize(
    ("sets", "regions", "classes", "expected"),
    [
        # Classes: the background is the rest, or all are scaled down.
        (None, [0.3, 0.2], [0.1, 0.4, 0.5], [0.5, 0.3, 0.2]),
        (None, [0.9, 0.6], [0.1, 0.4, 0.5], [0.0, 0.6, 0.4]),
        # A tumour within its kidney, and one that would be larger.
        ([[1, 2], [2]], [0.6, 0.2], [0.2, 0.5, 0.3], [0.4, 0.4, 0.2]),
        ([[1, 2], [2]], [0.6, 0.9], [0.2, 0.5, 0.3], [0.4, 0.0, 0.6]),
        # Labels of a region in the proportion that they had, alike if they had nothing.
        ([[1, 2]], [0.8], [0.6, 0.1, 0.3], [0.2, 0.2, 0.6]),
        ([[1, 2]], [0.8], [1.0, 0.0, 0.0], [0.2, 0.4, 0.4]),
        # Labels of no region share the rest with the background.
        ([[1]], [0.5], [0.6, 0.2, 0.2], [0.375, 0.5, 0.125]),
        # A region that others make up has what it has; they share it.
        ([[1, 2], [1], [2]], [0.6, 0.1, 0.2], [0.2, 0.5, 0.3], [0.4, 0.2, 0.4]),
        ([[1, 2], [1], [2]], [0.6, 0.0, 0.0], [0.2, 0.5, 0.3], [0.4, 0.3, 0.3]),
    ],
)
def test_by_hand(sets, regions, classes, expected):
    assert shared(sets, regions, classes) == pytest.approx(expected, abs=1e-6)


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(SETS), st.integers(0, 10**6), st.sampled_from([0.1, 1.0, 30.0]))
def test_in_the_simplex_nested_and_never_more_than_wanted(sets, seed, scale):
    generator = torch.Generator().manual_seed(seed)
    classes = (scale * torch.randn(5, 50, generator=generator)).softmax(0)
    known = Regions.of(5, sets)
    wanted = torch.rand(len(known.labels), 50, generator=generator) ** 3
    found = shared_out(hierarchy_of(known), wanted, classes)
    assert (found >= 0).all()
    torch.testing.assert_close(found.sum(0), torch.ones(50), atol=1e-5, rtol=0)
    reached = known.probabilities(found)
    for i, first in enumerate(known.labels):
        for j, second in enumerate(known.labels):
            if set(first) < set(second):
                assert (reached[i] <= reached[j] + 1e-5).all()
    if sets not in ([[1, 2], [1], [2]], [[1, 2, 3, 4], [1, 2, 3, 4]]):
        assert (reached <= wanted + 1e-5).all()


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(SETS), st.integers(0, 10**6), st.sampled_from([1.0, 30.0, 200.0]))
def test_what_fits_together_already_stays(sets, seed, scale):
    classes = (scale * torch.randn(5, 50, generator=torch.Generator().manual_seed(seed))).softmax(0)
    known = Regions.of(5, sets)
    found = shared_out(hierarchy_of(known), known.probabilities(classes), classes)
    torch.testing.assert_close(found, classes, atol=5e-7, rtol=0)
