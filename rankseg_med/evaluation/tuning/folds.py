"""Cross-validation over patients: none is on both sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rankseg_med.errors import InputError


def patient_folds(patients: Sequence[str], folds: int, seed: int = 0) -> list[list[str]]:
    """Deal patients out at random, as evenly as can be.

    Args:
        patients: Patient of each case; a patient may have several.
        folds: Number of folds, at least 2; of fewer patients, as many as there are.
        seed: Equal seeds give equal folds, whatever the order of the cases.

    Returns:
        The patients of each fold, sorted.

    Raises:
        ValueError: Fewer than two folds or patients.
    """
    every = sorted(set(patients))
    count = min(folds, len(every))
    if count < 2:
        raise InputError(f"cross-validation needs at least 2 folds and 2 patients, got {folds} and {len(every)}")
    dealt = np.random.default_rng(seed).permutation(len(every))
    return [sorted(every[index] for index in dealt[fold::count]) for fold in range(count)]


def fold_of_patient(folds: Sequence[Sequence[str]]) -> Mapping[str, int]:
    """Patient to the number of the fold."""
    return {patient: fold for fold, some in enumerate(folds) for patient in some}
