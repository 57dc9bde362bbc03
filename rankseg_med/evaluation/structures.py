"""What the channels of stored probabilities stand for, and what of them is scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rankseg_med.decode import RegionChannels
from rankseg_med.errors import InputError
from rankseg_med.studies import (
    NnunetLabels,
    ProbabilityStudy,
    StudyError,
    count_channels,
    read_nnunet_labels,
)


def structures_of(
    probabilities: Path,
    study: ProbabilityStudy,
    *,
    labels: Mapping[int, str] | None = None,
    regions: Mapping[str, Sequence[int]] | None = None,
    region_channels: Mapping[str, Sequence[int]] | None = None,
) -> NnunetLabels:
    """What the channels are and which structures they make, from what a user says, or else nnU-Net's ``dataset.json``.

    Args:
        probabilities: File or folder that the studies were found in.
        study: One of them, whose channels are counted.
        labels: Value to name of exclusive classes.
        regions: Name to labels of unions of exclusive classes: what there is to score, and to decode for.
        region_channels: Name to labels of channels that are regions by sigmoid, in their order.

    Returns:
        Names with labels, the number of channels, and what each stands for if they are regions by sigmoid. Where
        nothing says more, every foreground class, named ``label 1``, ``label 2``, ...

    Raises:
        StudyError: ``dataset.json`` is not nnU-Net's, or a label is no class.
        ValueError: It is said twice what there is, region channels make no label map, or ``dataset.json`` contradicts
            it.
    """
    if sum(given is not None for given in (labels, regions, region_channels)) > 1:
        raise InputError("labels, regions and region channels all say what there is; give one of them")
    channels = count_channels(study)
    if region_channels is not None:
        names = {name: tuple(values) for name, values in region_channels.items()}
        return NnunetLabels(names, channels, RegionChannels.of(names.values()))
    said = read_nnunet_labels(probabilities if probabilities.is_dir() else probabilities.parent)
    if said is not None and labels is None and regions is None:
        return said
    if said is not None and said.regions is not None:
        raise InputError("dataset.json says that the channels are regions by sigmoid; leave out labels and regions")
    if labels is not None:
        names = {name: (label,) for label, name in labels.items()}
    elif regions is not None:
        names = {name: tuple(values) for name, values in regions.items()}
    else:
        names = {f"label {label}": (label,) for label in range(1, channels)}
    strangers = sorted({label for values in names.values() for label in values if not 1 <= label < channels})
    if strangers:
        raise StudyError(
            f"{study.files[0]}: has {channels} channels, the background among them, so labels are 1 to {channels - 1}; "
            f"got {', '.join(map(str, strangers))}"
        )
    return NnunetLabels(names, channels, None)


def names_by_label(structures: Mapping[str, Sequence[int]]) -> dict[int, str]:
    """Each label by the smallest structure that has it.

    Args:
        structures: Name to labels.
    """
    by_size = sorted(structures.items(), key=lambda named: -len(named[1]))
    return {label: name for name, labels in by_size for label in labels}
