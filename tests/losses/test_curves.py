"""The curves of surrogate metrics: their ends, that they rise, and the definition of Bezier curves."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rankseg_med.errors import InputError
from rankseg_med.losses.curves import CurveForm

FORMS = [
    CurveForm(shape, segments, truth_table, monotone)
    for shape, segments in (("bezier", 1), ("bezier", 2), ("bezier", 3), ("linear", 2), ("linear", 4))
    for truth_table in (True, False)
    for monotone in (True, False)
]


def values(form, parameters, y):
    return form(torch.as_tensor(y, dtype=torch.float64), torch.tensor(parameters, dtype=torch.float64)).numpy()


def some_parameters(form):
    return st.lists(st.floats(0, 1), min_size=form.size, max_size=form.size)


@pytest.mark.parametrize(
    ("form", "parameters"),
    [
        (CurveForm(), [1 / 4, 1 / 4, 1 / 3, 1 / 3, 1 / 2, 1 / 2]),  # as published
        (CurveForm(segments=1), [1 / 2, 1 / 2]),
        (CurveForm("linear", 3), [1 / 3, 1 / 3, 1 / 2, 1 / 2]),
        (CurveForm(monotone=False), [1 / 4, 1 / 4, 1 / 3, 1 / 2, 1 / 2, 3 / 4]),
        (CurveForm(segments=1, truth_table=False), [1 / 2, 1 / 2, 0, 1]),
    ],
)
def test_the_start_is_the_identity(form, parameters):
    assert form.identity() == pytest.approx(parameters)
    y = np.linspace(0, 1, 101)
    np.testing.assert_allclose(values(form, form.identity(), y), y, atol=1e-12)


@settings(max_examples=15)
@pytest.mark.parametrize("form", FORMS)
@given(data=st.data())
def test_a_curve_keeps_to_its_constraints(form, data):
    y = np.linspace(0, 1, 57)
    found = values(form, data.draw(some_parameters(form)), y)
    assert found.min() >= -1e-9
    assert found.max() <= 1 + 1e-9
    if form.truth_table:
        np.testing.assert_allclose(found[[0, -1]], [0, 1], atol=1e-9)
    if form.monotone:
        assert np.diff(found).min() >= -1e-9


def test_without_constraints_a_curve_may_fall_and_end_anywhere():
    falling = values(CurveForm(segments=1, truth_table=False, monotone=False), [0.5, 0.5, 0.9, 0.2], [0, 0.5, 1])
    np.testing.assert_allclose(falling, [0.9, 0.25 * 0.9 + 0.5 * 0.5 + 0.25 * 0.2, 0.2])
    # g(0) = 0.3; the point half way up to 1, 0.65; the end another tenth of what is left, 0.685.
    rising = CurveForm(segments=1, truth_table=False).control_points(torch.tensor([0.5, 0.5, 0.3, 0.1]))
    np.testing.assert_allclose(rising[:, 1], [0.3, 0.65, 0.685], rtol=1e-6)


def test_parameters_divide_what_is_left():
    points = CurveForm().control_points(torch.tensor([0.2, 0.4, 0.5, 0.0, 0.25, 0.5], dtype=torch.float64))
    np.testing.assert_allclose(points[:, 1], [0, 0.4, 0.4, 0.7, 1])
    np.testing.assert_allclose(points[:, 0], [0, 0.2, 0.6, 0.7, 1], atol=4e-3)  # moved apart by up to 0.001 each


def de_casteljau(points, s):
    while len(points) > 1:
        points = [(1 - s) * a + s * b for a, b in itertools.pairwise(points)]
    return points[0]


@settings(max_examples=30)
@given(parameters=some_parameters(CurveForm()))
def test_a_segment_is_de_casteljaus(parameters):
    form = CurveForm()
    points = form.control_points(torch.tensor(parameters, dtype=torch.float64)).numpy()
    for segment in (points[:3], points[2:]):
        curve = np.array([de_casteljau(list(segment), s) for s in np.linspace(0, 1, 11)])
        np.testing.assert_allclose(values(form, parameters, curve[:, 0].clip(0, 1)), curve[:, 1], atol=1e-6)


def test_shapes_that_there_are_not(wrong_types):
    with pytest.raises(InputError, match="shape must be bezier or linear, got 'Bezier'"):
        CurveForm("Bezier")


def test_lines_are_interpolated():
    form, parameters = CurveForm("linear", 4), [0.3, 0.1, 0.4, 0.9, 0.2, 0.5]
    points = form.control_points(torch.tensor(parameters, dtype=torch.float64)).numpy()
    y = np.linspace(0, 1, 41)
    np.testing.assert_allclose(values(form, parameters, y), np.interp(y, *points.T), atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_gradients_are_finite_differences(form):
    generator = torch.Generator().manual_seed(0)
    y = torch.rand(9, generator=generator, dtype=torch.float64, requires_grad=True)
    parameters = torch.rand(form.size, generator=generator, dtype=torch.float64) * 0.8 + 0.1
    assert torch.autograd.gradcheck(form, (y, parameters.requires_grad_()))


@pytest.mark.parametrize("extreme", [0.0, 1.0])
def test_gradients_stay_finite_at_the_ends_of_extreme_curves(extreme):
    y = torch.tensor([0.0, 0.5, 1.0], requires_grad=True)
    CurveForm()(y, torch.full((6,), extreme)).sum().backward()
    assert y.grad.isfinite().all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CurveForm(segments=0), "segments of a bezier curve must be at least 1, got 0"),
        (lambda: CurveForm("linear", 1), "segments of a linear curve must be at least 2, got 1"),
        (lambda: CurveForm().checked([0.5], "and"), "parameters of 'and' must be 6 numbers from 0 to 1"),
        (lambda: CurveForm(segments=1).checked([0.5, 1.5], "or"), "parameters of 'or' must be 2 numbers"),
    ],
)
def test_what_is_no_curve(make, message):
    with pytest.raises(InputError, match=message):
        make()
