"""Configs: a base per job, an overlay per data set, both MONAI Bundle YAML."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

from rankseg_med.configuration.components import check_components
from rankseg_med.configuration.devices import check_device_name, usable_device
from rankseg_med.configuration.error import ConfigError
from rankseg_med.configuration.files import (
    base_file,
    find_config,
    layers_of,
    read_config_file,
)
from rankseg_med.configuration.labels import check_labels
from rankseg_med.configuration.layers import Layers, check_use, lay_over
from rankseg_med.configuration.parser import Config
from rankseg_med.configuration.references import SEPARATOR, check_references, is_written_out
from rankseg_med.configuration.values import check_values

__all__ = [
    "Config",
    "ConfigError",
    "Device",
    "Job",
    "digest_of",
    "find_config",
    "flat_settings",
    "load_config",
    "usable_device",
]

Job = Literal["inference", "train", "decode"]
Device: TypeAlias = str
"""``auto``, ``cpu``, ``cuda`` or ``cuda:1``."""

_REQUIRED = {
    "inference": ("label_names", "network_def"),
    "train": ("label_names", "network_def"),
    "decode": (),
}
# What jobs read as it stands, so that references and expressions are put in place.
_READ_AS_IT_STANDS = (
    *("label_names", "structures"),
    *("epochs", "iterations_per_epoch", "validate_every", "batch_size", "num_workers", "cache_rate"),
)
# Where things are worked out, which is no part of the result; and what DICOM files say of structures, which a job that
# writes them adds.
_NOT_IN_RESULTS = ("device", "store", "store_folder", "bundle_root", "structures")


def load_config(
    job: Job,
    overlay: str | Path | Sequence[str | Path] | None,
    *,
    device: Device = "auto",
    changes: Mapping[str, Any] | None = None,
) -> Config:
    """Read a job's base config with overlays merged over it, and look for what cannot be right.

    Args:
        job: ``"inference"``, ``"train"`` or ``"decode"``: which shipped base to start from.
        overlay: Path of a YAML or JSON file, or the name of a shipped config such as ``"demo"``. Its entries replace
            those of the base; ``inferer::overlap: 0.7`` replaces one nested value. An entry ``extends`` names another
            overlay that comes first, or lists several: shipped ones, or files relative to this one's folder. Trusted
            files only: expressions that start with ``$`` are run as code. Of several, later ones come over earlier
            ones; what two of them extend is laid once. None for the base alone, which is complete for ``"decode"``.
        device: ``"auto"`` leaves it to the config, which takes CUDA where there is one and it says nothing else.
        changes: entries that come over those of the overlay, such as ``{"inferer::overlap": 0.7}``.

    Returns:
        The merged config; `get_parsed_content` builds its entries, and raises `ConfigError` where that fails.

    Raises:
        ConfigError: No such file or name, not YAML, or a key that stands twice; a key or argument that nothing knows;
            an id that the job needs is missing; a value, a label or a reference that cannot be right; an entry that
            the job would pass over although it is meant to change the result; a device that is not there. The message
            names the file, the entry and, where there is one, the nearest that is known.
    """
    given = [overlay] if isinstance(overlay, str | Path) else list(overlay or [])
    source = ", ".join(map(str, map(find_config, given))) or str(base_file(job))
    return checked_config(job, source, read_overlays(given), device=device, changes=changes)


def read_overlays(overlays: Sequence[str | Path]) -> list[tuple[Path, dict[str, Any]]]:
    """Files of overlays, and what they hold, with all that they extend; the topmost last.

    Raises:
        ConfigError: a file cannot be found or read.
    """
    # Once each: what a second overlay extends as well must not come over the first.
    files = {layer.resolve(): layer for overlay in overlays for layer in layers_of(find_config(overlay))}
    return [(layer, read_config_file(layer)) for layer in files.values()]


def checked_config(
    job: Job,
    source: str,
    overlays: Sequence[tuple[Path, Mapping[str, Any]]],
    *,
    device: Device = "auto",
    changes: Mapping[str, Any] | None = None,
) -> Config:
    """As `load_config`, of overlays that are read already.

    Args:
        job: which base.
        source: what messages name.
        overlays: files and what they hold, the topmost last.
        device: as in `load_config`.
        changes: as in `load_config`.

    Raises:
        ConfigError: as `load_config`.
    """
    layers = lay_over(job, overlays, changes)
    missing = [entry for entry in _REQUIRED[job] if entry not in layers.kept]
    if missing:
        raise ConfigError(
            f"{source}: lacks {', '.join(missing)}; an overlay of {job}.yaml must define what the base does not "
            "(see configs/demo.yaml)"
        )
    try:
        if device != "auto":
            # A word that is no device is wrong, even where it is not used; a device that is not there need not be.
            if is_written_out(layers.everything["device"]):
                check_device_name(layers.everything["device"])
            layers.everything["device"] = usable_device(device)
        return _checked(job, layers)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from error


def _checked(job: Job, layers: Layers) -> Config:
    """What is kept of the layers, after all was looked at that can be without building anything large."""
    check_use(job, layers)
    config = Config({key: value for key, value in layers.everything.get().items() if key in layers.kept})
    # A copy, because macros are put in place there.
    everything = Config(copy.deepcopy(layers.everything.get()))
    check_references(everything, layers.kept)
    everything.get_parsed_content("imports")
    device = everything.get_parsed_content("device")
    found = usable_device(device)
    if isinstance(device, str):
        config["device"] = found
    check_components(everything)
    check_values(everything, is_training=job == "train")
    check_labels(everything)
    for key in layers.kept.intersection(_READ_AS_IT_STANDS):
        config[key] = everything.get_parsed_content(key)
    return config


def digest_of(settings: Mapping[str, Any]) -> str:
    """Digest of what outputs depend on: settings, but for where they are worked out.

    Args:
        settings: Settings of a config, unresolved.

    Returns:
        64 hexadecimal digits.
    """
    text = json.dumps(_of_results(settings), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def flat_settings(settings: Mapping[str, Any]) -> dict[str, str]:
    """The settings that `digest_of` looks at, one by one, for records.

    Args:
        settings: settings of a config, unresolved.

    Returns:
        Id, such as ``"decoder::name"``, to value as JSON has it.
    """
    flat: dict[str, str] = {}

    def walk(id: str, value: object) -> None:
        entries: Iterable[tuple[object, object]]
        if isinstance(value, Mapping) and value:
            entries = value.items()
        elif isinstance(value, list | tuple) and any(isinstance(item, Mapping | list | tuple) for item in value):
            entries = enumerate(value)
        else:
            flat[id] = json.dumps(value, default=str, ensure_ascii=False)
            return
        for key, entry in entries:
            walk(f"{id}{SEPARATOR}{key}" if id else str(key), entry)

    walk("", _of_results(settings))
    return flat


def _of_results(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in _NOT_IN_RESULTS}
