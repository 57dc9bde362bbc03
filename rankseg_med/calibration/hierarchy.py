"""From probabilities of regions, each calibrated for itself, to probabilities of classes that add up to one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rankseg_med.decode import Regions


@dataclass(frozen=True)
class Node:
    """A region among the others; the whole volume holds them all.

    Attributes:
        region: Its number; None for the whole volume.
        own: Labels that no region within it has.
        children: The largest regions within it, which are disjoint.
    """

    region: int | None
    own: tuple[int, ...]
    children: tuple[Node, ...]


def hierarchy_of(regions: Regions) -> Node:
    """How regions that are nested or disjoint lie within each other; the root is the whole volume."""
    everything = tuple(range(regions.num_classes))
    # Of two regions with the same labels the second lies within the first.
    order = sorted(range(len(regions.labels)), key=lambda region: -len(regions.labels[region]))
    return _node(None, everything, order, regions.labels)


def _node(region: int | None, labels: Sequence[int], within: Sequence[int], sets: Sequence[Sequence[int]]) -> Node:
    children: list[Node] = []
    left, waiting = set(labels), list(within)
    while waiting:
        child, *others = waiting
        inner = [other for other in others if set(sets[other]) <= set(sets[child])]
        waiting = [other for other in others if other not in inner]
        children.append(_node(child, sets[child], inner, sets))
        left -= set(sets[child])
    return Node(region, tuple(sorted(left)), tuple(children))


def shared_out(
    root: Node, regions: Float[Tensor, "regions voxels"], classes: Float[Tensor, "classes voxels"]
) -> Float[Tensor, "classes voxels"]:
    """Probabilities of classes whose sums over regions are, as far as they can be, those that are wanted.

    From the whole volume, which has 1, downwards: regions within another that together have more than it are scaled
    down in proportion. What they leave goes to its own labels, in the proportion that these had (alike, if they had
    nothing); if it has none, to those regions in proportion.

    Args:
        root: Root of the regions.
        regions: Wanted of each, in [0, 1].
        classes: Probabilities as they were, at least 0.
    """
    shares = torch.empty_like(classes)
    _share(root, torch.ones_like(classes[0]), regions, classes, shares)
    return shares


def _share(node: Node, amount: Tensor, regions: Tensor, classes: Tensor, shares: Tensor) -> None:
    left = amount
    if node.children:
        wanted = torch.stack([regions[child.region] for child in node.children])
        total = wanted.sum(0)
        if node.own:
            parts = wanted * torch.where(total > amount, amount / total, 1.0)
            left = (amount - total).clamp_(min=0)
        else:
            parts = _in_proportion(wanted, amount)
        for child, part in zip(node.children, parts, strict=True):
            _share(child, part, regions, classes, shares)
    if len(node.own) == 1:
        shares[node.own[0]] = left
    elif node.own:
        shares[list(node.own)] = _in_proportion(classes[list(node.own)], left)


def _in_proportion(given: Float[Tensor, "parts voxels"], amount: Float[Tensor, " voxels"]) -> Tensor:
    """The amount divided among parts; alike, if none was given anything."""
    given = torch.where(given.sum(0) > 0, given, 1.0)
    return given / given.sum(0) * amount
