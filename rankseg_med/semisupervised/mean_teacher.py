"""Mean teacher: the student is to agree with its own average on images without labels."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from rankseg_med.losses import WeightedDiceCELoss
from rankseg_med.semisupervised.method import SemiSupervisedMethod, Targets
from rankseg_med.semisupervised.pseudo_labels import PseudoLabeller
from rankseg_med.semisupervised.teacher import Teacher

Consistency = Literal["mse", "ce"]


def sigmoid_ramp_up(iteration: int, length: int) -> float:
    r"""From $e^{-5}$ to 1 along $e^{-5 (1 - t)^2}$ with $t$ the iteration by the length, 1 afterwards.

    Laine and Aila, "Temporal ensembling for semi-supervised learning", ICLR 2017.

    Args:
        iteration: At least 0.
        length: Iterations until 1; 0 for no ramp.
    """
    if iteration >= length:
        return 1.0
    return math.exp(-5 * (1 - iteration / length) ** 2)


class MeanTeacher(SemiSupervisedMethod):
    """Supervised loss on labelled images, consistency with the teacher on unlabelled ones.

    Tarvainen and Valpola, "Mean teachers are better role models", NeurIPS 2017. The teacher sees the unlabelled images
    under noise of its own. What the student is to agree with are the teacher's probabilities or, with a
    pseudo-labeller, the labels that it decodes them to, voxel by voxel weighted as the labeller says.

    Args:
        teacher: Teacher of the network that the trainer trains.
        consistency: ``"mse"``: mean squared difference of the probabilities over voxels and classes. ``"ce"``: mean
            cross-entropy over voxels.
        weight: Weight of consistency after the ramp, at least 0.
        ramp_iterations: How long its weight grows; see `sigmoid_ramp_up`.
        noise_sd: Standard deviation of the teacher's noise, cut at twice that, in units of the preprocessed images;
            0 for none.
        pseudo_labeller: Decodes the teacher's probabilities; None for the probabilities themselves.
    """

    opening = "ramp_iterations"

    def __init__(
        self,
        teacher: Teacher,
        *,
        consistency: Consistency = "mse",
        weight: float = 0.1,
        ramp_iterations: int = 6000,
        noise_sd: float = 0.1,
        pseudo_labeller: PseudoLabeller | None = None,
    ) -> None:
        super().__init__(teacher)
        if consistency not in get_args(Consistency):
            raise ValueError(f"consistency must be one of {', '.join(get_args(Consistency))}, got {consistency!r}")
        if min(weight, ramp_iterations, noise_sd) < 0:
            raise ValueError(
                f"weight, ramp_iterations and noise_sd must be at least 0: {weight}, {ramp_iterations}, {noise_sd}"
            )
        self.consistency = consistency
        self.weight = weight
        self.ramp_iterations = ramp_iterations
        self.noise_sd = noise_sd
        self.pseudo_labeller = pseudo_labeller
        self.supervised_loss = WeightedDiceCELoss()

    def prepare(
        self,
        images: Float[Tensor, "labelled channels *spatial"],
        labels: Int64[Tensor, "labelled 1 *spatial"],
        unlabelled: Float[Tensor, "unlabelled channels *spatial"],
    ) -> tuple[Float[Tensor, "batch channels *spatial"], Targets]:
        """Labelled images, then unlabelled ones.

        Returns:
            Images ``(labelled + unlabelled, channels, *spatial)``, and the targets: ``label`` of the labelled,
            ``probabilities`` ``(unlabelled, classes, *spatial)`` and ``weight`` ``(unlabelled, 1, *spatial)`` of the
            others.
        """
        noise = torch.randn_like(unlabelled).clamp_(-2, 2) * self.noise_sd
        probabilities = self.teacher.probabilities(unlabelled + noise)
        weight = torch.ones_like(probabilities[:, :1])
        if self.pseudo_labeller is not None:
            pseudo = self.pseudo_labeller.label_batch(probabilities)
            self.note(pseudo)
            weight = pseudo.weight[:, None]
            # Ignored voxels hold a value that is no class; their weight is 0, so any class will do.
            classes = torch.where(pseudo.weight > 0, pseudo.label_map, 0).long()
            probabilities = F.one_hot(classes, probabilities.shape[1]).movedim(-1, 1).float()
        targets = {"label": labels, "probabilities": probabilities, "weight": weight}
        return torch.cat([images, unlabelled]), targets

    def loss(self, logits: Float[Tensor, "batch classes *spatial"], targets: Targets) -> Float[Tensor, ""]:
        """Supervised loss of the labelled images plus the ramped consistency of the others."""
        n_labelled = len(targets["label"])
        labelled, unlabelled = logits[:n_labelled], logits[n_labelled:]
        everywhere = torch.ones(targets["label"].shape, device=logits.device)
        supervised: Tensor = self.supervised_loss(labelled, targets["label"], everywhere)
        weight = self.weight * sigmoid_ramp_up(self.iteration, self.ramp_iterations)
        consistency = self._disagreement(unlabelled.float(), targets)
        self.scalars |= {"consistency/weight": weight, "consistency/loss": float(consistency.detach())}
        return supervised + weight * consistency

    def _disagreement(self, logits: Float[Tensor, "batch classes *spatial"], targets: Targets) -> Float[Tensor, ""]:
        wanted, weight = targets["probabilities"], targets["weight"]
        if self.consistency == "mse":
            by_voxel = (logits.softmax(1) - wanted).square().mean(1, keepdim=True)
        else:
            by_voxel = -(wanted * logits.log_softmax(1)).sum(1, keepdim=True)
        return (weight * by_voxel).sum() / weight.sum().clamp(min=torch.finfo(torch.float32).tiny)
