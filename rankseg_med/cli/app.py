"""The commands of the `rankseg-med` program."""

from __future__ import annotations

from typing import Annotated

import typer

from rankseg_med import __version__
from rankseg_med.cli.ab import ab_command
from rankseg_med.cli.cleanup_search import cleanup_search_command
from rankseg_med.cli.compare import compare_command
from rankseg_med.cli.console import configure_logging, say
from rankseg_med.cli.decode import decode_command
from rankseg_med.cli.demo import demo_command
from rankseg_med.cli.evaluate import evaluate_command
from rankseg_med.cli.manifest import manifest_command
from rankseg_med.cli.predict import predict_command
from rankseg_med.cli.pseudo_label import pseudo_label_command
from rankseg_med.cli.status import status_command
from rankseg_med.cli.train import train_command
from rankseg_med.cli.tune import tune_command

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)
app.command("demo")(demo_command)
app.command("predict")(predict_command)
app.command("decode")(decode_command)
app.command("status")(status_command)
app.command("evaluate")(evaluate_command)
app.command("compare")(compare_command)
app.command("ab")(ab_command)
app.command("cleanup-search")(cleanup_search_command)
app.command("tune")(tune_command)
app.command("manifest")(manifest_command)
app.command("train")(train_command)
app.command("pseudo-label")(pseudo_label_command)


def _print_version(wanted: bool) -> bool:
    if wanted:
        say(__version__)
        raise typer.Exit
    return wanted


@app.callback()
def root(
    verbose: Annotated[bool, typer.Option("--verbose", help="Details and tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """Decode segmentation networks for Dice and IoU instead of voxel accuracy."""
    configure_logging(verbose=verbose)
