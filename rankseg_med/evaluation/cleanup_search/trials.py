"""Cleanup steps that are tried one after the other, and which of them are accepted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rankseg_med.metrics import summarise

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Step:
    """A cleanup that may be accepted.

    Attributes:
        description: in words.
        config: the transform's entry in a config.
    """

    description: str
    config: dict[str, Any]


@dataclass(frozen=True)
class Trial:
    """A step tried on top of those that were accepted before.

    Attributes:
        step: what was tried.
        before: label to mean Dice over the cases without the step; NaN where no case has one.
        after: the same with it.
        accepted: whether it was taken.
    """

    step: Step
    before: Mapping[int, float]
    after: Mapping[int, float]
    accepted: bool = False

    @property
    def mean_before(self) -> float:
        """Mean over the classes without the step."""
        return summarise(self.before.values()).mean

    @property
    def mean_after(self) -> float:
        """Mean over the classes with the step."""
        return summarise(self.after.values()).mean

    def helps(self, least_gain: float = 0.0) -> bool:
        """Whether the mean rises, by no less than the least gain, and no class falls."""
        gain = self.mean_after - self.mean_before
        is_enough = gain > 0 and gain >= least_gain
        return is_enough and not any(self.after[label] < self.before[label] for label in self.before)


@dataclass(frozen=True)
class CleanupSearch:
    """What was tried, and what came of it.

    Attributes:
        labels: value to name of the classes.
        n_cases: number of validation cases.
        trials: all steps, in the order in which they were tried; at least one.
    """

    labels: Mapping[int, str]
    n_cases: int
    trials: Sequence[Trial]

    @property
    def cleanup(self) -> dict[str, Any] | None:
        """The accepted steps as the ``cleanup`` entry of a config; None if there are none."""
        accepted = [trial.step.config for trial in self.trials if trial.accepted]
        return {"_target_": "Compose", "transforms": accepted} if accepted else None

    @property
    def mean_before(self) -> float:
        """Mean Dice over the classes without cleanup."""
        return self.trials[0].mean_before

    @property
    def mean_after(self) -> float:
        """Mean Dice over the classes with all accepted steps."""
        return next((trial.mean_after for trial in reversed(self.trials) if trial.accepted), self.mean_before)


def try_all(
    stages: Iterable[Sequence[Step]],
    mean_dice: Callable[[Sequence[Step], Sequence[Sequence[Step]]], list[dict[int, float]]],
    least_gain: float = 0.0,
) -> list[Trial]:
    """Try the alternatives of each stage on top of what the stages before accepted; the best that helps is accepted.

    Args:
        stages: alternatives to try together, stage after stage.
        mean_dice: function of the steps accepted so far and of several additions to them, that gives for each of these
            label to mean Dice over the cases.
        least_gain: rise of the mean over the classes below which a step is rejected.
    """
    trials: list[Trial] = []
    for alternatives in stages:
        accepted = [trial.step for trial in trials if trial.accepted]
        before, *after = mean_dice(accepted, [[], *([step] for step in alternatives)])
        tried = [Trial(step, before, dices) for step, dices in zip(alternatives, after, strict=True)]
        helpful = (trial for trial in tried if trial.helps(least_gain))
        best = max(helpful, key=lambda trial: trial.mean_after, default=None)
        trials += [replace(trial, accepted=trial is best) for trial in tried]
        for trial in trials[-len(tried) :]:
            verdict = "accepted" if trial.accepted else "rejected"
            _log.info(
                "%s: mean Dice %.4f to %.4f, %s", trial.step.description, trial.mean_before, trial.mean_after, verdict
            )
    return trials
