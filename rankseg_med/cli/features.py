"""`rankseg-med features`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rankseg_med.cli.console import advance, progress_bar, say
from rankseg_med.cli.options import ConfigsOption, DeviceOption, SetOption, parse_changes


def features_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Output folder of train, with a method.")],
    config: ConfigsOption,
    figure: Annotated[Path, typer.Option("--output", "-o", help="Figure to write, *.png or *.pdf, and a *.csv.")],
    checkpoint: Annotated[Path | None, typer.Option(help="Weights. Default: last.pt of the run.")] = None,
    changes: SetOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Draw how a network's features of labelled and of unlabelled training images are distributed, class by class.

    The images are those of the run. Of each, the features before the last layer are averaged over the voxels of each
    class that the network finds, and their first principal component is drawn as a density. Labels are not looked at.
    """
    from rankseg_med.configuration import load_config
    from rankseg_med.evaluation import write_feature_densities
    from rankseg_med.training import LAST, studies_trained_on

    if figure.suffix.lower() not in (".png", ".pdf"):
        raise typer.BadParameter(f"--output {figure}: must be named *.png or *.pdf")
    settings = load_config("inference", config, device=device, changes=parse_changes(changes))
    labelled, unlabelled = studies_trained_on(run)
    with progress_bar("studies", len(labelled) + len(unlabelled)) as bar:
        written = write_feature_densities(
            settings,
            checkpoint or run / LAST,
            {"labelled": labelled, "unlabelled": unlabelled},
            figure,
            on_study=lambda: advance(bar),
        )
    say(f"{', '.join(written.structures)} in {figure}, numbers in {figure.with_suffix('.csv')}")
    if written.left_out:
        say(f"left out, since found in too few images: {', '.join(written.left_out)}")
    if written.failed:
        say(f"{len(written.failed)} studies could not be used: {', '.join(written.failed)}")
        raise typer.Exit(1)
