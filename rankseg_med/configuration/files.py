"""Config files: where they are, and what a single one holds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

import rankseg_med
from rankseg_med.configuration.error import ConfigError, nearest, one_line

BASES = ("train", "inference", "decode")
"""Jobs that have a base config of their own."""
_RUNNERS = ("evaluate",)  # overlays for MONAI's own runner alone


def base_file(job: str) -> Path:
    """The shipped base config of a job."""
    return _folder() / f"{job}.yaml"


def shipped_configs() -> list[str]:
    """Names of the data set overlays that come with the package."""
    return sorted(path.stem for path in _folder().glob("*.yaml") if path.stem not in (*BASES, *_RUNNERS))


def find_config(overlay: str | Path, folder: Path | None = None) -> Path:
    """The file of an overlay: a shipped config by its name, else a path.

    Args:
        overlay: which.
        folder: what a path is relative to; by default where the program runs.

    Raises:
        ConfigError: no such file or name, or something else than a file, such as a folder or a pipe.
    """
    shipped = shipped_configs()
    if str(overlay) in shipped:
        return _folder() / f"{overlay}.yaml"
    path = Path(overlay) if folder is None else folder / overlay
    try:
        if path.is_file():
            return path
        exists = path.exists()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    if exists:
        raise ConfigError(f"{path}: must be a file, got a folder, pipe or device")
    close = nearest(str(overlay), shipped)
    hint = "" if close is None else f"; did you mean {close}?"
    raise ConfigError(f"{path}: no such config file, nor a shipped config ({', '.join(shipped)}){hint}")


def extended_configs(overlay: Path) -> list[Path]:
    """The files that an overlay extends, the topmost last.

    Raises:
        ConfigError: there is no such file or shipped config, or the overlay cannot be read.
    """
    named = read_config_file(overlay).get("extends")
    extended = [] if named is None else [named] if isinstance(named, str) else named
    if not isinstance(extended, list) or not all(isinstance(name, str) and name for name in extended):
        raise ConfigError(f"{overlay}: extends must name a shipped config or a file, or list some, got {named!r}")
    try:
        return [find_config(name, overlay.parent) for name in extended]
    except ConfigError as error:
        raise ConfigError(f"{overlay}: extends {error}") from error


def layers_of(overlay: Path, above: tuple[Path, ...] = ()) -> list[Path]:
    """The overlay and all that it extends, in the order in which they are laid over the base.

    Args:
        overlay: file of the topmost layer.
        above: what extends it, resolved.

    Raises:
        ConfigError: a layer cannot be found or read, or extends itself by way of others.
    """
    extending = (*above, overlay.resolve())
    if extending[-1] in above:
        raise ConfigError(f"{overlay}: extends itself, by way of {', '.join(path.name for path in extending)}")
    below = [layer for extended in extended_configs(overlay) for layer in layers_of(extended, extending)]
    return [*below, overlay]


def read_config_file(path: Path) -> dict[str, Any]:
    """What a YAML or JSON file holds, unresolved.

    Raises:
        ConfigError: neither YAML nor JSON by its name or content, not a file that can be read, empty, something else
            than entries with names, or a key that stands twice.
    """
    suffix = path.suffix.lower()
    if suffix not in (".yaml", ".yml", ".json"):
        raise ConfigError(f"{path}: a config is a .yaml, .yml or .json file")
    kind = "JSON" if suffix == ".json" else "YAML"
    try:
        if not path.is_file():
            # Before it is opened, which would wait for whoever writes to a pipe.
            raise OSError("no such file, or a folder, pipe or device")
        text = path.read_text(encoding="utf-8-sig")
        content = _read_json(text) if kind == "JSON" else yaml.load(text, _UniqueKeyLoader)
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read as a {kind} config ({one_line(error)})") from error
    if not isinstance(content, dict):
        found = "an empty file" if content is None else f"a {type(content).__name__}"
        raise ConfigError(f"{path}: cannot be read as a {kind} config (must hold entries, key: value, got {found})")
    unnamed = [key for key in content if not isinstance(key, str) or not key]
    if unnamed:
        raise ConfigError(f"{path}: keys must be text, got {unnamed[0]!r}")
    return content


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML's own rule, which PyYAML leaves out: a key stands once in its mapping."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:  # noqa: ANN401 - untyped in PyYAML
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        # Keys that come out of a merge (<<) are not among them yet: those may be replaced.
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            line = key.start_mark.line + 1
            if key.value in lines:
                raise ValueError(f"{key.value} stands twice, in line {lines[key.value]} and in line {line}")
            lines[key.value] = line
        return node


def _read_json(text: str) -> Any:  # noqa: ANN401 - whatever the file holds
    return json.loads(text, object_pairs_hook=_unique)


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice} stands twice in {{{', '.join(names)}}}")
    return content


def _folder() -> Path:
    # In a checkout the configs lie at the repository root, which is a bundle root; the wheel carries them inside.
    package = Path(rankseg_med.__file__).parent
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"
