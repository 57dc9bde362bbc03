"""Which entries of a config refer to which, and what plain ones come to."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from monai.bundle import ConfigComponent, ConfigParser, ReferenceResolver

from rankseg_med.configuration.error import ConfigError, nearest
from rankseg_med.configuration.parser import Config

SEPARATOR = ReferenceResolver.sep
_MACRO = "%"
_NOT_WRITTEN_OUT = ("@", "$", _MACRO)


def is_written_out(value: object) -> bool:
    """Whether a value is what it says, not a reference, expression or macro."""
    return not (isinstance(value, str) and value.startswith(_NOT_WRITTEN_OUT))


def entries_of(content: Any, place: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - whatever an entry holds
    """Every entry at every depth with its place, such as ``preprocessing::transforms::2``; outer ones first."""
    if isinstance(content, dict | list):
        for _, inner, value in ReferenceResolver.iter_subconfigs(place, content):
            yield inner, value
            yield from entries_of(value, inner)


def references_in(place: str, value: Any) -> list[str]:  # noqa: ANN401 - whatever an entry holds
    """The ids that a text refers to: ``@id``, ``%id`` in this config, and every ``@id`` in an expression.

    Raises:
        ConfigError: a relative reference that leads out of the config.
    """
    if not isinstance(value, str):
        return []
    try:
        value = ConfigParser.resolve_relative_ids(place, value)
    except ValueError as error:
        raise ConfigError(f"{place}: {error}") from error
    if value.startswith(_MACRO):
        path, id = ConfigParser.split_path_id(value[len(_MACRO) :])
        return [] if path or not id else [id]
    return list(ReferenceResolver.match_refs_pattern(value))


def is_referred_to(key: str, config: Config) -> bool:
    """Whether any entry but the one of that name refers to it or into it."""
    return any(
        reference.split(SEPARATOR)[0] == key
        for place, value in entries_of(config.get())
        if place.split(SEPARATOR)[0] != key
        for reference in references_in(place, value)
    )


def check_references(config: Config, keys: Collection[str]) -> None:
    """Put the macros of a config in place, and make sure that references lead somewhere.

    Args:
        config: changed where it has macros.
        keys: entries whose references count.

    Raises:
        ConfigError: one leads nowhere; the message says where it stands and what was probably meant.
    """
    for place, value in _within(keys, config):
        for id in references_in(place, value):
            if value.startswith(_MACRO) and id not in config:
                raise _leads_nowhere(place, id, config)
    config.parse()
    for place, value in _within(keys, config):
        for id in references_in(place, value):
            if id not in config.ref_resolver.items:
                raise _leads_nowhere(place, id, config)


def _within(keys: Collection[str], config: Config) -> Iterator[tuple[str, Any]]:
    return ((place, value) for place, value in entries_of(config.get()) if place.split(SEPARATOR)[0] in keys)


def _leads_nowhere(place: str, id: str, config: Config) -> ConfigError:
    known = [known for known, _ in entries_of(config.get())]
    close = nearest(id, known)
    hint = f"define {id.split(SEPARATOR)[0]}" if close is None else f"did you mean {close}?"
    return ConfigError(f"{place}: refers to {id}, but there is no such entry; {hint}")


def is_plain(id: str, config: Config, above: frozenset[str] = frozenset()) -> bool:
    """Whether an entry is there, and nothing has to be built to know what it comes to.

    Args:
        id: id of the entry.
        config: parsed.
        above: entries that wait for this one.
    """
    item = config.ref_resolver.items.get(id)
    if item is None or isinstance(item, ConfigComponent):
        return False
    needed = ReferenceResolver.find_refs_in_config(item.get_config(), id).keys() - above - {id}
    return all(is_plain(other, config, above | {id}) for other in needed)
