"""Learning from labels: what the loss is given of them, and where it comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from ignite.engine import Engine
from jaxtyping import Float
from monai.engines import PrepareBatch
from monai.utils import convert_to_tensor
from torch import Tensor

from rankseg_med.errors import InputError
from rankseg_med.losses import DISTANCES, WEIGHT, ScheduledLoss, beside_labels
from rankseg_med.studies import Study, StudyError
from rankseg_med.transforms import SignedDistancesd

_LABEL = "label"


class Supervision(PrepareBatch):
    """A `PrepareBatch` for a loss of labels, and the loss of what it prepares; the supervised pendant of a method.

    ``trainer = SupervisedTrainer(..., prepare_batch=supervision, loss_function=supervision.loss)``, then
    ``supervision.attach(trainer)``. Where the loss needs signed distances, the loader makes them, by ``transforms``.

    Args:
        loss: Takes logits and labels, and what it names in `beside_labels`.
        num_classes: Classes, with the background.

    Attributes:
        transforms: What is to be done to an item of the loader after its augmentation.
    """

    def __init__(self, loss: Callable[..., Tensor], num_classes: int) -> None:
        self._loss = loss
        self._keys = (_LABEL, *beside_labels(loss))
        self.transforms = [SignedDistancesd(_LABEL, num_classes, DISTANCES)] if DISTANCES in self._keys else []

    def attach(self, trainer: Engine) -> None:
        """Let weights of losses follow the trainer's iterations."""
        if isinstance(self._loss, ScheduledLoss):
            self._loss.attach(trainer)

    @property
    def scalars(self) -> Mapping[str, float]:
        """Name to number, of the latest iteration, worth a curve in TensorBoard."""
        return self._loss.scalars if isinstance(self._loss, ScheduledLoss) else {}

    def __call__(
        self,
        batchdata: Mapping[str, Tensor],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,  # noqa: ANN401  (of Tensor.to)
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Images for the network, and what it is to learn of them by name; ``label`` is always among it."""

        def on_device(key: str) -> Tensor:
            plain: Tensor = convert_to_tensor(batchdata[key], track_meta=False)
            return plain.to(device=device, non_blocking=non_blocking, **kwargs)

        targets = {key: on_device(key) for key in self._keys}
        if WEIGHT in targets:
            # Interpolation may leave a hair below 0.
            targets[WEIGHT].clamp_(min=0)
        return on_device("image"), targets

    def loss(
        self, logits: Float[Tensor, "batch classes *spatial"] | list[Tensor], targets: Mapping[str, Tensor]
    ) -> Float[Tensor, ""]:
        """Loss of the network's logits, or of the list that it gives in train mode, if the loss takes one.

        Raises:
            InputError: The loss failed on a list.
        """
        try:
            return self._loss(logits, *(targets[key] for key in self._keys))
        except (AttributeError, TypeError) as error:
            if isinstance(logits, Tensor):
                raise
            raise InputError(
                f"the network gives a list of {len(logits)} in training, on which the config's loss, "
                f"{type(self._loss).__name__}, failed ({error}); rankseg_med.losses.DualTaskLoss takes logits and "
                "edges, monai.losses.DeepSupervisionLoss logits of several scales; or set the network's "
                "edges_in_training or deep_supervision to false"
            ) from error


def check_weights(loss: Callable[..., Tensor], training: Sequence[Study]) -> None:
    """Make sure that voxels have weights where the loss takes them, and only there.

    Args:
        loss: Loss of the config.
        training: Studies with labels.

    Raises:
        StudyError: The loss takes weights and a study has none, or the reverse.
    """
    without = [study.case_id for study in training if study.weight is None]
    name, takes_weights = type(loss).__name__, WEIGHT in beside_labels(loss)
    if takes_weights and without:
        raise StudyError(
            f"{name} needs the weights of every study's voxels, but the data list has none of "
            f"{', '.join(without[:3])}; list them as 'weight', or take another loss"
        )
    if not takes_weights and len(without) < len(training):
        raise StudyError(
            f"the data list has weights of voxels, but the config's loss, {name}, takes none; take "
            "rankseg_med.losses.WeightedCrossEntropyLoss, as pretrain.yaml does, or leave them out of the list"
        )
