"""Configs: a base per job, an overlay per data set, both MONAI Bundle YAML."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from monai.bundle import ConfigParser

import rankseg_med
from rankseg_med.studies import content_digest

Job = Literal["inference", "train", "decode"]
Device = Literal["auto", "cpu", "cuda"]

_REQUIRED = {
    "inference": (
        "label_names",
        "num_classes",
        "preprocessing",
        "network_def",
        "network",
        "inferer",
        "decoder",
        "grid",
        "ensemble",
        "store",
        "store_folder",
        "cleanup",
    ),
    "train": ("label_names", "num_classes", "preprocessing", "augmentation", "network_def", "loss", "optimizer"),
    "decode": ("decoder", "cleanup", "region_channels", "store", "store_folder"),
}


# Where things are worked out, which is no part of the result.
_NOT_IN_RESULTS = ("device", "store", "store_folder", "bundle_root")


class ConfigError(ValueError):
    """A config that cannot be used; the message says why."""


def load_config(job: Job, overlay: str | Path | None, *, device: Device = "auto") -> ConfigParser:
    """Read a job's base config with an overlay merged over it.

    Args:
        job: ``"inference"``, ``"train"`` or ``"decode"``: which shipped base to start from.
        overlay: Path of a YAML or JSON file, or the name of a shipped config such as ``"demo"``. Its entries replace
            those of the base; ``inferer::overlap: 0.7`` replaces one nested value. An entry ``extends`` names another
            overlay that comes first: a shipped one, or a file relative to this one's folder. Trusted files only:
            expressions that start with ``$`` are run as code. None for the base alone, which is complete for
            ``"decode"``.
        device: ``"auto"`` takes CUDA where there is one.

    Returns:
        The merged config; `parsed` builds its entries.

    Raises:
        ConfigError: No such file or name, not YAML, an id that the job needs is missing, or CUDA was asked for and is
            not there.
    """
    base = _folder() / f"{job}.yaml"
    path = base if overlay is None else find_config(overlay)
    try:
        config = ConfigParser(ConfigParser.load_config_files([base] if overlay is None else [base, *_layers(path)]))
    except Exception as error:
        raise ConfigError(f"{path}: cannot be read as a YAML config ({error})") from error
    missing = [entry for entry in _REQUIRED[job] if entry not in config]
    if missing:
        raise ConfigError(
            f"{path}: lacks {', '.join(missing)}; an overlay of {job}.yaml must define what the base does not "
            "(see configs/demo.yaml)"
        )
    if device != "auto":
        config["device"] = torch.device(device)
    if config.get_parsed_content("device").type == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device cuda was asked for, but PyTorch sees no CUDA device; use --device cpu")
    return config


def digest_of(settings: Mapping[str, Any], files: Sequence[Path] = ()) -> str:
    """Digest of what outputs depend on: settings, but for where they are worked out, and the content of files.

    Args:
        settings: Of a config, unresolved.
        files: Such as weights; their names do not count.

    Returns:
        64 hexadecimal digits.
    """
    kept = {name: value for name, value in settings.items() if name not in _NOT_IN_RESULTS}
    text = json.dumps(kept, sort_keys=True, default=str)
    return hashlib.sha256("\0".join([text, *map(content_digest, files)]).encode()).hexdigest()


def shipped_configs() -> list[str]:
    """Names of the data set overlays that come with the package."""
    return sorted(path.stem for path in _folder().glob("*.yaml") if path.stem not in _REQUIRED)


def find_config(overlay: str | Path, folder: Path | None = None) -> Path:
    """The file of an overlay: a shipped config by its name, else a path.

    Args:
        overlay: Which.
        folder: What a path is relative to; by default where the program runs.

    Raises:
        ConfigError: No such file or name.
    """
    named = _folder() / f"{overlay}.yaml"
    if str(overlay) in shipped_configs():
        return named
    path = Path(overlay) if folder is None else folder / overlay
    if not path.is_file():
        raise ConfigError(f"{path}: no such config file, nor a shipped config ({', '.join(shipped_configs())})")
    return path


def extended_config(overlay: Path) -> Path | None:
    """The file that an overlay extends, if any.

    Raises:
        ConfigError: There is no such file or shipped config.
    """
    extended = ConfigParser.load_config_file(overlay).get("extends")
    return None if extended is None else find_config(extended, overlay.parent)


def _layers(overlay: Path, above: tuple[Path, ...] = ()) -> list[Path]:
    extending = (*above, overlay.resolve())
    if extending[-1] in above:
        raise ConfigError(f"extends itself, by way of {', '.join(path.name for path in extending)}")
    extended = extended_config(overlay)
    return [overlay] if extended is None else [*_layers(extended, extending), overlay]


def _folder() -> Path:
    # In a checkout the configs lie at the repository root, which is a bundle root; the wheel carries them inside.
    package = Path(rankseg_med.__file__).parent
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"
