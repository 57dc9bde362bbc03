"""Cases that a network predicts as they are asked for: what `tune` and `ab` take in place of stored probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias, TypedDict

import typer

if TYPE_CHECKING:
    from rankseg_med.evaluation import NetworkCase
    from rankseg_med.studies import NnunetLabels

CheckpointOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--checkpoint", help="Weights of a network to run, which needs --config; several: their mean."),
]


class Pairing(TypedDict):
    """How probabilities or images are paired with references."""

    data_root: Path | None
    fold: int | None
    patients: str | None


def network_cases(
    images: Path,
    references: Path,
    *,
    config: str | None,
    checkpoint: Sequence[str],
    device: str,
    channels: int | None,
    regions: Mapping[str, Sequence[int]] | None,
    pairing: Pairing,
) -> tuple[list[NetworkCase], NnunetLabels]:
    """The cases, and what a network that a config describes finds in them.

    Raises:
        typer.BadParameter: There is no config.
        ConfigError: It names no classes, or asks for what cannot be compared; see `Network.from_config`.
    """
    from rankseg_med.configuration import load_config
    from rankseg_med.evaluation import Network, find_network_cases, structures_of_config
    from rankseg_med.networks import shipped_checkpoint

    if config is None:
        raise typer.BadParameter("--checkpoint needs --config, which says what network it is of")
    settings = load_config("inference", config, device=device)
    structures = structures_of_config(settings, regions)
    if structures is None:
        raise typer.BadParameter(f"--config {config} has no label_names, which say what the network finds")
    network = Network.from_config(settings, [shipped_checkpoint(name) or Path(name) for name in checkpoint])
    return find_network_cases(images, references, network, channels=channels, **pairing), structures


def refuse_unused(given: Mapping[str, bool], when: str) -> None:
    """Raise for an option that is given and would do nothing.

    Args:
        given: Option to whether it is given.
        when: Circumstances, as in "with a network".

    Raises:
        typer.BadParameter: There is one; the message names it.
    """
    for option, is_given in given.items():
        if is_given:
            raise typer.BadParameter(f"{option} means nothing {when}")
