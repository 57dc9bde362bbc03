"""`rankseg-med evaluate`."""

from __future__ import annotations

from pathlib import Path
from threading import Event
from typing import Annotated, Literal

import typer

from rankseg_med.cli.console import complain, output, say
from rankseg_med.cli.interrupts import INTERRUPTED, stopped_by_signals
from rankseg_med.cli.job_options import JobOptions, with_job_options
from rankseg_med.cli.live import LiveRun
from rankseg_med.cli.options import (
    DataRootOption,
    FoldOption,
    PatientsOption,
    parse_labels,
    parse_regions,
    wrong_options,
)
from rankseg_med.cli.report import report_at_the_end


# Scores are derived: what has changed is scored again unasked, and no GPU is needed.
@with_job_options("overwrite", "gpus_per_worker", "dry_run")
def evaluate_command(
    predictions: Annotated[
        Path, typer.Argument(help="Folder of predicted label maps, BIDS data set, pattern in quotes, or one file.")
    ],
    references: Annotated[
        Path,
        typer.Argument(
            help="Folder of reference label maps, BIDS data set, pattern in quotes, one file, or a data list's labels."
        ),
    ],
    labels: Annotated[
        str | None,
        typer.Option(
            help="Classes to score, as in 1=anterior,2=posterior. Default: as the data list or dseg.tsv says."
        ),
    ] = None,
    regions: Annotated[
        str | None, typer.Option(help="Unions of labels to score, as in kidney=1+2,tumour=2; instead of --labels.")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="Rules of a challenge: nnunet and bcp (with --labels or --regions), kits19, kits23, lits, brats2020 "
            "(enhancing is 4), brats2023 (core 1, oedema 2, enhancing 3), brats-nnunet (oedema 1, core 2, enhancing 3)."
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="With lits: the official script's values, defects too.")
    ] = False,
    metrics: Annotated[
        str | None,
        typer.Option(help="Metrics to compute, as in dice,hd95_mm,lesion_f1; default: the preset's, or all."),
    ] = None,
    missing: Annotated[
        Literal["fail", "empty", "ignore"],
        typer.Option(help="References without a prediction: failures, scored as empty, or left out."),
    ] = "fail",
    resample_to_reference: Annotated[
        bool, typer.Option("--resample-to-reference", help="Bring predictions on another grid to the reference's.")
    ] = False,
    patients: PatientsOption = None,
    output_dir: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for scores, statistics and tables (CSV, JSON, Markdown, LaTeX)."),
    ] = None,
    overlays: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Draw so many cases into the output folder, the worst by the first metric, with both label maps.",
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            help="Images that overlays show: folder, pattern, file or data list. Default: those that the predictions "
            "were made of, as the records beside them say."
        ),
    ] = None,
    fold: FoldOption = None,
    data_root: DataRootOption = None,
    *,
    options: JobOptions,
) -> None:
    """Score label maps: overlap, surface distances (mm) and volumes per case and class, or by a challenge's rules.

    Exit code 0 only if every case on either side was scored, or left out as asked for.
    """
    from rankseg_med.evaluation import UNSCORED, draw_worst_cases, evaluate, find_structures, plan_evaluation
    from rankseg_med.metrics import PRESETS
    from rankseg_med.report import as_terminal, evaluation_tables
    from rankseg_med.runs import RunOptions
    from rankseg_med.studies import is_data_list, list_studies

    wrong = {
        "--report needs --output, the folder that the report goes to": options.report and output_dir is None,
        "--overlays needs --output, the folder that they go to": overlays is not None and output_dir is None,
        "--overlays needs all scores; give it to the run that gathers what --shard scored": overlays is not None
        and options.shard is not None,
        "--images needs --overlays, the number of cases that are drawn": images is not None and overlays is None,
    }
    for message, is_wrong in wrong.items():
        if is_wrong:
            raise typer.BadParameter(message)
    images_root = data_root if images is not None and is_data_list(images) else None
    if images is not None:
        list_studies(images, data_root=images_root)  # else what is wrong with them is known only once all is scored
    structures = None if regions is None else parse_regions(regions)
    needs_structures = preset is None or (preset in PRESETS and not PRESETS[preset].regions)
    if labels is None and structures is None and needs_structures:
        structures = find_structures(predictions, references)
    with wrong_options():
        plan = plan_evaluation(
            preset=preset,
            labels=None if labels is None else parse_labels(labels),
            regions=structures,
            metrics=None if metrics is None else [name.strip() for name in metrics.split(",")],
            strict=strict,
        )
    stop = Event()
    live = LiveRun("evaluate", None, ("score",))
    with live, stopped_by_signals(stop):
        result = evaluate(
            predictions,
            references,
            plan,
            output=output_dir,
            data_root=data_root,
            fold=fold,
            missing=missing,
            resample_to_reference=resample_to_reference,
            patients=patients,
            shard=options.shard_of(),
            run=RunOptions(
                retries=options.retries,
                fail_fast=options.fail_fast,
                executor=options.executor_to_use(),
                stop=stop,
                on_stage=live.on_stage,
            ),
            on_outcome=live.on_outcome,
        )
    for warning in result.warnings:
        complain(f"warning: {warning}")
    for table in evaluation_tables(result):
        output.print(as_terminal(table))
    if overlays is not None and output_dir is not None and not stop.is_set():
        pictures, faults = draw_worst_cases(output_dir, overlays, images=images, data_root=images_root)
        for fault in faults:
            complain(f"warning: {fault}")
        for picture in pictures:
            say(f"overlay: {picture.path}")
    if options.report and output_dir is not None and not stop.is_set():
        report_at_the_end(output_dir)
    for case_id, reason in result.failures.items():
        complain(f"failed: {case_id}: {reason}")
    if UNSCORED in result.failures.values() and stop.is_set():
        raise typer.Exit(INTERRUPTED)
    if result.failures:
        raise typer.Exit(1)
