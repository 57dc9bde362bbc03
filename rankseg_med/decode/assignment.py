"""Settling voxels that several classes want, or none."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Float64, UInt8
from torch import Tensor

from rankseg_med.decode.decision import Decision
from rankseg_med.decode.expected_score import Metric
from rankseg_med.decode.histogram import lowest_probability_of, voxel_blocks


def assign_greedy(
    probabilities: Float[Tensor, "classes *spatial"], decisions: Sequence[Decision], metric: Metric
) -> UInt8[Tensor, "*spatial"]:
    r"""Give every voxel one class by the published rule (Wang and Dai, NeurIPS 2025).

    A voxel that exactly one class keeps goes to it. With $N_c$ voxels of mass $S_c$ so assigned, any other voxel goes
    to the class whose approximate score gains most by it,

    - Dice: $\frac{2}{D_c + 1} (p_c - S_c / D_c)$ with $D_c = N_c + m_c + 1$,
    - IoU: $\frac{p_c - (S_c / D_c)(1 - p_c)}{D_c + 1 - p_c}$ with $D_c = N_c + m_c - S_c$,

    among the classes that keep it, or among all active classes if none does (all classes if none is active). Equal
    gains go to the lowest class.

    Args:
        probabilities: ``(classes, *spatial)``.
        decisions: One per class.
        metric: ``"dice"`` or ``"iou"``.

    Returns:
        Label map ``(*spatial)``.
    """
    classes, device = probabilities.shape[0], probabilities.device
    working_dtype = torch.promote_types(probabilities.dtype, torch.float32)
    edges = torch.tensor(
        [lowest_probability_of(decision.level, working_dtype) for decision in decisions],
        dtype=working_dtype,
        device=device,
    )[:, None]
    active = torch.tensor([decision.active for decision in decisions], device=device)
    eligible_if_unwanted = active if bool(active.any()) else ~active

    labels = torch.empty(probabilities[0].numel(), dtype=torch.uint8, device=device)
    kept = torch.zeros(classes, dtype=torch.float64, device=device)
    kept_mass = torch.zeros(classes, dtype=torch.float64, device=device)
    start = 0
    for block in voxel_blocks(probabilities):
        wanted = block >= edges
        alone = wanted & (wanted.sum(0) == 1)
        kept += alone.sum(1)
        kept_mass += torch.where(alone, block, 0).sum(1, dtype=torch.float64)
        labels[start : start + block.shape[1]] = alone.to(torch.uint8).argmax(0)
        start += block.shape[1]

    expected_volume = torch.tensor(
        [decision.expected_volume for decision in decisions], dtype=torch.float64, device=device
    )
    start = 0
    for block in voxel_blocks(probabilities):
        wanted = block >= edges
        wanting = wanted.sum(0)
        open_voxels = (wanting != 1).nonzero().squeeze(1)
        eligible = torch.where(wanting[open_voxels] == 0, eligible_if_unwanted[:, None], wanted[:, open_voxels])
        gain = _gain(block[:, open_voxels].double(), kept, kept_mass, expected_volume, metric)
        labels[start + open_voxels] = gain.masked_fill(~eligible, -torch.inf).argmax(0).to(torch.uint8)
        start += block.shape[1]
    return labels.reshape(probabilities.shape[1:])


def _gain(
    probabilities: Float64[Tensor, "classes voxels"],
    kept: Float64[Tensor, " classes"],
    kept_mass: Float64[Tensor, " classes"],
    expected_volume: Float64[Tensor, " classes"],
    metric: Metric,
) -> Float64[Tensor, "classes voxels"]:
    """Change of each class's approximate score if it were given each voxel."""
    if metric == "dice":
        denominator = kept + expected_volume + 1
        score = kept_mass / denominator
        return (probabilities - score[:, None]) * (2 / (denominator + 1))[:, None]
    denominator = kept + expected_volume - kept_mass
    # A class without mass has neither score nor gain.
    score = torch.where(denominator > 0, kept_mass / denominator.clamp_min(1e-300), 0)
    missing = 1 - probabilities
    return (probabilities - score[:, None] * missing) / (denominator[:, None] + missing)
