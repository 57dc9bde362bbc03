"""What a metric gives when there is nothing to measure.

Tools differ: where only the prediction is empty MONAI 1.6 gives NaN for HD95, infinity for HD and ASD, 0 for Dice and
surface Dice, and leaves NaN out of its means; MedPy raises an error for distances and gives 0 for Dice. Challenges have
rules of their own, see `EMPTY_POLICIES`.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from typing import Literal, TypeAlias

from rankseg_med.errors import InputError

Kind: TypeAlias = Literal["overlap", "distance", "surface_dice", "volume"]
"""Kinds of metrics, which share a rule for empty masks."""

EmptyScore: TypeAlias = float | Literal["skip", "worst"]
"""A number; ``"skip"``, for undefined: NaN, left out of means, counted and shown; or ``"worst"``, for the worst value
there is: 0 for overlap and surface Dice, the diagonal of the image for a distance."""


@dataclass(frozen=True)
class EmptyRule:
    """What the metrics of one kind give for a pair of masks of which at least one is empty.

    Attributes:
        both_empty: neither side has the structure.
        prediction_empty: the structure was missed.
        reference_empty: the structure was invented.

    Raises:
        ValueError: a number is not finite, or a word is neither ``"skip"`` nor ``"worst"``.
    """

    both_empty: EmptyScore
    prediction_empty: EmptyScore
    reference_empty: EmptyScore

    def __post_init__(self) -> None:
        for score in astuple(self):
            if not (score in ("skip", "worst") if isinstance(score, str) else math.isfinite(score)):
                raise InputError(f"an empty mask scores a finite number, 'skip' (for NaN) or 'worst', got {score!r}")


_WORST_UNLESS_BOTH = EmptyRule(both_empty="skip", prediction_empty="worst", reference_empty="worst")
# Without a reference the relative difference is infinite, so there is no worst value.
_VOLUME_AS_DEFINED = EmptyRule(both_empty="skip", prediction_empty=-1.0, reference_empty="skip")


@dataclass(frozen=True)
class EmptyPolicy:
    """The scores of a structure that the prediction, the reference or both do not contain.

    No distance is defined there, nor an overlap when both are empty, and tools disagree silently: MONAI's mean HD95
    drops a missed structure, so that missing everything scores 0 mm. Here the rule is an object that the caller
    chooses and the results show.

    The default leaves a structure that neither side contains out of the means (NaN, counted as undefined), and gives
    one that only one side contains the worst score there is, so that a missed or invented structure never improves a
    mean. The relative volume difference is -1 for a missed structure and undefined for an invented one.

    `EMPTY_POLICIES` has the policies of well-known benchmarks.

    Attributes:
        name: what reports call it.
        overlap: Dice, Jaccard, sensitivity and precision.
        distance: everything in millimetres.
        surface_dice: surface Dice.
        volume: relative volume difference; it has no worst value.

    Raises:
        ValueError: ``volume`` has a ``"worst"``.
    """

    name: str = "custom"
    overlap: EmptyRule = _WORST_UNLESS_BOTH
    distance: EmptyRule = _WORST_UNLESS_BOTH
    surface_dice: EmptyRule = _WORST_UNLESS_BOTH
    volume: EmptyRule = _VOLUME_AS_DEFINED

    def __post_init__(self) -> None:
        if "worst" in astuple(self.volume):
            raise InputError(
                "the relative volume difference has no worst value, since it is infinite without a reference; "
                "let the rule for volume say a number or 'skip'"
            )

    @classmethod
    def named(cls, name: str) -> EmptyPolicy:
        """One of `EMPTY_POLICIES`.

        Raises:
            ValueError: there is none of that name.
        """
        if name not in EMPTY_POLICIES:
            raise InputError(f"the policies for empty masks are {', '.join(EMPTY_POLICIES)}, got {name!r}")
        return EMPTY_POLICIES[name]

    def score(self, kind: Kind, *, prediction_empty: bool, reference_empty: bool, image_diagonal_mm: float) -> float:
        """The score of a pair of masks of which at least one is empty; NaN for ``"skip"``.

        Args:
            kind: kind of the metric.
            prediction_empty: whether the prediction is empty.
            reference_empty: whether the reference is empty.
            image_diagonal_mm: the longest distance that the metric could measure in the image, in mm.
        """
        rule: EmptyRule = getattr(self, kind)
        if prediction_empty and reference_empty:
            score = rule.both_empty
        else:
            score = rule.prediction_empty if prediction_empty else rule.reference_empty
        if score == "skip":
            return math.nan
        if score == "worst":
            return image_diagonal_mm if kind == "distance" else 0.0
        return float(score)


DEFAULT_EMPTY_POLICY = EmptyPolicy("default")
"""Undefined where neither side has the structure, the worst score where only one has it."""

_ONE_IF_BOTH = EmptyRule(both_empty=1.0, prediction_empty=0.0, reference_empty=0.0)

EMPTY_POLICIES = {
    policy.name: policy
    for policy in (
        DEFAULT_EMPTY_POLICY,
        # evaluate_predictions.py of nnU-Net v2: NaN and left out of the mean if both are empty.
        EmptyPolicy("nnunet", overlap=EmptyRule("skip", 0.0, 0.0)),
        # metrics.py of KiTS21 and KiTS23.
        EmptyPolicy("kits", overlap=_ONE_IF_BOTH, surface_dice=_ONE_IF_BOTH),
        # LiTS corrected: Dice per case as its evaluate.py has it for lesions, no 9001 in the place of a distance.
        EmptyPolicy("lits", overlap=_ONE_IF_BOTH),
        # BraTS 2023: 374 mm is about the diagonal of its images of 240 x 240 x 155 mm.
        EmptyPolicy("brats", overlap=_ONE_IF_BOTH, distance=EmptyRule(0.0, 374.0, 374.0), surface_dice=_ONE_IF_BOTH),
    )
}
"""Name to policy: ``default``, and those of ``nnunet``, ``kits``, ``lits`` and ``brats``. Kinds that a benchmark does
not score follow the default."""
