"""How the command line says what to decode for, in place of what a config says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from rankseg_med.cli.options import DECODING

if TYPE_CHECKING:
    from rankseg_med.configuration import Config


DecoderOption: TypeAlias = Annotated[
    Literal["dice", "iou", "argmax"] | None,
    typer.Option(
        "--decoder",
        help="Metric to decode for, or argmax. Default: what the config says, which is dice.",
        rich_help_panel=DECODING,
    ),
]
CoherenceOption: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--coherence",
        min=0,
        max=1,
        help="1: the truth is one of the network's level sets; 0: voxels are independent (RankSEG as published). "
        "Default: what the config says, which is 1.",
        rich_help_panel=DECODING,
    ),
]
PresenceOption: TypeAlias = Annotated[
    Literal["always", "maybe"] | None,
    typer.Option(
        "--presence",
        help="Whether every study has every structure (organs, crops around a lesion), or an empty answer can be "
        "right. Default: what the config says, which is maybe.",
        rich_help_panel=DECODING,
    ),
]


def set_decoder(
    settings: Config, decoder: str | None, coherence: float | None, presence: Literal["always", "maybe"] | None
) -> None:
    """Put what was given into the settings of a job.

    Raises:
        typer.BadParameter: Argmax, and an option that it has no use for.
    """
    options = {"coherence": coherence, "presence": presence}
    if decoder == "argmax":
        if given := [name for name, value in options.items() if value is not None]:
            raise typer.BadParameter(f"--decoder argmax has no {' or '.join(given)}; leave it out")
        # The config's options are RankSEG's.
        settings["decoder"] = {"_target_": "rankseg_med.decode.make_decoder", "name": decoder}
        return
    for name, value in {"name": decoder, **options}.items():
        if value is not None:
            settings[f"decoder::{name}"] = value
