"""Which of many settings to take: of those that may be the best, the one that harms the fewest cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

WORSE_BY = 0.01
"""A case is worse (or better) if its score falls (or rises) by more than a point."""
_DRAWS = 10_000
_DRAWS_AT_ONCE = 500


@dataclass(frozen=True)
class Choice:
    """What was chosen, and what the choice rests on; each array has an entry for each setting.

    Attributes:
        chosen: Number of the setting.
        mean: Mean score over patients.
        near: Within one standard error of the best.
        better: Cases better than with the baseline by more than a point.
        worse: Cases worse by more than a point.
    """

    chosen: int
    mean: Float64[np.ndarray, " settings"]
    near: Bool[np.ndarray, " settings"]
    better: Int64[np.ndarray, " settings"]
    worse: Int64[np.ndarray, " settings"]


def choose(scores: Float64[np.ndarray, "settings cases"], patients: Sequence[str], baseline: int) -> Choice:
    """Choose a setting by the scores of cases that it was not fitted to.

    1. The score of a patient is the mean over the patient's cases; each patient counts the same.
    2. Settings within one standard error of the best mean may be the best; the error is that of the patients' paired
       differences to it. If the baseline is among them, nothing beats it beyond noise, and it is chosen.
    3. Otherwise, of those with a higher mean than the baseline, the one with fewest cases worse than it by more than a
       point is chosen; of equal ones the one with the highest mean, then the first.

    Args:
        scores: Scores in [0, 1], finite.
        patients: Patient of each case; at least two.
        baseline: Number of the setting to beat.
    """
    by_patient = means_by_patient(scores, patients)
    mean = by_patient.mean(1)
    changes = scores - scores[baseline]
    better, worse = (changes > WORSE_BY).sum(1), (changes < -WORSE_BY).sum(1)
    short = by_patient[mean.argmax()] - by_patient
    near = short.mean(1) <= standard_error(short)
    able = [baseline] if near[baseline] else map(int, np.flatnonzero(near & (mean > mean[baseline])))
    chosen = min(able, key=lambda index: (worse[index], -mean[index], index))
    return Choice(chosen, mean, near, better, worse)


def noise(
    scores: Float64[np.ndarray, "settings cases"], patients: Sequence[str], baseline: int, *, seed: int = 0
) -> Float64[np.ndarray, " settings"]:
    """For each setting, how often noise alone lifts any setting as far above the baseline.

    Signs of the patients' gains are flipped at random 10,000 times; counted are draws in which the best of all settings
    gains as much, each measured in its own standard errors (max-t test: Westfall and Young, Resampling-Based Multiple
    Testing, 1993).

    Args:
        scores: As for `choose`.
        patients: Patient of each case.
        baseline: Number of the setting to beat.
        seed: Random seed of the draws.
    """
    by_patient = means_by_patient(scores, patients)
    gains = by_patient - by_patient[baseline]
    # Rises with Student's t, and its denominator is the same for all signs.
    size = np.linalg.norm(gains, axis=1, keepdims=True)
    unit = np.divide(gains, size, out=np.zeros_like(gains), where=size > 0)
    random = np.random.default_rng(seed)
    highest = [np.inf]  # the gains as they are
    for _ in range(0, _DRAWS, _DRAWS_AT_ONCE):
        signs = random.choice([-1.0, 1.0], (_DRAWS_AT_ONCE, gains.shape[1]))
        highest += (unit @ signs.T).max(0).tolist()
    # Sums in another order differ in the last digits.
    below = np.searchsorted(np.sort(highest), unit.sum(1) - 1e-9)
    share: np.ndarray = 1 - below / len(highest)
    return share


def means_by_patient(
    scores: Float64[np.ndarray, "settings cases"], patients: Sequence[str]
) -> Float64[np.ndarray, "settings patients"]:
    """Mean over each patient's cases; patients are sorted by name."""
    _, which = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    means: np.ndarray = np.stack([np.bincount(which, row) for row in scores]) / np.bincount(which)
    return means


def standard_error(values: Float64[np.ndarray, "*settings patients"]) -> Float64[np.ndarray, "*settings"]:
    """Standard error of a mean over patients, of which there are at least two."""
    error: np.ndarray = values.std(-1, ddof=1) / np.sqrt(values.shape[-1])
    return error
