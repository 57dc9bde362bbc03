"""`rankseg-med pseudo-label`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rankseg_med.cli.console import say
from rankseg_med.cli.job_options import JobOptions, with_job_options
from rankseg_med.cli.jobs import run_and_report
from rankseg_med.cli.options import (
    CalibrationFileOption,
    ConfigsOption,
    DataRootOption,
    FoldOption,
    JobDeviceOption,
    SetOption,
    StoreOption,
    parse_changes,
)

if TYPE_CHECKING:
    from rankseg_med.workflows import PseudoLabelList


@with_job_options()
def pseudo_label_command(
    source: Annotated[
        Path, typer.Argument(metavar="STUDIES", help="Image, folder, pattern in quotes, or data list (.json, .csv).")
    ],
    config: ConfigsOption,
    checkpoint: Annotated[list[str], typer.Option(help="Weights of the teacher; of several the mean is decoded.")],
    output_dir: Annotated[Path, typer.Option("--output", "-o", help="Folder of the pseudo-labels.")],
    decoder: Annotated[
        Literal["rankseg", "argmax", "threshold"] | None, typer.Option(help="In place of the pseudo_labeller's.")
    ] = None,
    min_confidence: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Ignore voxels whose label has a lower probability; in place of the config's."),
    ] = None,
    min_expected_dice: Annotated[
        float, typer.Option(min=0, max=1, help="Leave pseudo-labels of lower expected Dice out of the data list.")
    ] = 0.0,
    keep_empty: Annotated[
        bool, typer.Option("--keep-empty", help="List pseudo-labels without foreground too; else they are left out.")
    ] = False,
    confidence: Annotated[
        bool, typer.Option("--confidence", help="Write every voxel's confidence too, 0 where ignored.")
    ] = False,
    soft_labels: Annotated[
        bool, typer.Option("--soft-labels", help="Write the probabilities too, a 4-D NIfTI file.")
    ] = False,
    changes: SetOption = None,
    calibration: CalibrationFileOption = None,
    store: StoreOption = None,
    device: JobDeviceOption = "auto",
    fold: FoldOption = None,
    data_root: DataRootOption = None,
    *,
    options: JobOptions,
) -> None:
    """Make pseudo-labels of whole volumes, and a data list of them that is ready for training.

    One NIfTI file per study, on the study's own grid, with the expected Dice of each label in its sidecar. Studies that
    are done are skipped, as by predict. The data list, data_list/pseudo_labels.json in the output folder, has all that
    the folder holds of these studies, also what other shards did. Labels that the studies may have are not looked at.
    """
    from rankseg_med.configuration import ConfigError, load_config
    from rankseg_med.networks import shipped_checkpoint
    from rankseg_med.studies import list_studies
    from rankseg_med.workflows import Exports, PseudoLabelJob, write_data_list

    listing = list_studies(source, data_root=data_root, fold=fold)
    settings = load_config("inference", config, device=device, changes=parse_changes(changes))
    overrides = {"decoder": decoder, "min_confidence": min_confidence}
    for name, value in overrides.items():
        if value is None:
            continue
        if not settings.get("pseudo_labeller"):
            raise ConfigError(
                f"{', '.join(config)}: has no pseudo_labeller to override; add one as in configs/bcp_lits.yaml"
            )
        settings[f"pseudo_labeller::{name}"] = value
    if calibration is not None:
        settings["calibration"] = str(calibration)
    if store is not None:
        settings["store"] = store
    checkpoints = [shipped_checkpoint(name) or Path(name) for name in checkpoint]
    job = PseudoLabelJob(settings, checkpoints, output_dir, Exports(confidence, soft_labels))
    if options.dry_run:
        run_and_report(job, listing, options)
        return
    stopped: typer.Exit | None = None
    try:
        run_and_report(job, listing, options, device=str(settings.get_parsed_content("device")))
    except typer.Exit as error:
        stopped = error
    written = write_data_list(job, listing.studies, min_expected_dice=min_expected_dice, keep_empty=keep_empty)
    _report(written, min_expected_dice)
    if stopped is not None:
        raise stopped
    # Other shards may yet bring what is lacking.
    if not written.is_written and not written.missing:
        raise typer.Exit(1)


def _report(written: PseudoLabelList, min_expected_dice: float) -> None:
    if written.is_written:
        say(f"{len(written.listed)} pseudo-labels in {written.path}")
    if written.empty:
        ids = ", ".join(written.empty)
        say(f"left out: {len(written.empty)} without foreground, which --keep-empty keeps: {ids}")
    for case_id, expected in written.left_out.items():
        say(f"left out: {case_id}: mean expected Dice {expected:.4f} is below {min_expected_dice}")
    if written.missing:
        say(f"not in the list, since not (yet) done: {len(written.missing)} studies")
    if written.absent:
        classes = ", ".join(written.absent)
        say(f"no data list: none of {len(written.listed)} pseudo-labels has any {classes}; training would unlearn them")
    elif not written.listed:
        say("no data list: there is no pseudo-label to train on")
