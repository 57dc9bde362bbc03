"""Bidirectional copy-paste: labelled on unlabelled, and the reverse."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from rankseg_med.errors import InputError
from rankseg_med.losses import WeightedDiceCELoss
from rankseg_med.semisupervised.copy_paste import check_box_ratio, copy_paste_mask, paste
from rankseg_med.semisupervised.method import SemiSupervisedMethod, Targets
from rankseg_med.semisupervised.pseudo_labels import PseudoLabeller
from rankseg_med.semisupervised.teacher import Teacher


class BidirectionalCopyPaste(SemiSupervisedMethod):
    r"""Self-training on images that are part labelled, part unlabelled.

    Bai et al., "Bidirectional Copy-Paste for Semi-Supervised Medical Image Segmentation", CVPR 2023. With a mask $M$
    of ones with one box of zeros, shared by the batch, images $x$ with labels $y$, unlabelled ones $u$ with
    pseudo-labels $q$ from the teacher, and pairs $a$ and $b$ of images, the student sees

    $$x_a M + u_a (1 - M) \quad\text{and}\quad u_b M + x_b (1 - M),$$

    labels mixed alike. Its loss is the sum over both of $L(y\text{ region}) + w\,L(q\text{ region})$ with
    `WeightedDiceCELoss` $L$. Both mixes go through the student in one pass, so they share batch-norm statistics.

    Before that it is pre-trained with labelled images pasted on labelled ones, here both ways round too, so that
    batches stay equally large; unlabelled images wait. The teacher follows from the first iteration on, where the
    published code starts it as a copy of the pre-trained student.

    Args:
        teacher: Teacher of the network that the trainer trains.
        pseudo_labeller: Makes labels of the teacher's probabilities; the published ones are
            ``PseudoLabeller("threshold")`` (LA, pancreas) and ``PseudoLabeller("argmax")`` (ACDC).
        pretraining_iterations: How long to use labelled images only; 2,000 of 17,000 for LA.
        pseudo_weight: $w$, at least 0.
        box_ratio: Side of the box by side of the image, in (0, 1]; see `copy_paste_mask`.
    """

    opening = "pretraining_iterations"

    def __init__(
        self,
        teacher: Teacher,
        pseudo_labeller: PseudoLabeller,
        *,
        pretraining_iterations: int = 2000,
        pseudo_weight: float = 0.5,
        box_ratio: float | Sequence[float] = 2 / 3,
    ) -> None:
        super().__init__(teacher)
        if pretraining_iterations < 0 or pseudo_weight < 0:
            raise ValueError(
                "pretraining_iterations and pseudo_weight must be at least 0, got "
                f"{pretraining_iterations} and {pseudo_weight}"
            )
        check_box_ratio(box_ratio)
        self.pseudo_labeller = pseudo_labeller
        self.pretraining_iterations = pretraining_iterations
        self.pseudo_weight = pseudo_weight
        self.box_ratio = box_ratio
        self.region_loss = WeightedDiceCELoss()

    def check_batch_sizes(self, labelled: int, unlabelled: int) -> None:
        """Make sure that batches are of pairs, and of as many labelled as unlabelled images.

        Raises:
            InputError: They are not.
        """
        if labelled % 2 or labelled != unlabelled:
            raise InputError(
                "bidirectional copy-paste needs an even number of labelled images and as many unlabelled ones in a "
                f"batch, got {labelled} and {unlabelled}; set batch_size and unlabelled_batch_size"
            )

    def prepare(
        self,
        images: Float[Tensor, "labelled channels *spatial"],
        labels: Int64[Tensor, "labelled 1 *spatial"],
        unlabelled: Float[Tensor, "unlabelled channels *spatial"],
    ) -> tuple[Float[Tensor, "labelled channels *spatial"], Targets]:
        """Both mixes, one after the other; errors: the batch is not of pairs.

        Returns:
            Images ``(batch, channels, *spatial)`` and their targets, all ``(batch, 1, *spatial)``: ``label`` int64,
            ``truth_weight`` and ``pseudo_weight`` float32, one of which is 0 in every voxel.
        """
        self.check_batch_sizes(len(images), len(unlabelled))
        mask = copy_paste_mask(images.shape[2:], self.box_ratio).to(images.device)
        if self.iteration <= self.pretraining_iterations:
            return _mix_labelled(images, labels, mask)
        pseudo = self.pseudo_labeller.label_batch(self.teacher.probabilities(unlabelled))
        self.note(pseudo)
        pseudo_labels, trust = pseudo.label_map[:, None].long(), pseudo.weight[:, None]
        nothing = torch.zeros_like(trust)
        return _both_ways(images, unlabelled, mask), {
            "label": _both_ways(labels, pseudo_labels, mask),
            "truth_weight": _both_ways(torch.ones_like(trust), nothing, mask),
            "pseudo_weight": _both_ways(nothing, trust, mask),
        }

    def loss(self, logits: Float[Tensor, "batch classes *spatial"], targets: Targets) -> Float[Tensor, ""]:
        """Sum over the two mixes of the labelled region's loss and the weighted pseudo-labelled region's."""
        total = logits.new_zeros(())
        names = ("label", "truth_weight", "pseudo_weight")
        mixes = zip(logits.chunk(2), *(targets[name].chunk(2) for name in names), strict=True)
        for mix, label, truth_weight, pseudo_weight in mixes:
            total = total + self.region_loss(mix, label, truth_weight)
            total = total + self.pseudo_weight * self.region_loss(mix, label, pseudo_weight)
        return total


def _both_ways(labelled: Tensor, unlabelled: Tensor, mask: Bool[Tensor, "*spatial"]) -> Tensor:
    """First halves: unlabelled in the box. Second halves: labelled in the box."""
    (labelled_a, labelled_b), (unlabelled_a, unlabelled_b) = labelled.chunk(2), unlabelled.chunk(2)
    return torch.cat([paste(labelled_a, unlabelled_a, mask), paste(unlabelled_b, labelled_b, mask)])


def _mix_labelled(
    images: Float[Tensor, "labelled channels *spatial"],
    labels: Int64[Tensor, "labelled 1 *spatial"],
    mask: Bool[Tensor, "*spatial"],
) -> tuple[Float[Tensor, "labelled channels *spatial"], Targets]:
    def mixed(tensor: Tensor) -> Tensor:
        a, b = tensor.chunk(2)
        return torch.cat([paste(a, b, mask), paste(b, a, mask)])

    everywhere = torch.ones(labels.shape, device=labels.device)
    return mixed(images), {
        "label": mixed(labels),
        "truth_weight": everywhere,
        "pseudo_weight": torch.zeros_like(everywhere),
    }
