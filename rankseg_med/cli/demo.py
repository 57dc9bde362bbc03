"""`rankseg-med demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rankseg_med.cli.console import output, say
from rankseg_med.cli.options import DeviceOption


def demo_command(
    output_dir: Annotated[Path, typer.Option("--output", "-o", help="Folder for everything the demo writes.")],
    device: DeviceOption = "auto",
) -> None:
    """Segment three synthetic CT studies with a shipped network, decoded by argmax and by RankSEG, and score both."""
    from rankseg_med.demo import run_demo
    from rankseg_med.report import as_terminal, comparison_table

    evaluations = run_demo(output_dir, device=device)
    output.print(as_terminal(comparison_table(evaluations)))
    say(
        f"Images, label maps, scores and pictures (overlays/*.png) are in {output_dir}.\n"
        "The network has only ever seen such phantoms: it knows nothing of patients."
    )
    if any(evaluation.failures for evaluation in evaluations.values()):
        raise typer.Exit(1)
