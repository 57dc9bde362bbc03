"""MONAI's config parser, with errors that name the entry and the reason."""

from __future__ import annotations

from typing import Any

from monai.bundle import ConfigComponent, ConfigExpression, ConfigItem, ConfigParser, ReferenceResolver
from yaml import YAMLError

from rankseg_med.configuration.error import ConfigError, meant, nearest, one_line

# How MONAI begins what it raises on top of the error that a component or an expression raised.
_WRAPPINGS = ("Failed to instantiate component", "Failed to evaluate")


class Config(ConfigParser):
    """A config whose entries are built one by one.

    `get_parsed_content` raises `ConfigError`, which names the entry at fault, such as ``preprocessing::transforms::2``,
    however deep within the one that was asked for.

    Args:
        settings: as files hold them, with references, macros and expressions; changed by what is set here.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(settings)
        self.ref_resolver = _Resolver()

    def __setitem__(self, id: str | int, config: Any) -> None:  # noqa: ANN401 - whatever an entry holds
        """Set an entry, such as ``decoder::name``.

        Raises:
            ConfigError: the entry that it is to lie in is not there, or has no entries of its own.
        """
        *parents, key = ReferenceResolver.split_id(id)
        entry, place = self.config, ""
        for parent in parents:
            if isinstance(entry, dict) and parent in entry:
                entry = entry[parent]
            elif isinstance(entry, list) and _is_index(parent, entry):
                entry = entry[int(parent)]
            else:
                raise ConfigError(f"{id}: {_lacks(place, entry, parent)}")
            place = f"{place}::{parent}" if place else parent
        if parents and not isinstance(entry, dict) and not (isinstance(entry, list) and _is_index(key, entry)):
            raise ConfigError(f"{id}: {_lacks(place, entry, key)}")
        super().__setitem__(id, config)

    def parse(self, reset: bool = True) -> None:
        """Put macros in place and tell components, expressions and plain entries apart.

        Raises:
            ConfigError: a macro of something that is not there.
        """
        try:
            super().parse(reset)
        except (LookupError, ValueError, OSError, YAMLError) as error:
            raise ConfigError(f"a macro (%) or relative reference (@::) leads nowhere: {one_line(error)}") from error


class _Resolver(ReferenceResolver):
    """Says of the innermost entry that cannot be resolved where it stands and why."""

    def _resolve_one_item(self, id: str, waiting_list: set[str] | None = None, **kwargs: Any) -> Any:  # noqa: ANN401
        id = self.normalize_id(id)
        item = self.items.get(id)
        if item is None and "default" not in kwargs:
            close = nearest(id, self.items)
            raise ConfigError(f"{id}: there is no such entry" + ("" if close is None else f"; did you mean {close}?"))
        # As it stands in the config: MONAI replaces references before it builds.
        written = None if item is None else item.get_config()
        try:
            return super()._resolve_one_item(id, waiting_list, **kwargs)
        except ConfigError:
            raise
        except Exception as error:
            raise ConfigError(f"{id}: {_failing(item, written)}{_reason(error)}") from error


def _failing(item: ConfigItem | None, written: Any) -> str:  # noqa: ANN401 - whatever an entry holds
    if isinstance(item, ConfigComponent):
        return f"{written['_target_']} cannot be built: "
    return f"{written} cannot be evaluated: " if isinstance(item, ConfigExpression) else ""


def _reason(error: BaseException) -> str:
    while error.__cause__ is not None and str(error).startswith(_WRAPPINGS):
        error = error.__cause__
    return one_line(error)


def _is_index(key: str, entries: list[Any]) -> bool:
    return key.isdecimal() and int(key) < len(entries)


def _lacks(place: str, entry: Any, key: str) -> str:  # noqa: ANN401 - whatever an entry holds
    if isinstance(entry, dict):
        return f"there is no {key} in {place or 'the config'}; {meant(key, entry)}"
    if isinstance(entry, list):
        return f"{place} has {len(entry)} entries, numbered from 0, but none that is {key}"
    return f"{place} is {'null' if entry is None else repr(entry)} and has no {key}; replace {place} as a whole"
