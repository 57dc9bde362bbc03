"""Expected scores computed from their definitions, with nothing of the package."""

import itertools

import numpy as np
from scipy.signal import fftconvolve


def overlap(metric: str, intersection: np.ndarray, predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Dice or IoU from volumes; 0 where both are empty."""
    total = predicted + true
    numerator, denominator = (2 * intersection, total) if metric == "dice" else (intersection, total - intersection)
    return np.divide(numerator, denominator, out=np.zeros(np.shape(denominator)), where=denominator > 0)


def score_of_every_mask(probabilities: np.ndarray, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Expected score of all 2^n masks by enumerating all 2^n references."""
    every = np.array(list(itertools.product([0.0, 1.0], repeat=len(probabilities))))
    likelihood = np.prod(np.where(every == 1, probabilities, 1 - probabilities), axis=1)
    volumes = every.sum(1)
    scores = overlap(metric, every @ every.T, volumes[:, None], volumes[None, :])
    return every.astype(bool), scores @ likelihood


def volume_distribution(probabilities: np.ndarray) -> np.ndarray:
    """Likelihood of each number of foreground voxels (Poisson binomial), for tens of thousands of voxels too."""
    parts = [np.array([1 - p, p]) for p in probabilities[probabilities > 0]] or [np.ones(1)]
    while len(parts) > 1:
        # Directly while the factors are short: the transform is not exact to the last digit.
        pairs = itertools.zip_longest(parts[::2], parts[1::2], fillvalue=np.ones(1))
        parts = [np.convolve(a, b) if len(a) < 300 else fftconvolve(a, b) for a, b in pairs]
    return np.pad(parts[0], (0, int((probabilities == 0).sum())))


def score_of_mask(probabilities: np.ndarray, kept: np.ndarray, metric: str, empty_score: float = 0.0) -> float:
    """Expected score of any mask: over the foreground volumes inside and outside of it, which are independent."""
    if not kept.any():
        return float(empty_score * np.prod(1 - probabilities))
    inside, outside = volume_distribution(probabilities[kept]), volume_distribution(probabilities[~kept])
    # The others are too unlikely to count.
    hits, misses = np.flatnonzero(inside > 1e-15), np.flatnonzero(outside > 1e-15)
    scores = overlap(metric, hits[:, None], np.full((1, 1), kept.sum()), hits[:, None] + misses)
    return float(inside[hits] @ scores @ outside[misses])


def rma_score_of_mask(p: np.ndarray, kept: np.ndarray, metric: str, empty_score: float, smooth: float) -> float:
    """The same by the reciprocal moment approximation, of one mask."""
    t, mass, total = kept.sum(), p[kept].sum(), p.sum()
    if not t:
        return smooth / (total + smooth) if smooth else float(empty_score * np.prod(1 - p))
    if metric == "dice":
        return 2 * mass / (t + total + 1 + smooth) + (smooth / (t + total + smooth) if smooth else 0.0)
    return (mass + smooth) / (t + total - mass + smooth)


def score_of_level_sets(probabilities: np.ndarray, masks: np.ndarray, metric: str) -> np.ndarray:
    """Expected score of masks ``(masks, n)`` if the truth is ``p > u`` for a uniform u, step by step of u."""
    edges = np.unique(np.concatenate([[0.0, 1.0], probabilities]))
    total = np.zeros(len(masks))
    for low, high in itertools.pairwise(edges):
        truth = probabilities > low
        total += (high - low) * overlap(metric, masks @ truth.astype(float), masks.sum(1), truth.sum())
    return total


def score_on_levels(levels: np.ndarray, kept: np.ndarray, metric: str, top: int = 65535) -> float:
    """The same of one mask, where p is ``levels / top``: the truth is all voxels from level k up, for some k."""
    of_all, of_kept = (np.bincount(p, minlength=top + 1)[:0:-1].cumsum() for p in (levels, levels[kept]))
    return float(overlap(metric, of_kept, np.full(top, kept.sum()), of_all).sum() / top)
