"""Losses by name, and sums of them.

```yaml
loss: lovasz
```

```yaml
loss: {tversky: {alpha: 0.3, beta: 0.7}}
```

```yaml
loss:
  dice_ce: 1.0
  topk_ce: {weight: 0.5, percent: 20}
  boundary: {weight: {from: 0.0, to: 0.01, iterations: 2000}}
  mine: {weight: 0.1, _target_: my_package.MyLoss}
```
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rankseg_med.configuration.components import TARGET
from rankseg_med.configuration.error import ConfigError, meant
from rankseg_med.configuration.named_parts import NamedParts
from rankseg_med.configuration.references import is_written_out

_OURS = "rankseg_med.losses."
_WEIGHT = "weight"
# What a schedule says, and the argument of `LinearRamp`.
_SCHEDULE = {"from": "start", "to": "end", "iterations": "iterations"}
_OF_LABELS = {"softmax": True, "to_onehot_y": True}
# Volumes are summed over the batch, or a class that one image of it lacks would have no gradient that means anything.
_OF_OVERLAP = {**_OF_LABELS, "batch": True}
_DICE = {TARGET: "DiceLoss", **_OF_OVERLAP}
_FOCAL = {TARGET: "FocalLoss", "use_softmax": True, "to_onehot_y": True}
# Weights are of the size of 1 / volume², so that MONAI's smoothing would be most of the sum.
_UNSMOOTHED = {"smooth_nr": 0.0, "smooth_dr": 1.0e-12}
# The background has no centreline.
_OF_LINES = {**_OF_LABELS, "include_background": False}


class _NamedLosses(NamedParts):
    """A loss by its name, or a sum of losses with a weight each."""

    def expanded(self, value: str | Mapping[str, Any]) -> dict[str, Any]:
        """The component that a value stands for: one loss, or their `CombinedLoss`.

        Raises:
            ConfigError: There is no such name, or a weight that is none.
        """
        if isinstance(value, str):
            return super().expanded(value)
        if not value:
            raise ConfigError(f"{self.key}: must name a loss, or several with weights, got none")
        losses, weights = dict[str, Any](), dict[str, Any]()
        for name, term in value.items():
            arguments = dict(term) if isinstance(term, Mapping) else {} if term is None else {_WEIGHT: term}
            weight = arguments.pop(_WEIGHT, 1.0)
            losses[str(name)] = arguments if TARGET in arguments else self.component(str(name), arguments)
            weights[str(name)] = _weight(f"{self.key}::{name}", weight)
        if len(losses) == 1 and list(weights.values()) == [1]:
            return next(iter(losses.values()))
        return {TARGET: f"{_OURS}CombinedLoss", "losses": losses, "weights": weights}


def _weight(place: str, weight: Any) -> Any:  # noqa: ANN401 - whatever a config holds
    """A term's weight as `CombinedLoss` takes it; references, expressions and components as they are."""
    if isinstance(weight, Mapping):
        return weight if TARGET in weight else _ramp(f"{place}::{_WEIGHT}", weight)
    if is_written_out(weight) and not (type(weight) in (int, float) and 0 <= weight < math.inf):
        raise ConfigError(
            f"{place}: must have a finite number of at least 0, or {{{', '.join(_SCHEDULE)}}}, for its {_WEIGHT} in "
            f"the sum, got {weight!r}; for an argument of the loss itself that is called {_WEIGHT}, write "
            f"{_OURS}CombinedLoss out"
        )
    return weight


def _ramp(place: str, schedule: Mapping[str, Any]) -> dict[str, Any]:
    for key in map(str, schedule):
        if key not in _SCHEDULE:
            raise ConfigError(f"{place}::{key}: there is no such key; {meant(key, _SCHEDULE)}")
    if missing := [key for key in _SCHEDULE if key not in schedule]:
        raise ConfigError(f"{place}: must say {', '.join(_SCHEDULE)}, lacks {', '.join(missing)}")
    for key, value in schedule.items():
        if is_written_out(value) and type(value) not in (int, float):
            raise ConfigError(
                f"{place}::{key}: must be a number, such as 1.0e-2 (YAML takes 1e-2 for text), got {value!r}"
            )
    return {TARGET: f"{_OURS}LinearRamp", **{_SCHEDULE[key]: value for key, value in schedule.items()}}


LOSSES = _NamedLosses(
    "loss",
    "loss",
    {
        # Of voxels.
        "ce": {TARGET: f"{_OURS}FrequencyWeightedCELoss", "power": 0.0},
        "weighted_ce": {TARGET: f"{_OURS}FrequencyWeightedCELoss"},
        "topk_ce": {TARGET: f"{_OURS}TopKCELoss"},
        "focal": _FOCAL,
        "iou_balanced_ce": {TARGET: f"{_OURS}IoUBalancedCELoss"},
        # Of overlap.
        "dice": _DICE,
        "generalized_dice": {TARGET: "GeneralizedDiceLoss", **_OF_OVERLAP, **_UNSMOOTHED},
        "tversky": {TARGET: "TverskyLoss", **_OF_OVERLAP},
        "lovasz": {TARGET: f"{_OURS}LovaszSoftmaxLoss"},
        "sensitivity_specificity": {TARGET: f"{_OURS}SensitivitySpecificityLoss"},
        "surrogate": {TARGET: f"{_OURS}SurrogateLoss", "metric": "Dice"},
        # Of both.
        "dice_ce": {TARGET: "DiceCELoss", **_OF_OVERLAP},
        # MONAI's `DiceFocalLoss` takes the sigmoid in its focal term, whatever is asked for.
        "dice_focal": {
            TARGET: f"{_OURS}CombinedLoss",
            "losses": {"dice": _DICE, "focal": _FOCAL},
            "weights": {"dice": 1.0, "focal": 1.0},
        },
        # Of boundaries and centrelines.
        "boundary": {TARGET: f"{_OURS}BoundaryLoss"},
        "distance_ce": {TARGET: f"{_OURS}DistancePenalisedCELoss"},
        "hausdorff": {TARGET: "HausdorffDTLoss", **_OF_LABELS},
        "cldice": {TARGET: "SoftclDiceLoss", **_OF_LINES},
        "dice_cldice": {TARGET: "SoftDiceclDiceLoss", **_OF_LINES},
    },
)
