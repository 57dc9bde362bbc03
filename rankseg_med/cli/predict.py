"""`rankseg-med predict`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

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
from rankseg_med.cli.nnunet_options import (
    ConfigurationOption,
    ExportOption,
    FoldsOption,
    MergeOption,
    MirroringOption,
    NnunetOption,
    StepSizeOption,
    channels_named,
    merged_labels_in,
    models_named,
)
from rankseg_med.cli.options import (
    DECODING,
    CalibrationFileOption,
    ChannelsOption,
    DataRootOption,
    FoldOption,
    JobDeviceOption,
    OptionalConfigsOption,
    SetOption,
    StoreOption,
    parse_changes,
)


@with_job_options()
def predict_command(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT",
            help="Image (NIfTI, NRRD, MetaImage), DICOM series, folder of them, pattern in quotes, or data list.",
        ),
    ],
    output_dir: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the label maps, or a file for one study: file.nii.gz.")
    ],
    format: FormatOption = "nifti",
    seg_type: SegTypeOption = None,
    layout: LayoutOption = "flat",
    probabilities: ProbabilitiesOption = False,
    config: OptionalConfigsOption = None,
    checkpoint: Annotated[
        list[str] | None,
        typer.Option(
            help="Weights: .safetensors, .pt, or a shipped name, such as demo; several are an ensemble. With --nnunet "
            "their name in the folder of a fold; default: checkpoint_final.pth.",
        ),
    ] = None,
    network: Annotated[
        list[Path] | None,
        typer.Option(
            help="Whole network in place of the config's and its weights: TorchScript, .pt2, .onnx, or a folder of "
            "transformers; several are an ensemble."
        ),
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(
            help="Folder of a MONAI Bundle, below --config; its weights, unless --checkpoint names others. Trusted "
            "like a program: its config may hold code."
        ),
    ] = None,
    nnunet: NnunetOption = None,
    folds: FoldsOption = None,
    configuration: ConfigurationOption = None,
    nnunet_export: ExportOption = None,
    mirroring: MirroringOption = None,
    step_size: StepSizeOption = None,
    merge: MergeOption = None,
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
        Literal["mean", "decode", "logits"] | None,
        typer.Option(
            help="Way to decode several checkpoints, or folds of nnU-Net: their mean, for the mean expected score over "
            "them, or, with --nnunet alone and by default there, their mean logits.",
            rich_help_panel=DECODING,
        ),
    ] = None,
    tta: Annotated[
        bool,
        typer.Option("--tta", help="Mean over flips of every axis: eight times the network.", rich_help_panel=DECODING),
    ] = False,
    changes: SetOption = None,
    calibration: CalibrationFileOption = None,
    store: StoreOption = None,
    device: JobDeviceOption = "auto",
    channels: ChannelsOption = None,
    fold: FoldOption = None,
    data_root: DataRootOption = None,
    *,
    options: JobOptions,
) -> None:
    """Predict label maps: one file per study, on the study's own grid.

    A study that is done, of the same image and with the same settings and weights, is skipped: run the same command
    again to go on after an interruption. Exit code 0 only if every study is done; one that fails is recorded and the
    others go on.
    """
    from rankseg_med.configuration import load_bundle, load_config
    from rankseg_med.networks import shipped_checkpoint
    from rankseg_med.studies import list_studies
    from rankseg_med.workflows import NnunetJob, PredictJob

    _check_networks(config, checkpoint, network, bundle, nnunet)
    of_nnunet = {
        **{"folds": folds, "configuration": configuration, "nnunet-export": nnunet_export},
        **{"mirroring": mirroring, "step-size": step_size, "merge": merge},
    }
    if nnunet:
        _refuse({"grid": grid, "tta": tta or None}, "means nothing with --nnunet, which says that itself")
    else:
        _refuse(of_nnunet, "is an option of --nnunet")
        if ensemble == "logits":
            raise typer.BadParameter("--ensemble logits is for --nnunet; give mean or decode")
    weights = network or [shipped_checkpoint(name) or Path(name) for name in checkpoint or []]
    changed = parse_changes(changes)
    if network:
        changed = {"network_def": {"_target_": "rankseg_med.networks.NetworkFile"}} | changed
    if bundle is not None:
        settings, own_weights = load_bundle(bundle, config or [], device=device, changes=changed)
        weights = weights or [own_weights]
    else:
        settings = load_config("decode" if nnunet else "inference", config or None, device=device, changes=changed)
    set_decoder(settings, decoder, coherence, presence)
    if store is not None:
        settings["store"] = store
    if calibration is not None:
        settings["calibration"] = str(calibration)
    models = models_named(nnunet or [], folds, configuration, checkpoint)
    if models and channels is None:
        channels = channels_named(source, models[0].num_images)
    studies = list_studies(source, data_root=data_root, fold=fold, channels=channels)
    inputs_of = {study.case_id: study.images for study in studies.studies}
    written_as = chosen_format(format, seg_type, layout, probabilities, settings.get("structures"), inputs_of)
    studies, output_dir = placed(studies, output_dir, written_as)
    job: PredictJob | NnunetJob
    if models:
        own: dict[str, Any] = {
            "ensemble": ensemble,
            "export": nnunet_export,
            "mirroring": mirroring,
            "step_size": step_size,
        }
        given = {name: value for name, value in own.items() if value is not None}
        job = NnunetJob(settings, models, output_dir, merged_labels=merged_labels_in(merge), format=written_as, **given)
    else:
        for name, value in {"grid": grid, "ensemble": ensemble}.items():
            if value is not None:
                settings[name] = value
        if tta:
            settings["inferer::flip_axes"] = "all"
        job = PredictJob(settings, weights, output_dir, format=written_as)
    run_and_report(job, studies, options, device=str(settings.get_parsed_content("device")))


def _check_networks(
    config: Sequence[str] | None,
    checkpoint: Sequence[str] | None,
    network: Sequence[Path] | None,
    bundle: Path | None,
    nnunet: Sequence[Path] | None,
) -> None:
    """Raise unless networks are named in one way.

    Raises:
        typer.BadParameter: They are in several or in none.
    """
    is_alone = bool(bundle) or bool(nnunet)
    weights = bool(checkpoint) + bool(network)
    if (bundle and nnunet) or (network and is_alone) or (not is_alone and (not config or weights != 1)):
        raise typer.BadParameter(
            "give networks in one way: --config with --checkpoint (weights) or --network (whole), --bundle, or --nnunet"
        )


def _refuse(options: Mapping[str, object], reason: str) -> None:
    """Raise if any of these was given.

    Raises:
        typer.BadParameter: One was.
    """
    if given := [f"--{name}" for name, value in options.items() if value is not None]:
        raise typer.BadParameter(f"{given[0]} {reason}")
