"""The numbers of `score_masks` as a MONAI metric, for training and bundles.

MONAI's own surface metrics drop a missed structure from the mean, and its Ignite handlers hand them no spacing. This
one scores empty masks by an `EmptyPolicy` and takes the spacing of each sample from its metadata. In a bundle:

```yaml
val_hd95:
  _target_: monai.handlers.IgniteMetricHandler
  metric_fn:
    _target_: rankseg_med.metrics.monai.SegmentationMetric
    metric: hd95_mm
  output_transform: "$monai.handlers.from_engine(['pred', 'label'])"
```
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float64, Shaped
from monai.data import MetaTensor
from monai.metrics import CumulativeIterationMetric
from torch import Tensor

from rankseg_med.metrics._checks import check_tolerance
from rankseg_med.metrics.catalogue import find_metric
from rankseg_med.metrics.empty import DEFAULT_EMPTY_POLICY, EmptyPolicy
from rankseg_med.metrics.scoring import Scoring, score_masks
from rankseg_med.metrics.surface import Surface

Reduction: TypeAlias = Literal["mean", "mean_batch", "none"]
"""Mean over classes of their mean over samples, as `Evaluation.foreground_mean`; the mean over samples of each class;
or all scores. An undefined score (NaN) is left out of a mean; the mean of none is NaN, not MONAI's 0."""


class SegmentationMetric(CumulativeIterationMetric):
    """One metric of the classes of each sample, gathered over batches.

    Called as ``metric(y_pred, y)``, with batches ``(batch, channels, *spatial)`` or lists of samples
    ``(channels, *spatial)``, it returns the scores ``(batch, classes)`` in float64 and keeps them for `aggregate`. A
    surface metric needs the spacing: as ``metric(y_pred, y, spacing_mm=...)``, one for all samples or a list with one
    for each; or else from ``y`` if it is a `MetaTensor`, or else from ``y_pred``.

    Args:
        metric: name of the metric, see `rankseg_med.metrics.catalogue.find_metric`.
        num_classes: number of classes, the background among them, of label maps with one channel. None for channels
            that are masks (0 or 1) already, one-hot or overlapping.
        include_background: whether class or channel 0 is scored too.
        reduction: what `aggregate` gives.
        empty_policy: what a class scores that is absent from ``y_pred``, ``y`` or both; the policy or its name.
        surface: what the surface of a mask is, see `rankseg_med.metrics.Surface`.
        tolerance_mm: distance in mm up to which a surface counts as right in surface Dice.

    Raises:
        ValueError: at once, there is no such metric, reduction, policy or surface, or the tolerance is negative; when
            called, the samples do not fit each other or the options, or a surface metric finds no spacing.
    """

    def __init__(
        self,
        metric: str = "dice",
        *,
        num_classes: int | None = None,
        include_background: bool = False,
        reduction: Reduction = "mean",
        empty_policy: EmptyPolicy | str = DEFAULT_EMPTY_POLICY,
        surface: Surface = "voxels",
        tolerance_mm: float = 1.0,
    ) -> None:
        super().__init__()
        if isinstance(empty_policy, str):
            empty_policy = EmptyPolicy.named(empty_policy)
        check_tolerance(tolerance_mm)
        self.metric = metric
        self.scoring = Scoring((metric,), surface, empty_policy)
        self.tolerance_mm = tolerance_mm
        self.num_classes = num_classes
        self.include_background = include_background
        self.reduction = _checked(reduction)

    def aggregate(self, reduction: Reduction | None = None) -> Float64[Tensor, "..."]:
        """Reduce the scores gathered since the last ``reset``, over all processes.

        Args:
            reduction: in place of the constructor's.

        Returns:
            ``()`` for ``"mean"``, ``(classes,)`` for ``"mean_batch"``, ``(samples, classes)`` for ``"none"``.

        Raises:
            ValueError: nothing was scored yet, or there is no such reduction.
        """
        scores: Tensor | None = self.get_buffer()
        if scores is None:
            raise ValueError(f"{self.metric} has nothing to aggregate: call it on at least one batch first")
        match self.reduction if reduction is None else _checked(reduction):
            case "mean":
                return scores.nanmean(dim=0).nanmean()
            case "mean_batch":
                return scores.nanmean(dim=0)
            case _:
                return scores

    def _compute_tensor(
        self,
        y_pred: Shaped[Tensor, "_batch _channels *_spatial"],
        y: Shaped[Tensor, "_batch _channels *_spatial"] | None = None,
        spacing_mm: Sequence[Any] | None = None,
    ) -> Float64[Tensor, "_batch _classes"]:
        return self._compute_list(y_pred, y, spacing_mm)

    def _compute_list(
        self,
        y_pred: Sequence[Tensor] | Tensor,
        y: Sequence[Tensor] | Tensor | None = None,
        spacing_mm: Sequence[Any] | None = None,
    ) -> Float64[Tensor, "_batch _classes"]:
        if y is None or len(y) != len(y_pred):
            found = "none" if y is None else len(y)
            raise ValueError(f"{self.metric} needs a reference y for each of the {len(y_pred)} samples, got {found}")
        if spacing_mm is None or np.ndim(spacing_mm) == 1:
            spacing_mm = [spacing_mm] * len(y_pred)
        return torch.stack([self._score_sample(*sample) for sample in zip(y_pred, y, spacing_mm, strict=True)])

    def _score_sample(
        self,
        y_pred: Shaped[Tensor, "_channels *_spatial"],
        y: Shaped[Tensor, "_channels *_spatial"],
        spacing_mm: Sequence[float] | None,
    ) -> Float64[Tensor, " _classes"]:
        if y_pred.shape != y.shape:
            raise ValueError(
                f"y_pred and y must have the same shape (channels, *spatial), got {tuple(y_pred.shape)} and "
                f"{tuple(y.shape)}; turn label maps to one-hot, or leave both as label maps and say num_classes"
            )
        if spacing_mm is None:
            spacing_mm = self._spacing_in_metadata(y, y_pred)
        scores = [
            score_masks(predicted, expected, spacing_mm, self.scoring, tolerance_mm=self.tolerance_mm)
            for predicted, expected in zip(self._masks(y_pred, "y_pred"), self._masks(y, "y"), strict=True)
        ]
        return torch.tensor([score[self.metric] for score in scores], dtype=torch.float64, device=y_pred.device)

    def _masks(self, sample: Shaped[Tensor, "_channels *spatial"], name: str) -> Bool[np.ndarray, "_classes *spatial"]:
        """The classes that are scored."""
        if self.num_classes is None:
            masks = sample == 1
            is_valid, required = masks | (sample == 0), "hold 0 and 1 only; for label maps say num_classes"
        elif len(sample) == 1:
            masks = sample == torch.arange(self.num_classes, device=sample.device).view(-1, *[1] * (sample.ndim - 1))
            is_valid, required = (
                masks.any(dim=0),
                f"hold labels from 0 to num_classes - 1 = {self.num_classes - 1} only",
            )
        else:
            raise ValueError(
                f"with num_classes, {name} must be label maps of one channel, got {len(sample)} channels; "
                "for channels that are masks leave num_classes out"
            )
        if not is_valid.all():
            found = sample[~is_valid.expand_as(sample)][:3].tolist()
            raise ValueError(f"{name} must {required}; got values such as {found}; decode probabilities first")
        scored = masks if self.include_background else masks[1:]
        if not len(scored):
            raise ValueError(
                f"{name} has the background only, which is not scored; say num_classes for label maps, or "
                "include_background=True for a single mask"
            )
        return scored.numpy(force=True)

    def _spacing_in_metadata(self, *samples: Shaped[Tensor, "_channels *_spatial"]) -> list[float]:
        for sample in samples:
            if isinstance(sample, MetaTensor):
                return [float(step) for step in sample.pixdim[: sample.ndim - 1]]
        if find_metric(self.metric).kind in ("distance", "surface_dice"):
            raise ValueError(
                f"{self.metric} needs the distance of neighbouring voxels; hand it MetaTensors, as LoadImaged makes "
                "them, or spacing_mm at the call"
            )
        return [1.0] * (samples[0].ndim - 1)


def _checked(reduction: Reduction) -> Reduction:
    if reduction not in get_args(Reduction):
        raise ValueError(f"reduction must be one of {', '.join(get_args(Reduction))}, got {reduction!r}")
    return reduction
