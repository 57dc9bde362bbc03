"""The commands of the `rankseg-med` program."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from rankseg_med import __version__
from rankseg_med.cli.ab import ab_command
from rankseg_med.cli.cleanup_search import cleanup_search_command
from rankseg_med.cli.compare import compare_command
from rankseg_med.cli.console import configure_logging, say
from rankseg_med.cli.decode import decode_command
from rankseg_med.cli.demo import demo_command
from rankseg_med.cli.evaluate import evaluate_command
from rankseg_med.cli.interrupts import ended_at_once_by_interrupts
from rankseg_med.cli.manifest import manifest_command
from rankseg_med.cli.predict import predict_command
from rankseg_med.cli.pseudo_label import pseudo_label_command
from rankseg_med.cli.status import status_command
from rankseg_med.cli.train import train_command
from rankseg_med.cli.tune import tune_command


class _Command(TyperCommand):
    """A command that takes what is slow to import once it is clear that it is to run, so that help is there at once."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - click's context, of which typer may have a copy
        with ended_at_once_by_interrupts():
            # PyTorch and MONAI take seconds.
            import rankseg_med.evaluation  # noqa: F401
        return super().invoke(ctx)


app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]}
)
app.command("demo", cls=_Command)(demo_command)
app.command("predict", cls=_Command)(predict_command)
app.command("decode", cls=_Command)(decode_command)
app.command("status", cls=_Command)(status_command)
app.command("evaluate", cls=_Command)(evaluate_command)
app.command("compare", cls=_Command)(compare_command)
app.command("ab", cls=_Command)(ab_command)
app.command("cleanup-search", cls=_Command)(cleanup_search_command)
app.command("tune", cls=_Command)(tune_command)
app.command("manifest", cls=_Command)(manifest_command)
app.command("train", cls=_Command)(train_command)
app.command("pseudo-label", cls=_Command)(pseudo_label_command)


def _print_version(wanted: bool) -> bool:
    if wanted:
        say(__version__)
        raise typer.Exit
    return wanted


@app.callback()
def root(
    verbose: Annotated[bool, typer.Option("--verbose", help="Details and tracebacks.")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress and no messages but warnings, errors and results.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """Decode segmentation networks for Dice and IoU instead of voxel accuracy."""
    if verbose and quiet:
        raise typer.BadParameter("--verbose and --quiet ask for opposite things; give one of them")
    configure_logging(verbose=verbose, quiet=quiet)
