"""A MONAI Bundle, such as those of the Model Zoo, as an overlay of the inference base."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rankseg_med.configuration.bundle_parts import (
    cleanup_of,
    followed,
    path_preprocessing,
    streaming_inferer,
    target_name,
)
from rankseg_med.configuration.config import Device, checked_config, read_overlays
from rankseg_med.configuration.error import ConfigError
from rankseg_med.configuration.files import read_config_file
from rankseg_med.configuration.parser import Config
from rankseg_med.configuration.references import SEPARATOR, entries_of, references_in
from rankseg_med.studies import content_digest

_PARTS = ("imports", "preprocessing", "inferer", "network_def", "cleanup")
# What the base has of its own; an entry of a bundle that is called so means something else.
_OURS = ("network", "label_names", "grid", "ensemble", "store", "store_folder", "calibration", "decoder")
_EVALUATOR = "SupervisedEvaluator"
_SEGMENTATIONS = ("segmentation", "labels")
# Copies of the network for other programs.
_EXPORTS = (".ts", ".onnx", ".trt")


def load_bundle(
    folder: Path,
    overlays: Sequence[str | Path] = (),
    *,
    device: Device = "auto",
    changes: Mapping[str, Any] | None = None,
) -> tuple[Config, Path]:
    """The config of an inference job, and the weights, of a bundle that segments images into exclusive classes.

    Network, preprocessing and windows are the bundle's. Its argmax is left out, wherever it stands: probabilities are
    carried to the image's grid and decoded there. What its postprocessing does to the label map follows as the cleanup.

    A bundle is trusted like a program: expressions in its config are run as code, and so is what it has in ``scripts``.
    Weights are tensors alone.

    Args:
        folder: Folder with ``configs/inference.json`` (or YAML), ``configs/metadata.json`` and ``models/model.pt``.
        overlays: Files or shipped names of overlays over the bundle, such as what `tune` wrote; the topmost last.
        device: As in `load_config`; the bundle's own ``device`` is passed over.
        changes: Entries that come over the bundle's, such as ``{"inferer::overlap": 0.7}``.

    Returns:
        The config, from which `PredictJob` builds what it needs, and the file of the weights.

    Raises:
        ConfigError: There is no such bundle, or something in it that cannot be done here (prompts, independent
            channels, other inferers); the message says what.
    """
    path = _inference_file(folder)
    try:
        bundle = Config(read_config_file(path))
        bundle["bundle_root"] = str(folder.absolute())
        bundle.parse()
        _check_evaluator(bundle)
        metadata = read_config_file(folder / "configs" / "metadata.json")
        names = _label_names(metadata)
        checkpoint = _checkpoint(folder, bundle)
        settings = _settings(bundle)
        settings["label_names"] = names
        settings["_meta_"] = {
            **{key: metadata[key] for key in ("name", "version") if key in metadata},
            "files": _other_files(folder, checkpoint),
        }
        if any(folder.rglob("*.py")) and str(folder.absolute()) not in sys.path:
            sys.path.insert(1, str(folder.absolute()))  # as MONAI's own runner does
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    config = checked_config(
        "inference", str(path), [(path, settings), *read_overlays(overlays)], device=device, changes=changes
    )
    if (number := config.get_parsed_content("num_classes")) != len(names):
        raise ConfigError(f"{path}: has num_classes {number}, but metadata.json names {len(names)} channels")
    return config, checkpoint


def _inference_file(folder: Path) -> Path:
    candidates = [folder / "configs" / f"inference.{suffix}" for suffix in ("json", "yaml", "yml")]
    found = [path for path in candidates if path.is_file()]
    if not found:
        raise ConfigError(f"{folder}: is no MONAI Bundle that predicts: there is no {candidates[0]}, nor .yaml")
    return found[0]


def _check_evaluator(bundle: Config) -> None:
    evaluator = followed("@evaluator", bundle)
    if evaluator is not None and (name := target_name(evaluator)) != _EVALUATOR:
        raise ConfigError(
            f"evaluator: must be {_EVALUATOR}, which gives the network an image and nothing else, such as prompts, and "
            f"takes one map of classes; got {name}"
        )


def _label_names(metadata: Mapping[str, Any]) -> list[str]:
    """Names of the output's channels, in order; the first is the background."""
    outputs = metadata.get("network_data_format", {}).get("outputs", {})
    pred = outputs.get("pred")
    if not isinstance(pred, Mapping):
        raise ConfigError(f"metadata.json must describe an output pred, got {', '.join(outputs) or 'none'}")
    kind, form = pred.get("type"), pred.get("format")
    if kind != "image" or form not in _SEGMENTATIONS:
        raise ConfigError(
            f"metadata.json calls the output pred {kind} of format {form}; only bundles that segment (image of format "
            f"{' or '.join(_SEGMENTATIONS)}) can be decoded"
        )
    named = {str(channel): str(name) for channel, name in dict(pred.get("channel_def") or {}).items()}
    channels = [str(channel) for channel in range(int(pred.get("num_channels") or len(named)))]
    if named.keys() != set(channels):
        raise ConfigError(
            f"metadata.json must name each of the {len(channels)} channels of pred in channel_def, got "
            f"{', '.join(named) or 'none'}"
        )
    return [named[channel] for channel in channels]


def _settings(bundle: Config) -> dict[str, Any]:
    """What prediction needs of a bundle's config, translated; nothing of its files, loaders and handlers."""
    content = bundle.get()
    missing = [part for part in ("preprocessing", "inferer", "network_def") if part not in content]
    if missing:
        raise ConfigError(f"lacks {', '.join(missing)}, of which a bundle that segments consists")
    settings = {
        **content,
        "preprocessing": path_preprocessing(bundle),
        "inferer": streaming_inferer(bundle),
        "cleanup": cleanup_of(bundle),
    }
    needed = _reached(_PARTS, Config(settings))
    if clash := needed.intersection(_OURS):
        raise ConfigError(f"{min(clash)}: is a name that the prediction needs for itself; rename the bundle's entry")
    return {key: value for key, value in settings.items() if key in needed and key != "device"}


def _reached(ids: Collection[str], config: Config) -> set[str]:
    """Keys of the entries of these names, and of all that they refer to."""
    reached, waiting = set[str](), [id for id in ids if id in config]
    while waiting:
        key = waiting.pop().split(SEPARATOR)[0]
        if key in reached or key not in config:
            continue
        reached.add(key)
        waiting += [id for place, value in entries_of({key: config[key]}) for id in references_in(place, value)]
    return reached


def _checkpoint(folder: Path, bundle: Config) -> Path:
    """The weights that the bundle's own runner would load."""
    loaders = [
        place
        for place, entry in entries_of(bundle.get())
        if isinstance(entry, Mapping) and target_name(entry) == "CheckpointLoader"
    ]
    if loaders:
        path = folder / str(bundle.get_parsed_content(f"{loaders[0]}{SEPARATOR}load_path"))
    else:
        path = folder / "models" / "model.pt"
    for candidate in (path, path.with_suffix(".safetensors")):
        if candidate.is_file():
            return candidate
    if path.with_suffix(".ts").is_file():
        raise ConfigError(
            f"there are no weights {path}; {path.with_suffix('.ts').name} is a TorchScript program, not weights: "
            "predict with --network and a config of your own"
        )
    is_partial = any(folder.glob("large_file*"))
    way = "fetch them with python -m monai.bundle download_large_files" if is_partial else "download the whole bundle"
    raise ConfigError(f"there are no weights {path}; {way}")


def _other_files(folder: Path, checkpoint: Path) -> dict[str, str]:
    """Hashes of files beside config and weights that may make the result, such as the code of a searched architecture.

    Returns:
        Path within the bundle to 64 hexadecimal digits.
    """
    return {
        path.relative_to(folder).as_posix(): content_digest(path)
        for path in _files_in(folder)
        if path.resolve() != checkpoint.resolve()
    }


def _files_in(folder: Path) -> Iterator[Path]:
    models = (path for path in sorted((folder / "models").rglob("*")) if path.suffix not in _EXPORTS)
    yield from (path for path in (*models, *sorted(folder.rglob("*.py"))) if path.is_file())
