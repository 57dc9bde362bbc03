"""What stands in a bundle's config, and what stands for it here: loading, windows, and what becomes of a label map."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from monai.bundle import ConfigComponent, ReferenceResolver
from monai.utils import ensure_tuple

from rankseg_med.configuration.components import TARGET
from rankseg_med.configuration.error import ConfigError
from rankseg_med.configuration.parser import Config
from rankseg_med.configuration.references import SEPARATOR

_SLIDING = ("SlidingWindowInferer", "SlidingWindowInfererAdapt")
# Arguments of MONAI's sliding windows that change memory and speed, not logits; where to compute is the user's choice.
_OF_SPEED = ("device", "sw_device", "progress", "cache_roi_weight_map", "cpu_thresh", "buffer_steps", "buffer_dim")
_LOADS, _CHANNEL_FIRST = "LoadImaged", ("EnsureChannelFirstd", "AddChanneld", "AsChannelFirstd")
_IMAGE = "image"
# In postprocessing: the decoding itself takes the place of some, the job's own writing that of others.
_REPLACED = ("Invertd", "EnsureTyped", "ToTensord", "SaveImaged")
_CLEANUPS = ("KeepLargestConnectedComponentd", "RemoveSmallObjectsd", "FillHolesd", "LabelFilterd")
_OF_DICTIONARIES = ("keys", "allow_missing_keys")


def target_name(entry: Any) -> str:  # noqa: ANN401 - whatever an entry holds
    """Name of what an entry builds: bare if it is MONAI's, whatever module it was named by; else in full."""
    if not isinstance(entry, Mapping):
        return str(entry)
    target = str(entry.get(TARGET, ""))
    return target.split(".")[-1] if target.startswith("monai.") else target


def followed(value: Any, bundle: Config) -> Any:  # noqa: ANN401 - whatever an entry holds
    """The entry that a plain reference (``@id``) leads to, by way of others; None if there is none; else the value."""
    while isinstance(value, str) and value.startswith("@"):
        value = bundle.get(ReferenceResolver.normalize_id(value[1:]))
    return value


def streaming_inferer(bundle: Config) -> dict[str, Any]:
    """Our inferer of the same windows.

    Raises:
        ConfigError: It is another than a sliding window or the whole volume at once, or gives the network more than
            the window.
    """
    inferer = followed("@inferer", bundle)
    name = target_name(inferer)
    ours = {TARGET: "rankseg_med.inference.StreamingInferer", "sw_device": "@device"}
    if name == "SimpleInferer":
        return {**ours, "roi_size": [0, 0, 0]}
    if name not in _SLIDING:
        raise ConfigError(f"inferer: must be {' or '.join(_SLIDING)} or SimpleInferer, got {name}")
    if inferer.get("with_coord"):
        raise ConfigError("inferer::with_coord: the network must take windows alone, not their places too")
    ours |= {key: value for key, value in inferer.items() if key not in (TARGET, "with_coord", *_OF_SPEED)}
    return {**ours, "roi_size": [ours["roi_size"]] * 3} if isinstance(ours.get("roi_size"), int) else ours


def path_preprocessing(bundle: Config) -> dict[str, Any]:
    """The preprocessing, with our loading: every format that the package reads, checked, channel first.

    Raises:
        ConfigError: It is no list of transforms, or does not load an image of that name.
    """
    transforms: list[Any] = []
    loads = False
    for place, entry in _transforms("preprocessing", bundle):
        if target_name(entry) == _LOADS:
            keys = bundle.get_parsed_content(f"{place}{SEPARATOR}keys")
            if ensure_tuple(keys) != (_IMAGE,):
                raise ConfigError(f"{place}: must load the key {_IMAGE} alone, got {keys}")
            transforms.append({TARGET: "rankseg_med.transforms.LoadStudyd", "keys": _IMAGE})
            loads = True
        elif target_name(entry) not in _CHANNEL_FIRST:
            transforms.append(entry)
    if not loads:
        raise ConfigError(f"preprocessing: must load the image with {_LOADS}")
    return {TARGET: "Compose", "transforms": transforms}


def cleanup_of(bundle: Config) -> dict[str, Any] | None:
    """What the postprocessing does to the label map once it is there; None if nothing.

    Raises:
        ConfigError: There is no argmax of exclusive classes to replace, or a step whose place cannot be taken.
    """
    cleanups: list[dict[str, Any]] = []
    is_label_map = False
    for place, entry in _transforms("postprocessing", bundle):
        name = target_name(entry)
        if name == "Activationsd" and not is_label_map:
            if entry.get("sigmoid") or entry.get("other"):
                raise ConfigError(f"{place}: channels must be exclusive classes by softmax, got {_options(entry)}")
        elif name == "AsDiscreted" and not is_label_map and _is_argmax(entry):
            is_label_map = True
        elif name in _CLEANUPS and is_label_map:
            options = {key: value for key, value in entry.items() if key not in _OF_DICTIONARIES}
            cleanups.append({**options, TARGET: f"monai.transforms.{name.removesuffix('d')}"})
        elif name not in _REPLACED:
            when = "label maps" if is_label_map else "probabilities"
            raise ConfigError(f"{place}: it is not known what {name} ({_options(entry)}) does to {when}")
    if not is_label_map:
        raise ConfigError("postprocessing: has no argmax (AsDiscreted) that decoding could take the place of")
    return {TARGET: "Compose", "transforms": cleanups} if cleanups else None


def _transforms(id: str, bundle: Config) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The transforms of a `Compose` that are not disabled, with their places."""
    compose = followed(f"@{id}", bundle)
    listed = followed(compose.get("transforms"), bundle) if isinstance(compose, Mapping) else None
    if not isinstance(listed, list) or target_name(compose) != "Compose":
        raise ConfigError(f"{id}: must be Compose of a list of transforms, got {compose!r:.80}")
    for number, entry in enumerate(listed):
        place = f"{id}{SEPARATOR}transforms{SEPARATOR}{number}"
        transform = followed(entry, bundle)
        if not isinstance(transform, Mapping):
            raise ConfigError(f"{place}: must be a transform with a {TARGET}, got {entry!r}")
        if not ConfigComponent(transform, place, bundle.locator).is_disabled():
            yield place, transform


def _is_argmax(entry: Mapping[str, Any]) -> bool:
    return any(ensure_tuple(entry.get("argmax")))


def _options(entry: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in entry.items() if key not in (TARGET, *_OF_DICTIONARIES))
