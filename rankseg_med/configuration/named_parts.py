"""Parts that a config names by one word, such as ``loss: lovasz``, and what the words stand for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rankseg_med.configuration.components import TARGET
from rankseg_med.configuration.error import ConfigError, meant
from rankseg_med.configuration.references import is_written_out


@dataclass(frozen=True)
class NamedParts:
    """Components by name, for one entry of a config.

    Names are replaced when a file is laid over the base, so that whatever reads the config after that, digests and
    records included, sees components; what lies above may refine them as any other.

    Attributes:
        key: Entry that takes a name, or ``{NAME: {argument: value}}``.
        entry: Entry that gets the component.
        components: What each name stands for, with a ``_target_``.
    """

    key: str
    entry: str
    components: Mapping[str, Mapping[str, Any]]

    def are_named_by(self, value: object) -> bool:
        """Whether a value speaks of names: a text, or entries without target, not a component or an expression."""
        if isinstance(value, Mapping):
            return not any(str(key).startswith("_") for key in value)
        return isinstance(value, str) and is_written_out(value)

    def expanded(self, value: str | Mapping[str, Any]) -> dict[str, Any]:
        """The component that a value stands for.

        Raises:
            ConfigError: There is no such name, or not one name with its arguments.
        """
        named = {value: None} if isinstance(value, str) else value
        if len(named) != 1:
            raise ConfigError(f"{self.key}: must name one {self.key}, got {', '.join(map(str, named)) or 'none'}")
        ((name, arguments),) = named.items()
        return self.component(str(name), arguments)

    def component(self, name: str, arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever a config holds
        """What a name stands for, with arguments, if there are any, in place of its own.

        Raises:
            ConfigError: There is no such name, or the arguments are none.
        """
        if name not in self.components:
            hint = "" if arguments is None else f" (to change one argument, write {self.entry}::{name})"
            raise ConfigError(f"{self.key}: there is no {self.key} {name}; {meant(name, self.components)}{hint}")
        if not isinstance(arguments, Mapping | None):
            target = self.components[name][TARGET]
            raise ConfigError(f"{self.key}::{name}: must hold arguments of {target}, got {arguments!r}")
        return {**self.components[name], **(arguments or {})}
