"""Entries with a `_target_`: whether it exists, takes these arguments, and knows these words."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pydoc import ErrorDuringImport, locate
from typing import Any, Literal, get_args, get_origin

from monai.bundle import ComponentLocator, ConfigComponent

from rankseg_med.configuration.error import ConfigError, meant, one_line
from rankseg_med.configuration.nearest_target import nearest_target
from rankseg_med.configuration.parser import Config
from rankseg_med.configuration.references import entries_of, is_written_out
from rankseg_med.decode import RankSEGDecoder, make_decoder
from rankseg_med.transforms import RankSEG, RankSEGd

TARGET = "_target_"
_RESERVED = frozenset(ConfigComponent.non_arg_keys)
# What must be built, and what may also be null.
_COMPONENTS = frozenset(
    {"preprocessing", "augmentation", "unlabelled_preprocessing", "unlabelled_augmentation", "crop", "intensity"}
    | {
        "network_def",
        "network",
        "inferer",
        "decoder",
        "loss",
        "optimizer",
        "lr_scheduler",
        "teacher",
        "method",
        "explainer",
    }
)
_COMPONENTS_OR_NULL = frozenset({"cleanup", "calibration", "pseudo_labeller", "teacher::calibration"})
_COMPONENT_OR_FILE = "calibration"
# Packages that come with an extra of the same name.
_EXTRAS = frozenset({"transformers"})
# Whose further arguments (**options) a function hands on.
_HANDS_OPTIONS_TO: dict[object, Callable[..., Any]] = {
    make_decoder: RankSEGDecoder,
    RankSEG: RankSEGDecoder,
    RankSEGd: RankSEGDecoder,
}


def check_components(config: Config) -> None:
    """Look at every component of a config, at every depth, without building it.

    Raises:
        ConfigError: there is no such target, it does not take an argument, an argument that takes one of a few words
            has another, or there is something else where a component must be; the message says where it stands and
            what was probably meant.
    """
    for place, entry in entries_of(config.get()):
        if isinstance(entry, Mapping):
            check_component(place, entry, config.locator)
        nullable = place in _COMPONENTS_OR_NULL
        must_be_component = place in _COMPONENTS or (nullable and entry is not None)
        if place == _COMPONENT_OR_FILE and isinstance(entry, str):
            continue
        if must_be_component and is_written_out(entry) and not ConfigComponent.is_instantiable(entry):
            or_null = " or null" if nullable else ""
            raise ConfigError(f"{place}: must be a component (an entry with a {TARGET}){or_null}, got {entry!r}")


def check_component(place: str, entry: Mapping[str, Any], locator: ComponentLocator) -> None:
    """Look at one entry; see `check_components`. One without a target must not have keys that are written like it."""
    if TARGET not in entry:
        reserved = [key for key in map(str, entry) if key.startswith("_") and key.endswith("_")]
        if reserved:
            raise ConfigError(f"{place}::{reserved[0]}: there is no such key; {meant(reserved[0], _RESERVED)}")
        return
    target = target_of(place, entry, locator)
    parameters = None if target is None else _parameters_of(target)
    if parameters is None:
        return
    for name, value in entry.items():
        if name in parameters:
            _check_words(f"{place}::{name}", value, _words_of(parameters[name].annotation))
        elif name not in _RESERVED:
            hint = meant(str(name), [*parameters, *_RESERVED])
            raise ConfigError(f"{place}::{name}: {entry[TARGET]} has no argument {name}; {hint}")


def target_of(place: str, entry: Mapping[str, Any], locator: ComponentLocator) -> object | None:
    """What an entry's `_target_` names; None if it is disabled, or an expression, whose value is not known yet.

    Raises:
        ConfigError: it names nothing, or a module that cannot be imported.
    """
    name = entry[TARGET]
    if not is_written_out(name) or ConfigComponent(entry).is_disabled():
        return None
    if not isinstance(name, str):
        raise ConfigError(f"{place}::{TARGET}: must be the name of a class or function, got {name!r}")
    try:
        target = locate(ConfigComponent(entry, place, locator).resolve_module_name())
    except ErrorDuringImport as error:
        raise ConfigError(f"{place}::{TARGET}: {name} cannot be imported ({one_line(error)})") from error
    if target is None:
        package = name.partition(".")[0]
        if package in _EXTRAS and find_spec(package) is None:
            raise ConfigError(
                f"{place}::{TARGET}: {name} needs {package}, which is not installed: "
                f"pip install 'rankseg_med[{package}]'"
            )
        close = nearest_target(name)
        hint = "write its full path, such as package.module.Name" if close is None else f"did you mean {close}?"
        raise ConfigError(f"{place}::{TARGET}: there is no {name}; {hint}")
    return target


def _parameters_of(target: object) -> Mapping[str, inspect.Parameter] | None:
    """Arguments by name; None where any are taken, or none is known."""
    signature = _signature_of(target)
    if signature is None:
        return None
    by_name = {
        name: parameter
        for name, parameter in signature.parameters.items()
        if parameter.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    }
    if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in signature.parameters.values()):
        return {**_settable(target), **by_name}
    options = _HANDS_OPTIONS_TO.get(target)
    further = None if options is None else _parameters_of(options)
    return None if further is None else {**further, **by_name}


def _settable(target: object) -> Mapping[str, inspect.Parameter]:
    """What configs of transformers take though their signature lacks it: properties, such as ``num_labels``."""
    if not str(getattr(target, "__module__", "")).startswith("transformers."):
        return {}
    names = [name for name, value in inspect.getmembers(target) if isinstance(value, property) and value.fset]
    return {name: inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in names}


def _signature_of(target: object) -> inspect.Signature | None:
    if not callable(target):
        return None
    try:
        return inspect.signature(target, eval_str=True)
    except (NameError, AttributeError, SyntaxError):  # of an annotation that only type checkers understand
        return inspect.signature(target)
    except (TypeError, ValueError):  # written in C
        return None


def _words_of(annotation: object) -> tuple[str, ...]:
    """The words that an argument takes; none where any text is taken, or none at all."""
    choices = list(_choices_of(annotation))
    return () if str in choices else tuple(dict.fromkeys(word for word in choices if isinstance(word, str)))


def _choices_of(annotation: object) -> Iterator[object]:
    """Values of every `Literal` within an annotation, and `str` if that is within it."""
    if annotation is str:
        yield str
    elif get_origin(annotation) is Literal:
        yield from get_args(annotation)
    else:
        for inner in get_args(annotation):
            yield from _choices_of(inner)


def _check_words(place: str, value: object, words: Sequence[str]) -> None:
    for word in value if isinstance(value, list | tuple) else [value]:
        if words and isinstance(word, str) and is_written_out(word) and word not in words:
            raise ConfigError(f"{place}: must be {' or '.join(words)}, got {word}; {meant(word, words)}")
