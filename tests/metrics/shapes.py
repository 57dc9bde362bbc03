"""Masks for the tests of metrics."""

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

SPACING_MM = (0.5, 2.0, 3.0)

SETTINGS = settings(deadline=None, derandomize=True, max_examples=40)


def masks(count, non_empty=True):
    """Tuples of masks of one small 2-D or 3-D shape."""
    return array_shapes(min_dims=2, max_dims=3, max_side=6).flatmap(
        lambda shape: st.tuples(*[arrays(bool, shape).filter(np.any) if non_empty else arrays(bool, shape)] * count)
    )


def box(shape, *ranges):
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(*limits) for limits in ranges)] = True
    return mask


def ball(shape, centre, radius):
    offsets = np.indices(shape) - np.reshape(centre, (-1, *[1] * len(shape)))
    return (offsets**2).sum(axis=0) <= radius**2


def noisy_balls(shape):
    """Two balls that overlap, with single voxels in and around them; the first reaches the border."""
    generator = np.random.default_rng(len(shape))
    noise = generator.random((2, *shape)) < 0.02
    first = ball(shape, [8, 6, 5][: len(shape)], 5) | noise[0]
    second = ball(shape, [9, 8, 6][: len(shape)], 4) | noise[1]
    first[0] = True
    return first, second
