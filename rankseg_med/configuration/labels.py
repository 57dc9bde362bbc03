"""Whether the labels that cleanup, decoder, pseudo-labeller and region channels speak of exist."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rankseg_med.configuration.components import TARGET, target_of
from rankseg_med.configuration.error import ConfigError, nearest
from rankseg_med.configuration.parser import Config
from rankseg_med.configuration.references import is_plain, references_in
from rankseg_med.decode import RankSEGDecoder, RegionChannels, make_decoder
from rankseg_med.errors import InputError
from rankseg_med.semisupervised import PseudoLabeller
from rankseg_med.transforms import FillLabelHoles, KeepLargestComponent, KeepTouching, RemoveSmallComponents

_REGION_CHANNELS = "region_channels"
_REGIONS = ("regions", _REGION_CHANNELS)
_SPEAK_OF_LABELS = ("cleanup", "decoder", "pseudo_labeller")
# Arguments that hold labels and groups of labels.
_ARGUMENTS: dict[object, tuple[str, ...]] = {
    KeepLargestComponent: ("labels",),
    RemoveSmallComponents: ("labels",),
    FillLabelHoles: ("labels",),
    KeepTouching: ("labels", "organ"),
    PseudoLabeller: ("largest_component",),
    RankSEGDecoder: ("regions",),
    make_decoder: ("regions",),
}


def check_labels(config: Config) -> None:
    """Look at all labels that a config names, but for those that need a component to be built.

    Labels are those of ``label_names`` from 1 on; without names those of ``region_channels``; without either any from 1
    to 255.

    Raises:
        ConfigError: a label that does not exist, something else than a list of labels and groups of labels, or regions
            that no label map can be made of.
    """
    names = dict(enumerate(config.get_parsed_content("label_names"))) if is_plain("label_names", config) else {}
    names.pop(0, None)
    regions = config.get_parsed_content(_REGION_CHANNELS) if is_plain(_REGION_CHANNELS, config) else None
    if regions is not None:
        found = list(_labels_in(_REGION_CHANNELS, regions))
        for label in found:
            _check_label(_REGION_CHANNELS, label, names)
        try:
            RegionChannels.of(regions)
        except InputError as error:
            raise ConfigError(f"{_REGION_CHANNELS}: {error}") from error
        names = names or dict.fromkeys(sorted(set(found)), "")
    for place, value in _arguments_within(config, *_SPEAK_OF_LABELS):
        for label in _labels_in(place, value):
            _check_label(place, label, names)


def _arguments_within(config: Config, *ids: str, above: frozenset[str] = frozenset()) -> Iterator[tuple[str, Any]]:
    """Places and values of all arguments that hold labels, in entries, in what lies in them and what they refer to."""
    for id in ids:
        if id not in config or id in above:
            continue
        entry, inner = config[id], above | {id}
        if isinstance(entry, Mapping | list):
            keys = entry if isinstance(entry, Mapping) else range(len(entry))
            yield from _arguments_within(config, *(f"{id}::{key}" for key in keys), above=inner)
        yield from _arguments_within(config, *references_in(id, entry), above=inner)
        if isinstance(entry, Mapping) and TARGET in entry:
            for argument in _ARGUMENTS.get(target_of(id, entry, config.locator), ()):
                place = f"{id}::{argument}"
                if is_plain(place, config):
                    yield place, config.get_parsed_content(place)


def _labels_in(place: str, value: Any) -> Iterator[Any]:  # noqa: ANN401 - whatever a config holds
    """Labels of a list of labels and groups, of regions groups alone; none of null and of a yes or no to all labels."""
    argument = place.split("::")[-1]
    if value is None or (isinstance(value, bool) and argument == "largest_component"):
        return
    if argument == "organ" and not isinstance(value, list | tuple):
        yield value
        return
    groups_alone = argument in _REGIONS
    if not isinstance(value, list | tuple) or not all(_is_group(entry) or not groups_alone for entry in value):
        kinds = "groups of labels" if groups_alone else "labels and of groups of labels"
        raise ConfigError(f"{place}: must be a list of {kinds}, such as [[1, 2], [2]], got {value!r}")
    for entry in value:
        if entry == []:
            raise ConfigError(f"{place}: has a group without labels, got {value!r}")
        yield from entry if _is_group(entry) else [entry]


def _is_group(entry: object) -> bool:
    return isinstance(entry, list | tuple)


def _check_label(place: str, label: Any, names: Mapping[int, str]) -> None:  # noqa: ANN401 - as above
    is_number = isinstance(label, int) and not isinstance(label, bool)
    if is_number and (label in names if names else 1 <= label <= 255):
        return
    known = [f"{value} ({name})" if name else str(value) for value, name in names.items()]
    close = nearest(label, names.values()) if isinstance(label, str) else None
    hint = [f"; did you mean {value}?" for value, name in names.items() if name == close]
    raise ConfigError(
        f"{place}: there is no label {label!r}; labels are {', '.join(known) or '1 to 255'}{''.join(hint)}"
    )
