"""`rankseg-med predict`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rankseg_med.cli.decoder_options import CoherenceOption, DecoderOption, PresenceOption, set_decoder
from rankseg_med.cli.jobs import JobOptions, placed, run_and_report, with_job_options
from rankseg_med.cli.options import (
    DECODING,
    RUNNING,
    CalibrationFileOption,
    ConfigsOption,
    DataRootOption,
    FoldOption,
    SetOption,
    known_device,
    parse_changes,
)

if TYPE_CHECKING:
    pass


@with_job_options()
def predict_command(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT",
            help="Image (NIfTI, NRRD, MetaImage), DICOM series, folder of them, pattern in quotes, or data list.",
        ),
    ],
    config: ConfigsOption,
    checkpoint: Annotated[
        list[str],
        typer.Option(help="Weights: .safetensors, .pt, or a shipped name, such as demo; several are an ensemble."),
    ],
    output_dir: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the label maps, or a file.nii.gz for one study.")
    ],
    decoder: DecoderOption = None,
    coherence: CoherenceOption = None,
    presence: PresenceOption = None,
    grid: Annotated[
        Literal["native", "model"] | None,
        typer.Option(
            help="Decode on the image's grid, or on the preprocessed image's: faster, coarser.",
            rich_help_panel=DECODING,
        ),
    ] = None,
    ensemble: Annotated[
        Literal["mean", "decode"] | None,
        typer.Option(
            help="Way to decode several checkpoints: their mean, or for the mean expected score over them.",
            rich_help_panel=DECODING,
        ),
    ] = None,
    tta: Annotated[
        bool,
        typer.Option("--tta", help="Mean over flips of every axis: eight times the network.", rich_help_panel=DECODING),
    ] = False,
    changes: SetOption = None,
    calibration: CalibrationFileOption = None,
    store: Annotated[
        Literal["memory", "disk"] | None,
        typer.Option(help="Where probabilities wait to be decoded.", rich_help_panel=DECODING),
    ] = None,
    device: Annotated[
        str,
        typer.Option(
            callback=known_device, help="Where the network runs: auto, cpu, cuda or cuda:1.", rich_help_panel=RUNNING
        ),
    ] = "auto",
    channels: Annotated[
        int | None,
        typer.Option(min=1, help="Images of a study in a folder: liver_0000, liver_0001, ..."),
    ] = None,
    fold: FoldOption = None,
    data_root: DataRootOption = None,
    *,
    options: JobOptions,
) -> None:
    """Predict label maps: one NIfTI file per study, on the study's own grid.

    A study that is done, of the same image and with the same settings and weights, is skipped: run the same command
    again to go on after an interruption. Exit code 0 only if every study is done; one that fails is recorded and the
    others go on.
    """
    from rankseg_med.configuration import load_config
    from rankseg_med.networks import shipped_checkpoint
    from rankseg_med.studies import list_studies
    from rankseg_med.workflows import PredictJob

    studies = list_studies(source, data_root=data_root, fold=fold, channels=channels)
    studies, output_dir = placed(studies, output_dir)
    settings = load_config("inference", config, device=device, changes=parse_changes(changes))
    set_decoder(settings, decoder, coherence, presence)
    for name, value in {"grid": grid, "ensemble": ensemble, "store": store}.items():
        if value is not None:
            settings[name] = value
    if calibration is not None:
        settings["calibration"] = str(calibration)
    if tta:
        settings["inferer::flip_axes"] = "all"
    checkpoints = [shipped_checkpoint(name) or Path(name) for name in checkpoint]
    job = PredictJob(settings, checkpoints, output_dir)
    run_and_report(job, studies, options, device=str(settings.get_parsed_content("device")))
