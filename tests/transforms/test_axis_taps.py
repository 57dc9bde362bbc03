import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from rankseg_med.transforms.axis_taps import AxisTaps, resample_slices

coordinates = st.lists(st.floats(-3, 12).map(lambda c: round(c, 3)), min_size=1, max_size=9)


def places(values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(coordinates, st.integers(1, 8), st.integers(0, 2))
def test_linear_is_interpolation_with_the_border_repeated(where, size, axis):
    shape = [3, 4, 5]
    shape[axis] = size
    values = np.random.default_rng(0).normal(size=shape)
    found = AxisTaps.linear(places(where), size, "border")(torch.from_numpy(values), axis)
    expected = np.apply_along_axis(lambda line: np.interp(where, np.arange(size), line), axis, values)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(coordinates, st.integers(1, 8))
def test_linear_is_interpolation_among_zeros(where, size):
    values = np.random.default_rng(0).normal(size=size)
    found = AxisTaps.linear(places(where), size, "zeros")(torch.from_numpy(values), 0)
    expected = ndimage.map_coordinates(np.pad(values, 20), [np.array(where) + 20], order=1)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("beyond", "expected"), [("border", [10, 10, 10, 12, 12, 13, 13]), ("zeros", [0, 10, 10, 12, 12, 13, 0])]
)
def test_nearest_takes_the_even_one_of_two(beyond, expected):
    where = places([-0.6, -0.5, 0.5, 1.5, 2.5 - 1e-12, 3.4, 3.6])
    values = torch.arange(10, 14, dtype=torch.uint8)
    found = AxisTaps.nearest(where, 4, beyond).like(values)(values, 0)
    assert found.dtype == torch.uint8
    assert found.tolist() == expected


@settings(max_examples=60, deadline=None, derandomize=True)
@given(coordinates, coordinates, st.sampled_from(["border", "zeros"]), st.sampled_from(["border", "zeros"]))
def test_one_map_after_another(first_where, then_where, first_beyond, then_beyond):
    values = torch.rand(6, 2, dtype=torch.float64)
    first = AxisTaps.linear(places(first_where), 6, first_beyond)
    then = AxisTaps.linear(places(then_where), first.size, then_beyond)
    torch.testing.assert_close(then.after(first)(values, 0), then(first(values, 0), 0))


def test_idle_taps_are_dropped():
    assert AxisTaps.linear(places([1, 2, 3]), 6, "border").index.tolist() == [[1], [2], [3]]
    assert AxisTaps.linear(places([1, 2.5]), 6, "border").index.shape == (2, 2)
    assert AxisTaps.linear(places([-4, 9]), 6, "zeros").weight.tolist() == [[0], [0]]


def test_the_rounding_of_an_affine_leaves_the_identity_alone():
    assert AxisTaps.linear(places(np.arange(7) * (1 + 1e-12) - 1e-12), 7, "border").is_identity
    assert not AxisTaps.linear(places(np.arange(6)), 7, "border").is_identity
    assert not AxisTaps.linear(places([0, 1, 3]), 3, "zeros").is_identity
    assert not AxisTaps.linear(places([1, 0]), 2, "zeros").is_identity


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    start=st.floats(-4, 4),
    step=st.floats(0.3, 3),
    count=st.integers(1, 14),
    falls=st.booleans(),
    beyond=st.sampled_from(["border", "zeros"]),
)
def test_slices_one_by_one_are_the_volume_at_once(start, step, count, falls, beyond):
    values = torch.rand(2, 7, 5, 4, dtype=torch.float64)
    where = start + step * torch.arange(count, dtype=torch.float64)
    across = AxisTaps.linear(where.flip(0) if falls else where, 7, beyond)
    within = [AxisTaps.linear(places([0.5, 3, 4]), 5, "border"), AxisTaps.linear(places([0, 1, 2, 3]), 4, "border")]
    expected = within[0](across(values, 1), 2)
    given_out = []

    def slices():
        for number, plane in enumerate(values.unbind(1)):
            given_out.append(number)
            yield plane

    numbers = []
    for number, plane in resample_slices(slices(), across, within):
        numbers.append(number)
        torch.testing.assert_close(plane, expected[:, number])
        # As soon as what it needs is there; a slice of zeros alone with those before it.
        used = across.index[number][across.weight[number] != 0].tolist()
        assert not used or given_out[-1] >= max(used)
        if len(numbers) == 1 and used:
            assert given_out[-1] == max(used)
    assert sorted(numbers) == list(range(count))
    assert numbers in (sorted(numbers), sorted(numbers, reverse=True))
    assert given_out == list(range(7))
