"""Pyramid pooling, atrous pyramids, joint upsampling, path aggregation: each by what defines it."""

from itertools import product

import pytest
import torch

from rankseg_med.networks.architectures import (
    AtrousSpatialPyramid,
    JointPyramidUpsampling,
    PathAggregation,
    PyramidPooling,
)


@pytest.mark.parametrize("size", [(5, 7), (1, 4), (4, 5, 7), (12, 6, 6)])
def test_pooling_a_constant_gives_the_constant(size):
    pooling = PyramidPooling(len(size), 8, 4, bins=(1, 2, 3, 6))
    for branch in pooling.branches:
        torch.nn.init.constant_(branch.conv.weight, 1 / 8)
        torch.nn.init.zeros_(branch.conv.bias)
    pyramid = pooling.pyramid(torch.full((1, 8, *size), 2.5))
    assert pyramid.shape == (1, 8 + 4 * 2, *size)
    torch.testing.assert_close(pyramid, torch.full_like(pyramid, 2.5))


def test_a_grid_of_two_cells_holds_the_means_of_both_halves():
    pooling = PyramidPooling(2, 1, 1, bins=(2,))
    torch.nn.init.ones_(pooling.branches[0].conv.weight)
    torch.nn.init.zeros_(pooling.branches[0].conv.bias)
    features = torch.zeros(1, 1, 4, 4)
    features[..., :2, 0], features[..., 2:, 3] = 4.0, 8.0
    _, means = pooling.pyramid(features)[0]
    # Each cell of four pixels has two that are not 0; corners are nearest to their own cell alone.
    assert means[[0, 0, 3, 3], [0, 3, 0, 3]].tolist() == [2.0, 0.0, 0.0, 4.0]


def test_a_mean_over_the_image_changes_what_comes_out():
    """Instance norm of the fused features would make what is added to a whole channel vanish."""
    torch.manual_seed(0)
    pyramid, features = AtrousSpatialPyramid(2, 4, 4), torch.randn(1, 4, 9, 9)
    before = pyramid(features)
    pyramid.image_level.conv.bias.data += 1
    assert (pyramid(features) - before).abs().mean() > 0.02
    assert isinstance(PyramidPooling(2, 4, 4).fuse.adn.N, torch.nn.GroupNorm)


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("pyramid", ["atrous", "joint"])
def test_dilated_taps_reach_where_they_should_and_nowhere_else(spatial_dims, pyramid):
    dilations = (1, 2, 5)
    if pyramid == "atrous":
        first, *branches = AtrousSpatialPyramid(spatial_dims, 1, 1, dilations).branches
        assert first.conv.kernel_size == (1,) * spatial_dims
    else:
        branches = [branch[0] for branch in JointPyramidUpsampling(spatial_dims, (1, 1, 1), 1, dilations).dilated]
    for dilation, branch in zip(dilations, branches, strict=True):
        hot = torch.zeros(1, branch.conv.in_channels, *(13,) * spatial_dims)
        hot[0, 0][(6,) * spatial_dims] = 1
        torch.nn.init.ones_(branch.conv.weight)
        reached = {tuple(place) for place in branch.conv(hot)[0, 0].nonzero().tolist()}
        assert reached == set(product((6 - dilation, 6, 6 + dilation), repeat=spatial_dims))


def test_joint_upsampling_ends_on_the_finest_of_the_three_grids():
    features = [torch.randn(1, channels, *size) for channels, size in ((2, (7, 9)), (3, (4, 5)), (4, (2, 3)))]
    assert JointPyramidUpsampling(2, (2, 3, 4), 5)(features).shape == (1, 4 * 5, 7, 9)


def test_both_paths_and_the_maximum_by_hand():
    """With convolutions that pass on what they see, two levels of constants a and b."""
    aggregation = PathAggregation(2, (1, 1), ((1, 1), (2, 2)), 1)
    for module in aggregation.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.dirac_(module.weight)
            if module.bias is not None:
                torch.nn.init.zeros_(module.bias)
        if "N" in module._modules:
            module.N = torch.nn.Identity()
    a, b = 3.0, 0.5
    fused = aggregation([torch.full((1, 1, 5, 6), a), torch.full((1, 1, 3, 3), b)])
    # Down: a + b and b. Up: a + b and b + (a + b), which is the larger.
    torch.testing.assert_close(fused, torch.full((1, 1, 5, 6), a + 2 * b))
    fused = aggregation([torch.full((1, 1, 5, 6), a), torch.full((1, 1, 3, 3), -b)])
    # Now b is cut off at 0 before it goes up: 0 + (a - b).
    torch.testing.assert_close(fused, torch.full((1, 1, 5, 6), a - b))
