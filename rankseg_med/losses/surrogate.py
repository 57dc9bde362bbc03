"""A loss made of the metric itself, whose logical operations are curves that can be searched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn import functional as F

from rankseg_med.errors import InputError
from rankseg_med.losses.curves import CurveForm, CurveShape
from rankseg_med.losses.segmentation_metrics import MetricName, Operation, SegmentationMetric, plain_operation


class SurrogateLoss(torch.nn.Module):
    r"""One less a metric, made differentiable as in Auto Seg-Loss (Li et al., ICLR 2021).

    The one-hot prediction becomes softmax, and each logical operation of the metric, see `SegmentationMetric`, has a
    curve $g$ of its own, see `CurveForm`, before it is worked out by products:

    $$h_\mathrm{AND}(a, b) = g(a) g(b), \qquad h_\mathrm{OR}(a, b) = g(a) + g(b) - g(a) g(b).$$

    Sums run over the whole mini-batch, as in the paper, and not image by image. With $g(y) = y$, where the search of
    parameters starts (`rankseg-med search-loss`), and one-hot predictions, the loss is one less the metric itself. It
    works in 2-D and 3-D, and in float32 at least.

    Args:
        metric: ``gAcc``, ``mAcc``, ``mIoU``, ``FWIoU``, ``BIoU``, ``BF1`` or ``Dice``.
        parameters: Logical operation to parameters of its curve, as `CurveForm` orders them; an operation that is left
            out has $g(y) = y$.
        curve: Shape of the curves.
        segments: Number of segments of each.
        truth_table: Whether $g(0) = 0$ and $g(1) = 1$; without, as in the paper's ablation.
        monotone: Whether curves rise; without, as in the paper's ablation.
        include_background: Whether class 0 counts as the others do.
        tolerance_voxels: Of BIoU and BF1.

    Raises:
        InputError: A metric or operation that there is not, or parameters that are no curve's.
    """

    def __init__(
        self,
        metric: MetricName,
        parameters: Mapping[str, Sequence[float]] | None = None,
        *,
        curve: CurveShape = "bezier",
        segments: int = 2,
        truth_table: bool = True,
        monotone: bool = True,
        include_background: bool = True,
        tolerance_voxels: int = 2,
    ) -> None:
        super().__init__()
        self.metric = SegmentationMetric(metric, include_background, tolerance_voxels)
        self.form = CurveForm(curve, segments, truth_table, monotone)
        given = dict(parameters or {})
        if strangers := given.keys() - set(self.metric.operations):
            raise InputError(
                f"parameters must be of the operations of {metric}, {', '.join(self.metric.operations)}, got "
                f"{', '.join(sorted(strangers))}"
            )
        self.parameters_of = {
            name: self.form.checked(given.get(name, self.form.identity()), name) for name in self.metric.operations
        }

    def forward(
        self, logits: Float[Tensor, "batch classes *spatial"], labels: Shaped[Tensor, "batch 1 *spatial"]
    ) -> Float[Tensor, ""]:
        """Loss of a batch.

        Args:
            logits: ``(batch, classes, *spatial)``, before softmax.
            labels: ``(batch, 1, *spatial)``, class of every voxel.

        Returns:
            A scalar, 0 where the metric says nothing of the batch, such as BF1 of one class alone. To mIoU, BIoU and
            Dice a class that the batch lacks has the score 0, and no gradient, as in the published code.

        Raises:
            RuntimeError: A label that is no class.
        """
        # MONAI's tensors would give the parameters of curves their metadata.
        logits, labels = logits.as_subclass(Tensor), labels.as_subclass(Tensor)
        probabilities = logits.softmax(1, dtype=torch.promote_types(logits.dtype, torch.float32))
        target = F.one_hot(labels.squeeze(1).long(), logits.shape[1]).movedim(-1, 1).to(probabilities)
        operations = {name: self._operation(name, probabilities) for name in self.metric.operations}
        return 1 - self.metric.value(self.metric.counts(probabilities, target, operations))

    def _operation(self, name: str, like: Tensor) -> Operation:
        parameters, plain = like.new_tensor(self.parameters_of[name]), plain_operation(name)
        return lambda a, b: plain(self.form(a, parameters), self.form(b, parameters))
