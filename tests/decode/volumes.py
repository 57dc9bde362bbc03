"""Volumes that mislead, and large ones, on the levels that decoders keep; and how property tests draw them."""

import numpy as np
import torch
from hypothesis import Phase

TOP = 65535
# No shrinking: an example costs a tenth of a second, and its seed is enough to look into it.
SETTINGS = {"deadline": None, "derandomize": True, "phases": [Phase.explicit, Phase.generate], "database": None}


def on_levels(probabilities: np.ndarray, lowest: int = 0) -> np.ndarray:
    """Levels ``(classes, *spatial)`` that sum to the top level, those of the foreground at least ``lowest``."""
    top = TOP - lowest * (len(probabilities) - 1)
    levels = np.floor(probabilities / probabilities.sum(0) * top).astype(np.int64)
    # What rounding down leaves goes to the likeliest class.
    np.put_along_axis(levels, levels.argmax(0)[None], levels.max(0)[None] + top - levels.sum(0), 0)
    levels[1:] += lowest
    return levels


def volume(levels: np.ndarray) -> torch.Tensor:
    assert (levels.sum(0) == TOP).all()
    return torch.from_numpy(levels / TOP)


def softmax(logits: np.ndarray) -> np.ndarray:
    odds = np.exp(logits - logits.max(0))
    return odds / odds.sum(0)


KINDS = ("noise", "near ties", "tiny and huge", "faint", "coarse", "background", "one against many")


def adversarial(kind: str, classes: int, voxels: int, seed: int, *, lowest: int) -> np.ndarray:
    """Levels of a small volume meant to mislead an assignment; foreground levels are at least ``lowest``."""
    rng = np.random.default_rng(seed)
    sharpness = rng.choice([0.2, 1.0, 3.0, 12.0])
    logits = sharpness * rng.normal(size=(classes, voxels))
    if kind == "near ties":
        logits[1:] = logits[1] + 10.0 ** -rng.integers(1, 6) * rng.normal(size=(classes - 1, voxels))
    elif kind == "tiny and huge":
        size = np.maximum(1, (voxels * rng.dirichlet(np.full(classes, 0.3))).astype(int))
        owner = np.resize(np.repeat(np.arange(classes), size), voxels)
        logits[owner, np.arange(voxels)] += rng.uniform(0, 8, voxels)
    elif kind == "faint":
        logits[rng.integers(1, classes) :] -= rng.uniform(1, 9)
    elif kind == "background":
        logits[0] += np.where(rng.random(voxels) < 0.8, rng.uniform(4, 14), 0)
    probabilities = softmax(logits)
    if kind == "coarse":  # many exact ties, certain voxels and impossible classes
        parts = rng.integers(0, 4, (classes, voxels)) * (rng.random((classes, voxels)) < 0.6)
        parts[0] += parts.sum(0) == 0
        probabilities = parts / parts.sum(0)
    elif kind == "one against many":  # one class with a certain core, which the others' voxels could all be
        probabilities = rng.dirichlet(np.r_[5, 0.01, np.full(classes - 2, 5.0 / classes)], voxels).T
        probabilities[:, : 1 + voxels // 40] = 0.0001
        probabilities[1, : 1 + voxels // 40] = 1
    return on_levels(probabilities, lowest)


def slack_of(levels: np.ndarray) -> float:
    """Of voxels that are background beyond doubt two moments are kept: exact if they are all alike, else to 1e-6."""
    certain = levels[1:, (levels[1:] <= 256).all(0)]
    alike = all(len(set(row[row > 0])) <= 1 for row in certain)
    return 1e-9 if alike else 1e-6


def large_volume(shape: tuple[int, ...], classes: int, seed: int, peak: float = 1.0) -> np.ndarray:
    """Levels of blobs in certain background, sparse enough that most tiles of 4096 voxels hold none of them."""
    rng = np.random.default_rng(seed)
    axes = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    logits = np.zeros((classes, *shape))
    for c in range(1, classes):
        centre = [rng.uniform(0.3, 0.7) * n for n in shape]
        distance = np.sqrt(sum((a - m) ** 2 for a, m in zip(axes, centre, strict=True)))
        logits[c] = 1.5 * (0.12 * min(shape) * rng.uniform(0.6, 1.4) - distance) + rng.normal(scale=1.2, size=shape)
    return on_levels(np.concatenate([softmax(logits)[:1] + (1 - peak), peak * softmax(logits)[1:]]))
