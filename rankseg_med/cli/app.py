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
from rankseg_med.cli.explain import explain_command
from rankseg_med.cli.features import features_command
from rankseg_med.cli.interrupts import ended_at_once_by_interrupts
from rankseg_med.cli.manifest import manifest_command
from rankseg_med.cli.predict import predict_command
from rankseg_med.cli.pseudo_label import pseudo_label_command
from rankseg_med.cli.report import report_command
from rankseg_med.cli.search_loss import search_loss_command
from rankseg_med.cli.status import status_command
from rankseg_med.cli.train import train_command
from rankseg_med.cli.tune import tune_command


def _examples(*lines: str) -> str:
    """What stands below a command's options; an empty line between two keeps them apart."""
    return "\n\n".join(["Examples:", *lines])


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
app.command(
    "demo",
    cls=_Command,
    epilog=_examples("rankseg-med demo -o demo-output", "rankseg-med demo -o demo-output --device cpu"),
)(demo_command)
app.command(
    "predict",
    cls=_Command,
    epilog=_examples(
        "rankseg-med predict scan.nii.gz --config demo --checkpoint demo -o liver.nii.gz",
        "rankseg-med predict imagesTs --nnunet nnUNetTrainer__nnUNetPlans__3d_fullres --folds 0,1 -o labels",
        "rankseg-med predict imagesTs --bundle spleen_ct_segmentation -o labels",
    ),
)(predict_command)
app.command(
    "decode",
    cls=_Command,
    epilog=_examples(
        "rankseg-med decode nnunet_output -o labels",
        "rankseg-med decode nnunet_output -o labels --config tuned.yaml --workers 4",
    ),
)(decode_command)
app.command("status", cls=_Command, epilog=_examples("rankseg-med status labels", "rankseg-med status labels --watch"))(
    status_command
)
app.command(
    "report",
    cls=_Command,
    epilog=_examples(
        "rankseg-med report labels --scores scores",
        "rankseg-med report scores --figures figures --workers 4",
    ),
)(report_command)
app.command(
    "evaluate",
    cls=_Command,
    epilog=_examples(
        "rankseg-med evaluate labels labelsTs --labels 1=liver,2=tumour -o scores",
        "rankseg-med evaluate labels labelsTs --preset kits23 -o scores",
    ),
)(evaluate_command)
app.command(
    "compare",
    cls=_Command,
    epilog=_examples(
        "rankseg-med compare scores_argmax scores_dice",
        "rankseg-med compare scores_argmax scores_dice --metric hd95_mm -o comparison.json",
        "rankseg-med compare scores_argmax scores_dice scores_tuned --tables ranking",
    ),
)(compare_command)
app.command(
    "ab",
    cls=_Command,
    epilog=_examples(
        "rankseg-med ab nnUNetTrainer__nnUNetPlans__3d_fullres labelsTr -o verdict",
        "rankseg-med ab imagesTs labelsTs --config lits --checkpoint best.pt -o verdict",
    ),
)(ab_command)
app.command(
    "cleanup-search",
    cls=_Command,
    epilog=_examples(
        "rankseg-med cleanup-search labels labelsTr -o cleaned.yaml",
        "rankseg-med cleanup-search labels list.json --fold 0 --least-gain 0.001 -o cleaned.yaml",
    ),
)(cleanup_search_command)
app.command(
    "tune",
    cls=_Command,
    epilog=_examples(
        "rankseg-med tune nnUNetTrainer__nnUNetPlans__3d_fullres labelsTr -o tuned.yaml",
        "rankseg-med tune imagesTr labelsTr --config lits --checkpoint best.pt -o tuned.yaml",
    ),
)(tune_command)
app.command(
    "manifest",
    cls=_Command,
    epilog=_examples(
        "rankseg-med manifest imagesTr labelsTr --labels 1=liver,2=tumour -o list.json",
        "rankseg-med manifest --check list.json",
    ),
)(manifest_command)
app.command(
    "train",
    cls=_Command,
    epilog=_examples(
        "rankseg-med train --config lits --manifest list.json -o run",
        "rankseg-med train --config bcp_lits --manifest list.json --labelled 8 -o run --set batch_size=2",
        "rankseg-med train --config lits --manifest list.json --labelled 8 -o run --weights pretrained/last.pt",
    ),
)(train_command)
app.command(
    "search-loss",
    cls=_Command,
    epilog=_examples(
        "rankseg-med search-loss --config loss_proxy_lung_nodules --manifest list.json -o found --workers 4",
        "rankseg-med search-loss --config loss_proxy_lung_nodules --manifest list.json -o found --set loss::metric=BF1",
    ),
)(search_loss_command)
app.command(
    "features",
    cls=_Command,
    epilog=_examples(
        "rankseg-med features run --config bcp_lits -o features.png",
        "rankseg-med features run --config bcp_lits -o features.pdf --device cpu",
    ),
)(features_command)
app.command(
    "explain",
    cls=_Command,
    epilog=_examples(
        "rankseg-med explain images --config classify_lung_nodules --classes classes.csv -o explained",
        "rankseg-med explain list.json --config classify_hippocampus --classes-by largest -o explained",
    ),
)(explain_command)
app.command(
    "pseudo-label",
    cls=_Command,
    epilog=_examples(
        "rankseg-med pseudo-label imagesTs --config bcp_lits --checkpoint best.pt -o pseudo",
        "rankseg-med pseudo-label imagesTs --config bcp_lits --checkpoint best.pt -o pseudo --shard 1/4",
    ),
)(pseudo_label_command)


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
