"""What the semi-supervised methods have in common: how they plug into MONAI's `SupervisedTrainer`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from ignite.engine import Engine
from jaxtyping import Float, Int64
from monai.engines import PrepareBatch
from monai.utils import convert_to_tensor
from torch import Tensor

from rankseg_med.semisupervised.pseudo_labels import PseudoLabel
from rankseg_med.semisupervised.teacher import Teacher

Targets = dict[str, Tensor]
"""What a method asks the student to learn: tensors with a leading batch axis, by name."""


class SemiSupervisedMethod(PrepareBatch):
    """A `PrepareBatch` that holds the teacher, and the loss that fits what it prepares.

    The trainer needs nothing else: ``trainer = SupervisedTrainer(..., prepare_batch=method,
    loss_function=method.loss)``, then ``method.attach(trainer)``. Its batches are ``{"labelled": {"image", "label"},
    "unlabelled": {"image"}}``, images ``(batch, channels, *spatial)`` and labels ``(batch, 1, *spatial)``, as
    `TwoStreams` gives them.

    A method may open with a phase of its own, such as pre-training. In a run that goes on for more epochs than were
    planned, the phase is as long as the new config says, unless it was over already: then it stays over.

    Args:
        teacher: Teacher of the network that the trainer trains.

    Attributes:
        opening: Name of the attribute that says how many iterations the first phase takes; None where there is none.
        scalars: Name to number, of the latest iteration, worth a curve in TensorBoard.
    """

    opening: ClassVar[str | None] = None

    def __init__(self, teacher: Teacher) -> None:
        self.teacher = teacher
        self.scalars: dict[str, float] = {}
        self._trainer: Engine | None = None

    def attach(self, trainer: Engine) -> None:
        """Let the teacher follow the trainer's network, and schedules its iterations."""
        self.teacher.attach(trainer)
        self._trainer = trainer

    def check_batch_sizes(self, labelled: int, unlabelled: int) -> None:
        """Make sure that the method can use batches of these sizes; those that differ say so.

        Raises:
            InputError: It cannot.
        """

    @property
    def iteration(self) -> int:
        """The iteration that the trainer is in, from 1 on.

        Raises:
            RuntimeError: No trainer is attached.
        """
        if self._trainer is None:
            raise RuntimeError("the method must follow a trainer, but none is attached; call attach(trainer) first")
        return int(self._trainer.state.iteration)

    def state_dict(self) -> dict[str, int | bool]:
        """For a checkpoint: how long the first phase is, and whether it is over; empty if there is none."""
        if self.opening is None:
            return {}
        iterations = int(getattr(self, self.opening))
        return {self.opening: iterations, "over": self.iteration >= iterations}

    def load_state_dict(self, state: Mapping[str, int | bool]) -> None:
        """Go on from a checkpoint: a phase that was over keeps its length."""
        if self.opening is not None and state["over"]:
            setattr(self, self.opening, int(state[self.opening]))

    def __call__(
        self,
        batchdata: Mapping[str, Mapping[str, Tensor]],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,  # noqa: ANN401  (of Tensor.to)
    ) -> tuple[Tensor, Targets]:
        """Images for the student and what it is to learn of them."""

        def on_device(stream: str, key: str) -> Tensor:
            plain: Tensor = convert_to_tensor(batchdata[stream][key], track_meta=False)
            return plain.to(device=device, non_blocking=non_blocking, **kwargs)

        return self.prepare(
            on_device("labelled", "image"), on_device("labelled", "label").long(), on_device("unlabelled", "image")
        )

    def note(self, pseudo: PseudoLabel) -> None:
        """Put into ``scalars`` how good pseudo-labels are expected to be, and how much of them is ignored."""
        for label, expected in enumerate(pseudo.expected_dice.mean(0).tolist(), start=1):
            self.scalars[f"pseudo_label/expected_dice_{label}"] = expected
        self.scalars["pseudo_label/ignored_fraction"] = float((pseudo.weight == 0).float().mean())

    @abstractmethod
    def prepare(
        self,
        images: Float[Tensor, "labelled channels *spatial"],
        labels: Int64[Tensor, "labelled 1 *spatial"],
        unlabelled: Float[Tensor, "unlabelled channels *spatial"],
    ) -> tuple[Tensor, Targets]:
        """Images for the student and what it is to learn of them."""

    @abstractmethod
    def loss(self, logits: Float[Tensor, "batch classes *spatial"], targets: Targets) -> Float[Tensor, ""]:
        """Loss of the student's logits."""
