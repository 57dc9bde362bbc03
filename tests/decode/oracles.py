"""Expected scores computed from their definitions, with nothing of the package."""

import itertools

import numpy as np


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
    """Distribution of the number of foreground voxels (Poisson binomial), by dynamic programming."""
    distribution = np.ones(1)
    for p in probabilities:
        distribution = np.convolve(distribution, [1 - p, p])
    return distribution


def score_of_top_voxels(probabilities: np.ndarray, kept: int, metric: str) -> float:
    """Expected score of keeping the first ``kept`` voxels: over how many of them, and of the others, are true."""
    hit, missed = volume_distribution(probabilities[:kept]), volume_distribution(probabilities[kept:])
    hits, misses = np.arange(len(hit))[:, None], np.arange(len(missed))
    return float(hit @ overlap(metric, hits, kept, hits + misses) @ missed)


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
