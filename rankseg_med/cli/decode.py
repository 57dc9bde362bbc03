"""`rankseg-med decode`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rankseg_med.cli.decoder_options import CoherenceOption, DecoderOption, PresenceOption, set_decoder
from rankseg_med.cli.format_options import (
    FormatOption,
    LayoutOption,
    ProbabilitiesOption,
    SegTypeOption,
    chosen_format,
)
from rankseg_med.cli.job_options import JobOptions, with_job_options
from rankseg_med.cli.jobs import placed, run_and_report
from rankseg_med.cli.options import (
    RUNNING,
    AxesOption,
    CalibrationFileOption,
    RegionChannelsOption,
    SetOption,
    StoreOption,
    known_device,
    parse_changes,
    parse_regions,
)


@with_job_options()
def decode_command(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT",
            help="Probabilities, .npz, .npy or 4-D NIfTI, or a folder of them: nnU-Net's output.",
        ),
    ],
    output_dir: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the label maps, or a file for one study: file.nii.gz.")
    ],
    format: FormatOption = "nifti",
    seg_type: SegTypeOption = None,
    layout: LayoutOption = "flat",
    probabilities: ProbabilitiesOption = False,
    images: Annotated[
        Path | None,
        typer.Option(help="Image, folder or data list that says where arrays lie. Default: NIfTI files beside them."),
    ] = None,
    config: Annotated[
        list[str] | None,
        typer.Option(
            help="Config file (trusted: it may hold code) or shipped name: cleanup, decoder. Repeatable: later ones "
            "come over earlier ones."
        ),
    ] = None,
    decoder: DecoderOption = None,
    coherence: CoherenceOption = None,
    presence: PresenceOption = None,
    region_channels: RegionChannelsOption = None,
    axes: AxesOption = None,
    changes: SetOption = None,
    calibration: CalibrationFileOption = None,
    store: StoreOption = None,
    device: Annotated[
        str,
        typer.Option(
            callback=known_device,
            help="Where they are decoded: cpu, cuda, cuda:1. Default: as the config says, or cpu.",
            rich_help_panel=RUNNING,
        ),
    ] = "auto",
    *,
    options: JobOptions,
) -> None:
    """Decode stored probabilities: one label map per study, on the study's own grid.

    Such as `nnUNetv2_predict --save_probabilities` writes them. A study that is done, of the same files and with the
    same settings, is skipped: run the same command again to go on after an interruption. Exit code 0 only if every
    study is done; one that fails is recorded and the others go on.
    """
    from rankseg_med.configuration import load_config
    from rankseg_med.studies import list_probabilities, read_nnunet_labels
    from rankseg_med.workflows import DecodeJob

    studies = list_probabilities(source, images, axes)
    settings = load_config("decode", config, device=device, changes=parse_changes(changes))
    inputs_of = {study.case_id: study.paths for study in studies.studies}
    written_as = chosen_format(format, seg_type, layout, probabilities, settings.get("structures"), inputs_of)
    studies, output_dir = placed(studies, output_dir, written_as)
    set_decoder(settings, decoder, coherence, presence)
    if region_channels is not None:
        settings["region_channels"] = [list(labels) for labels in parse_regions(region_channels).values()]
    if calibration is not None:
        settings["calibration"] = str(calibration)
    if store is not None:
        settings["store"] = store
    labels = read_nnunet_labels(source if source.is_dir() else source.parent)
    job = DecodeJob(settings, output_dir, labels, format=written_as)
    run_and_report(job, studies, options, device=str(settings.get_parsed_content("device")))
