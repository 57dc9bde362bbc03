"""Overlays laid over a base, and what keys they may have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai.bundle import ReferenceResolver
from monai.bundle.utils import MERGE_KEY, merge_kv

from rankseg_med.configuration.components import TARGET, check_component
from rankseg_med.configuration.error import ConfigError, meant
from rankseg_med.configuration.files import BASES, base_file, read_config_file
from rankseg_med.configuration.named_losses import LOSSES
from rankseg_med.configuration.named_networks import NETWORKS
from rankseg_med.configuration.parser import Config
from rankseg_med.configuration.references import SEPARATOR, is_referred_to

# What overlays add to the bases: the data set's own, semi-supervised training's, and pre-training's.
_OVERLAY_KEYS = frozenset(
    {
        "label_names",
        "structures",
        "spacing_mm",
        "roi_size",
        "intensity",
        "network_def",
        "teacher",
        "pseudo_labeller",
        "method",
        "classifiers",
        "explainer",
    }
    | {"extends", "_meta_"}
)
# What MONAI's own runner alone reads (docs/bundles.md): no part of any job of ours.
_RUNNERS = frozenset(
    {"runner_imports", "initialize", "run", "dataset_dir", "labels_dir", "manifest", "fold", "output_dir", "checkpoint"}
    | {"dataset", "dataloader", "postprocessing", "handlers", "key_metric", "evaluator"}
    | {"train", "validate", "val_interval"}
)
# Where a key of another job would change the result, if the job had it; all others are passed over.
_NO_USE: dict[str, dict[str, str]] = {
    "inference": {"region_channels": "networks are predicted with exclusive classes; regions are a decoder's"},
    "train": {
        "region_channels": "networks are trained on exclusive classes",
        "calibration": "one is trained as teacher::calibration alone",
    },
    "decode": {
        "calibration": "stored probabilities have no checkpoint to read it from; give the path of a file",
        "grid": "stored probabilities are decoded on the grid that they are on",
        "ensemble": "a study has one file of probabilities",
    },
}
_NAMED = {parts.key: parts for parts in (LOSSES, NETWORKS)}


@dataclass(frozen=True)
class Layers:
    """A base with overlays over it.

    Attributes:
        everything: with the entries of the other jobs' bases, which an overlay that serves several jobs may refine.
        kept: keys of the job's own base, and of what overlays define.
        laid: keys of what overlays define or refine.
    """

    everything: Config
    kept: frozenset[str]
    laid: frozenset[str]


def lay_over(
    job: str, overlays: Sequence[tuple[Path, Mapping[str, Any]]], changes: Mapping[str, Any] | None = None
) -> Layers:
    """Lay overlays over the base of a job, the first at the bottom.

    Entries of a file count from top to bottom, so ``inferer::overlap`` may refine an ``inferer`` above it. An entry of
    a name of its own must be referred to by another. Names of parts are replaced by what they stand for.

    Args:
        job: name of the job.
        overlays: files and what they hold.
        changes: entries over all files, such as ``--set`` on the command line gives.

    Raises:
        ConfigError: a key that no job has, nothing refers to, or the job has no use for; an entry that is to be refined
            and is not there; one that refines what a later one of the same file replaces; a component replaced by an
            entry without target.
    """
    bases = {name: _of_jobs(read_config_file(base_file(name))) for name in BASES}
    known = _OVERLAY_KEYS.union(*bases.values())
    everything = Config({key: value for base in BASES for key, value in bases[base].items()} | bases[job])
    kept, laid, own = set(bases[job]), set[str](), dict[str, str]()
    for path, content in [*overlays, ("--set", dict(changes or {}))]:
        try:
            entries = _without_names(content)
            _check_order(entries)
            for key, value in _of_jobs(entries).items():
                root, *rest = _id_of(key).split(SEPARATOR)
                if root not in known and root not in everything and (rest or key != root):
                    raise ConfigError(f"{key}: there is no {root}; {meant(root, known)}")
                _lay(key, value, everything)
                laid.add(root)
                if key == root:
                    kept.add(key)
                    own |= {} if key in known else {key: str(path)}
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
    for key, path in own.items():
        if not is_referred_to(key, everything):
            raise ConfigError(f"{path}: {key}: no job has such a key, and no entry refers to it; {meant(key, known)}")
    return Layers(everything, frozenset(kept), frozenset(laid))


def check_use(job: str, layers: Layers) -> None:
    """Refuse what a job would pass over although it is meant to change the result.

    Raises:
        ConfigError: there is such an entry, and it is not null.
    """
    config = layers.everything
    for key, reason in _NO_USE[job].items():
        if key not in layers.kept or config[key] is None:
            continue
        if (job, key) == ("decode", "calibration") and isinstance(config[key], str):
            continue
        # Where a teacher is calibrated in training, the same config may say that prediction is to use it.
        if (job, key) != ("train", "calibration") or config.get("teacher::calibration") is None:
            raise ConfigError(f"{key}: means nothing to {job}: {reason}; leave it out")
    if job == "train" and config.get("method") is not None and "loss" in layers.laid:
        target = config.get(f"method::{TARGET}", config["method"])
        raise ConfigError(f"loss: means nothing beside a method: {target} has a loss of its own; leave one of them out")


def _without_names(content: Mapping[str, Any]) -> dict[str, Any]:
    """A file's entries, with the names of parts replaced by what they stand for."""
    entries = dict[str, Any]()
    for key, value in content.items():
        parts = _NAMED.get(key)
        if parts is None or not parts.are_named_by(value):
            entries[key] = value
        elif parts.entry != key and parts.entry in content:
            raise ConfigError(f"{key}: stands for {parts.entry}, which stands there too; leave one of them out")
        else:
            entries[parts.entry] = parts.expanded(value)
    return entries


def _of_jobs(content: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if _id_of(key).split(SEPARATOR)[0] not in _RUNNERS}


def _id_of(key: str) -> str:
    return str(ReferenceResolver.normalize_id(key.removeprefix(MERGE_KEY)))


def _check_order(content: Mapping[str, Any]) -> None:
    before: list[str] = []
    for key in content:
        id = _id_of(key)
        if not key.startswith(MERGE_KEY):
            for other in before:
                if other == id:
                    raise ConfigError(f"{id} stands twice")
                if other.startswith(id + SEPARATOR):
                    raise ConfigError(f"{other} stands above {id}, which replaces it; write it below")
        before.append(id)


def _lay(key: str, value: object, config: Config) -> None:
    id = _id_of(key)
    below = config.get(id)
    if key.startswith(MERGE_KEY):
        if not isinstance(value, dict | list) or type(below) is not type(value):
            raise ConfigError(f"{key}: adds entries to entries, or items to a list; got {value!r} for {below!r}")
    elif isinstance(value, dict) and TARGET not in value and isinstance(below, dict) and TARGET in below:
        check_component(id, {**below, **value}, config.locator)
        one = next(iter(value), "argument")
        raise ConfigError(f"{id}: replaces all of {id}, but lacks a {TARGET}; to change one value, write {id}::{one}")
    merge_kv(config, key, value)
