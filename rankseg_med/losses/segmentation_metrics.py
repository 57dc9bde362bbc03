"""Metrics of a segmentation, written as logical operations on voxels and sums over them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from rankseg_med.errors import InputError
from rankseg_med.losses.soft_boundaries import dilated, eroded

MetricName = Literal["gAcc", "mAcc", "mIoU", "FWIoU", "BIoU", "BF1", "Dice"]
Operation: TypeAlias = Callable[[Tensor, Tensor], Tensor]
Operations: TypeAlias = Mapping[str, Operation]
Counts: TypeAlias = Float[Tensor, "counts scored"]


def plain_operation(name: str) -> Operation:
    """AND, or OR if the name ends so, of masks: their product, or their sum less their product."""
    return _or if name.endswith("or") else torch.mul


def _or(a: Tensor, b: Tensor) -> Tensor:
    return a + b - a * b


@dataclass(frozen=True)
class SegmentationMetric:
    r"""A metric of predicted against true classes, in which AND and OR may be replaced by others.

    With $\hat y_{ic}, y_{ic}$ the one-hot prediction and label of voxel $i$ and class $c$, and sums over all voxels of
    a mini-batch, not image by image:

    - gAcc: $\sum_{ic} \hat y \wedge y / \sum_{ic} y$
    - mAcc: mean over classes of $\sum_i \hat y \wedge y / \sum_i y$
    - mIoU: mean over classes of $\mathrm{IoU}_c = \sum_i \hat y \wedge y / \sum_i \hat y \vee y$
    - FWIoU: mean of $\mathrm{IoU}_c$ weighted by $\sum_i y$
    - Dice: mean over classes of $2 \sum_i \hat y \wedge y / (\sum_i \hat y \wedge y + \sum_i \hat y \vee y)$
    - BIoU: mIoU of the voxels within ``tolerance_voxels`` of the boundary $\mathrm{BD}(y_c)$ of any class
    - BF1: mean over classes of $2 P_c R_c / (P_c + R_c)$, where, with the dilation $D$ by ``tolerance_voxels``,
      $P_c = \sum_i \mathrm{BD}(\hat y) \wedge D(\mathrm{BD}(y)) / \sum_i \mathrm{BD}(\hat y) \wedge 1$ and
      $R_c = \sum_i D(\mathrm{BD}(\hat y)) \wedge \mathrm{BD}(y) / \sum_i 1 \wedge \mathrm{BD}(y)$

    The boundary is $\mathrm{BD}(y) = y \oplus E(y)$ with the erosion $E$ by one voxel, and
    $a \oplus b = (a \vee b) - (a \wedge b)$, not below 0. Dilation and erosion are max- and min-pooling over cubes.

    A class that cannot be scored (it is nowhere in the label for mAcc, FWIoU and BF1; in neither for the others) is
    left out of the mean; where none can, the metric is 1.

    Attributes:
        name: Name of the metric.
        include_background: Whether class 0 counts as the others do.
        tolerance_voxels: Of BIoU and BF1, along each axis; the paper has 5, on photographs 500 pixels wide.

    Raises:
        InputError: No such metric, or a tolerance below 0.
    """

    name: MetricName
    include_background: bool = True
    tolerance_voxels: int = 2

    def __post_init__(self) -> None:
        if self.name not in _METRICS:
            raise InputError(f"metric must be one of {', '.join(_METRICS)}, got {self.name!r}")
        if self.tolerance_voxels < 0:
            raise InputError(f"tolerance_voxels must be at least 0, got {self.tolerance_voxels}")

    @property
    def operations(self) -> tuple[str, ...]:
        """Names of its logical operations; each ends in ``and`` or ``or``."""
        return _METRICS[self.name].operations

    def counts(
        self,
        prediction: Float[Tensor, "batch classes *spatial"],
        target: Float[Tensor, "batch classes *spatial"],
        operations: Operations | None = None,
    ) -> Counts:
        """Sums over voxels that the metric is made of; those of several batches add up to those of all.

        Args:
            prediction: One-hot, or probabilities.
            target: One-hot.
            operations: What each logical operation is; by default exact on masks.
        """
        if not self.include_background:
            prediction, target = prediction[:, 1:], target[:, 1:]
        do = operations or {name: plain_operation(name) for name in self.operations}
        return _METRICS[self.name].count(prediction, target, do, self.tolerance_voxels)

    def value(self, counts: Counts) -> Float[Tensor, ""]:
        """The metric, from 0 to 1; of operations without their truth table it may be beyond."""
        scores, weights = _METRICS[self.name].score(counts)
        # A loss of nothing is 0, and so is its gradient.
        return 1 - (weights * (1 - scores)).sum() / _nonzero(weights.sum())


@dataclass(frozen=True)
class _Metric:
    """Counts, and from them the scores of the classes with their weights in the mean."""

    operations: tuple[str, ...]
    count: Callable[[Tensor, Tensor, Operations, int], Counts]
    score: Callable[[Counts], tuple[Tensor, Tensor]]


def _sums(*volumes: Tensor) -> Counts:
    return torch.stack([volume.sum((0, *range(2, volume.ndim))) for volume in volumes])


def _count_hits(prediction: Tensor, target: Tensor, do: Operations, tolerance: int) -> Counts:
    return _sums(do["and"](prediction, target), target)


def _count_overlap(prediction: Tensor, target: Tensor, do: Operations, tolerance: int) -> Counts:
    return _sums(do["and"](prediction, target), do["or"](prediction, target), target)


def _count_overlap_at_boundary(prediction: Tensor, target: Tensor, do: Operations, tolerance: int) -> Counts:
    near = dilated(_boundary(target), tolerance).amax(1, keepdim=True)
    return _sums(near * do["and"](prediction, target), near * do["or"](prediction, target), near * target)


def _count_boundary_matches(prediction: Tensor, target: Tensor, do: Operations, tolerance: int) -> Counts:
    predicted = _boundary(prediction, do["boundary_and"], do["boundary_or"])
    true, everywhere = _boundary(target), torch.ones_like(target)
    return _sums(
        do["precision_and"](predicted, dilated(true, tolerance)),
        do["precision_and"](predicted, everywhere),
        do["recall_and"](dilated(predicted, tolerance), true),
        do["recall_and"](everywhere, true),
    )


def _boundary(mask: Tensor, both: Operation = torch.mul, either: Operation = _or) -> Tensor:
    inside = eroded(mask, 1)
    # Curves of their own may leave less in either than in both: no boundary.
    return (either(mask, inside) - both(mask, inside)).clamp(min=0)


def _nonzero(divisor: Tensor) -> Tensor:
    return torch.where(divisor > 0, divisor, 1)


def _accuracy(counts: Counts) -> tuple[Tensor, Tensor]:
    hits, truth = counts
    return hits / _nonzero(truth), truth


def _iou(counts: Counts) -> tuple[Tensor, Tensor]:
    both, either, truth = counts
    return both / _nonzero(either), truth


def _mean_accuracy(counts: Counts) -> tuple[Tensor, Tensor]:
    scores, truth = _accuracy(counts)
    return scores, (truth > 0).to(truth)


def _mean_iou(counts: Counts) -> tuple[Tensor, Tensor]:
    return _iou(counts)[0], (counts[1] > 0).to(counts)


def _mean_dice(counts: Counts) -> tuple[Tensor, Tensor]:
    both, either, _ = counts
    return 2 * both / _nonzero(both + either), (either > 0).to(counts)


def _boundary_f1(counts: Counts) -> tuple[Tensor, Tensor]:
    right, predicted, found, true = counts
    precision, recall = right / _nonzero(predicted), found / _nonzero(true)
    return 2 * precision * recall / _nonzero(precision + recall), (true > 0).to(counts)


_METRICS: dict[str, _Metric] = {
    "gAcc": _Metric(("and",), _count_hits, _accuracy),
    "mAcc": _Metric(("and",), _count_hits, _mean_accuracy),
    "mIoU": _Metric(("and", "or"), _count_overlap, _mean_iou),
    "FWIoU": _Metric(("and", "or"), _count_overlap, _iou),
    "BIoU": _Metric(("and", "or"), _count_overlap_at_boundary, _mean_iou),
    "BF1": _Metric(
        ("boundary_or", "boundary_and", "precision_and", "recall_and"), _count_boundary_matches, _boundary_f1
    ),
    "Dice": _Metric(("and", "or"), _count_overlap, _mean_dice),
}
