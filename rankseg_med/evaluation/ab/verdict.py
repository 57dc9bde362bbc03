"""Whether to decode otherwise than by argmax, and how."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from rankseg_med.metrics import PairedComparison

MINIMUM_PATIENTS = 6
"""Of fewer, not even all gaining is beyond chance: two times 1 / 2**5 is above 5 %."""
WORSE_BY = 0.01


@dataclass(frozen=True)
class Verdict:
    """What to do.

    Attributes:
        setting: Name of the setting to use; None for argmax, that is, not to decode.
        rests_on: Name of the setting whose change the sentence gives.
        sentence: The advice, with the change and its interval.
    """

    setting: str | None
    rests_on: str
    sentence: str


def decide(changes: Mapping[str, PairedComparison], words: Mapping[str, str], score: str) -> Verdict:
    """Advise by what settings change against argmax.

    1. Below `MINIMUM_PATIENTS` patients nothing is recommended.
    2. A setting can be recommended if the interval of its mean change lies above 0.
    3. Of these, the one with the fewest cases worse by more than a point is; of equal ones the one that gains most,
       then the first.
    4. If there is none, the advice is not to decode.

    Args:
        changes: Setting to its change against argmax, at least one.
        words: Setting to how a sentence names it.
        score: Name of the score in words.
    """
    able = [name for name, change in changes.items() if change.interval[0] > 0]
    gains = {
        name: -math.inf if math.isnan(change.mean_difference) else change.mean_difference
        for name, change in changes.items()
    }
    best = max(changes, key=lambda name: gains[name])
    patients = changes[best].n_patients
    if patients < MINIMUM_PATIENTS:
        told = _told(changes[best])
        return Verdict(
            None,
            best,
            f"Do not decode on this evidence: {patients} of the at least {MINIMUM_PATIENTS} patients that it takes; "
            f"the largest change of the mean {score}, with {words[best]}, is {told}.",
        )
    if able:
        chosen = min(able, key=lambda name: (worse(changes[name]), -gains[name]))
        told, losers = _told(changes[chosen]), worse(changes[chosen])
        return Verdict(
            chosen,
            chosen,
            f"Use {words[chosen]}: it changes the mean {score} against argmax by {told}; worse by more than a "
            f"point: {losers or 'none'}.",
        )
    return Verdict(None, best, _not_to_decode(changes[best], words[best], score))


def worse(change: PairedComparison) -> int:
    """How many cases get worse by more than a point."""
    return next(outcomes.losses for outcomes in change.outcomes if outcomes.threshold == WORSE_BY)


def _not_to_decode(best: PairedComparison, words: str, score: str) -> str:
    told = _told(best)
    if best.interval[1] < 0:
        return f"Do not decode: every setting lowers the mean {score} against argmax, {words} least, by {told}."
    sentence = (
        f"Do not decode: no setting's gain in mean {score} over argmax can be told from none; the largest change, with "
        f"{words}, is {told}"
    )
    if best.mean_difference <= 0:
        return f"{sentence}."
    # The interval shrinks with the root of their number.
    needed = best.n_patients * ((best.mean_difference - best.interval[0]) / best.mean_difference) ** 2
    return f"{sentence}, and about {math.ceil(needed)} patients would show whether it is there."


def _told(change: PairedComparison) -> str:
    if not change.n_cases:
        return "undefined"
    mean, low, high = (100 * value for value in (change.mean_difference, *change.interval))
    interval = "no interval" if math.isnan(low) else f"{change.confidence:.0%} interval {low:+.2f} to {high:+.2f}"
    cases = _number(change.n_cases, "case")
    if change.n_patients < change.n_cases:
        cases += f" of {_number(change.n_patients, 'patient')}"
    return f"{mean:+.2f} points ({interval}, {cases})"


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
