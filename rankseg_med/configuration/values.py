"""What plain entries may be."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, get_args

from rankseg_med.configuration.devices import usable_device
from rankseg_med.configuration.error import ConfigError, meant
from rankseg_med.configuration.parser import Config
from rankseg_med.configuration.references import is_plain
from rankseg_med.decode import Store
from rankseg_med.errors import InputError
from rankseg_med.inference import DecodedGrid, Ensemble
from rankseg_med.studies import read_structures


@dataclass(frozen=True)
class Rule:
    """What a value must be.

    Attributes:
        required: in words, after "must be".
        holds: whether a value is that.
        words: all values, if those are a few words.
    """

    required: str
    holds: Callable[[Any], bool]
    words: tuple[str, ...] = ()


def _one_of(words: tuple[str, ...]) -> Rule:
    return Rule(" or ".join(words), lambda value: isinstance(value, str) and value in words, words)


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)


def _at_least(least: int) -> Rule:
    return Rule(f"a whole number of at least {least}", lambda value: _is_whole(value) and value >= least)


def _items(value: object) -> list[Any]:
    """Those of a list, tuple or array; none of anything else."""
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str | Mapping) else []


def _is_below_one(value: Any) -> bool:  # noqa: ANN401 - whatever a config holds
    return _is_number(value) and 0 <= value < 1


def _are_label_names(value: object) -> bool:
    names = _items(value)
    return len(names) >= 2 and all(isinstance(name, str) and name for name in names) and len(set(names)) == len(names)


_COUNT = _at_least(1)
RULES = {
    "label_names": Rule(
        "a list of names, text in quotes where YAML would read something else, that differ: the background's and at "
        "least one more",
        _are_label_names,
    ),
    "num_classes": _at_least(2),
    "channels": _COUNT,
    "spacing_mm": Rule(
        "three numbers above 0, in mm",
        lambda value: len(_items(value)) == 3 and all(_is_number(mm) and mm > 0 for mm in _items(value)),
    ),
    "roi_size": Rule(
        "two or three whole numbers of at least 1",
        lambda value: len(_items(value)) in (2, 3) and all(map(_COUNT.holds, _items(value))),
    ),
    "inferer::overlap": Rule(
        "a number from 0 to below 1, or one for each axis",
        lambda value: _is_below_one(value) or (bool(_items(value)) and all(map(_is_below_one, _items(value)))),
    ),
    "inferer::sw_batch_size": _COUNT,
    "grid": _one_of(get_args(DecodedGrid)),
    "ensemble": _one_of(get_args(Ensemble)),
    "store": _one_of(get_args(Store)),
    "store_folder": Rule("the path of a folder, or null", lambda value: value is None or isinstance(value, str)),
    "epochs": _COUNT,
    "iterations_per_epoch": _COUNT,
    "validate_every": _COUNT,
    "batch_size": _COUNT,
    "unlabelled_batch_size": _COUNT,
    "num_workers": _at_least(0),
    "cache_rate": Rule("a number from 0 to 1", lambda value: _is_number(value) and 0 <= value <= 1),
    "learning_rate": Rule("a number above 0", lambda value: _is_number(value) and value > 0),
}
"""By entry. References and expressions are judged by what they come to."""
_TRAINING_RULES = {
    "roi_size": Rule(
        "three whole numbers of at least 1 (slices of two axes are for prediction with networks that exist)",
        lambda value: len(_items(value)) == 3 and all(map(_COUNT.holds, _items(value))),
    ),
}

_DEVICES_OR_NULL = ("inferer::device", "inferer::sw_device")


def check_values(config: Config, *, is_training: bool) -> None:
    """Look at all entries that there are rules for, but for those that need a component to be built.

    Args:
        config: all of it.
        is_training: whether the job trains, which has rules of its own.

    Raises:
        ConfigError: a value that breaks its rule; the message names the entry, what is required and what came.
    """
    for id, rule in (RULES | (_TRAINING_RULES if is_training else {})).items():
        if is_plain(id, config) and not rule.holds(value := config.get_parsed_content(id)):
            raise ConfigError(f"{id}: must be {rule.required}, got {value!r}{_hint(value, rule)}")
    if is_plain("structures", config):
        try:
            read_structures(config.get_parsed_content("structures"))
        except InputError as error:
            raise ConfigError(f"structures: {error}") from error
    for id in _DEVICES_OR_NULL:
        if is_plain(id, config) and (value := config.get_parsed_content(id)) is not None:
            try:
                usable_device(value)
            except ConfigError as error:
                raise ConfigError(f"{id}: {error}") from error


def _hint(value: object, rule: Rule) -> str:
    if not isinstance(value, str):
        return ""
    if rule.words:
        return f"; {meant(value, rule.words)}"
    try:
        float(value)
    except ValueError:
        return ""
    return ", which is text: write numbers without quotes, and 1e-3 as 1.0e-3"
