"""What commands that run a job over studies do: place its outputs, run it, and report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from rankseg_med.cli.console import say
from rankseg_med.cli.interrupts import INTERRUPTED, stopped_by_signals
from rankseg_med.cli.job_options import JobOptions
from rankseg_med.cli.live import LiveRun
from rankseg_med.cli.report import report_at_the_end

if TYPE_CHECKING:
    from rankseg_med.runs import CaseOutcome, CaseT, Job, Shard
    from rankseg_med.studies import LabelMapFormat, Listing, ProbabilityStudy, Study

OneOfMany = TypeVar("OneOfMany", "Study", "ProbabilityStudy")


def placed(listing: Listing[OneOfMany], output: Path, format: LabelMapFormat) -> tuple[Listing[OneOfMany], Path]:
    """The studies, and the folder of their outputs; a file's name in place of a folder's names the only study.

    Raises:
        typer.BadParameter: A file for several studies, or one that label maps are not written to.
    """
    from rankseg_med.studies import BidsFormat, check_case_id

    if output.is_dir() or not output.name.lower().endswith((".nii", ".nii.gz", ".dcm")):
        return listing, output
    if isinstance(format, BidsFormat):
        raise typer.BadParameter(f"--output {output}: a BIDS data set is a folder; give one")
    if not output.name.endswith(format.suffix):
        raise typer.BadParameter(f"--output {output}: label maps of this format are named {format.suffix}")
    if len(listing.studies) + len(listing.faults) != 1:
        count = len(listing.studies) + len(listing.faults)
        raise typer.BadParameter(f"--output {output} is one file, and there are {count} studies; give a folder")
    (study,) = listing.studies
    case_id = check_case_id(output.name.removesuffix(format.suffix))
    return replace(listing, studies=[replace(study, case_id=case_id)]), output.parent


def run_and_report(job: Job[CaseT], listing: Listing[CaseT], options: JobOptions, *, device: str = "") -> None:
    """Run a job on what was listed, show it while it runs, and print what came of it.

    Raises:
        typer.BadParameter: An option that makes no sense.
        typer.Exit: With 130 if the run was stopped by a signal before all cases were worked on, else with 1 if a case
            failed, is stale, or was not started, or if what was listed has faults.
    """
    from rankseg_med.runs import RunOptions, run_job

    stop, shard = Event(), options.shard_of()
    title = job.name if shard is None else f"{job.name} {shard}"
    mine = listing.studies if shard is None else shard.of_cases(listing.studies)
    if not mine:
        say(f"nothing to do: shard {shard} of {len(listing.studies)} studies is empty")
        return
    if listing.ignored:
        shown = ", ".join(path.name for path in listing.ignored[:3]) + (", ..." if len(listing.ignored) > 3 else "")
        say(f"ignored: {len(listing.ignored)} files of {listing.source} that are no images: {shown}")
    if options.dry_run:
        _say_what_would_be_done(job, listing, shard, overwrite=options.overwrite)
        return
    live = LiveRun(title, len(mine), job.stage_names)
    run = RunOptions(
        overwrite=options.overwrite,
        retries=options.retries,
        fail_fast=options.fail_fast,
        executor=options.executor_to_use(),
        stop=stop,
        on_stage=live.on_stage,
        shard=shard,
        device=device,
        refused=[fault.reason for fault in listing.faults],
    )
    outcomes: list[CaseOutcome[CaseT]] = []
    with live, stopped_by_signals(stop):
        for outcome in run_job(job, listing.studies, run):
            live.on_outcome(outcome)
            outcomes.append(outcome)
    _report(job, outcomes, len(mine))
    for reason in run.refused:
        say(f"failed: {reason}")
    if options.report and not stop.is_set():
        report_at_the_end(job.output)
    if len(outcomes) < len(mine) and stop.is_set():
        raise typer.Exit(INTERRUPTED)
    is_short = len(outcomes) < len(mine) or any(outcome.status in ("failed", "stale") for outcome in outcomes)
    if is_short or run.refused:
        raise typer.Exit(1)


def _say_what_would_be_done(job: Job[CaseT], listing: Listing[CaseT], shard: Shard | None, *, overwrite: bool) -> None:
    """Say it of every study.

    Raises:
        typer.Exit: With 1 if a study would be left alone that is not done.
    """
    from rankseg_med.runs import preview

    found = list(preview(job, listing.studies, shard, overwrite=overwrite))
    for case in found:
        say(f"{case.state}: {case.case_id}" + (f": {case.reason}" if case.reason else ""))
    for fault in listing.faults:
        say(f"refused: {fault.reason}")
    counts = Counter(case.state for case in found)
    say(
        f"{len(found)} studies for {job.output}: {counts['todo']} to do, {counts['done']} done before, "
        f"{counts['stale']} stale, {counts['refused'] + len(listing.faults)} refused"
    )
    if counts["todo"] or counts["stale"]:
        most = max(found, key=lambda case: case.memory_bytes)
        say(f"memory: up to {most.memory_bytes / 1e9:.1f} GB for a study ({most.case_id})")
    if counts["stale"] or counts["refused"] or listing.faults:
        raise typer.Exit(1)


def _report(job: Job[Any], outcomes: Sequence[CaseOutcome[Any]], total: int) -> None:
    def of(status: str) -> list[CaseOutcome[Any]]:
        return [outcome for outcome in outcomes if outcome.status == status]

    done, skipped, stale, failed = map(of, ("done", "skipped", "stale", "failed"))
    say(f"{len(done) + len(skipped)} of {total} studies done in {job.output}" + _brackets(skipped, "before"))
    if stale:
        say(f"{len(stale)} stale, left as they are; --overwrite does them again")
    for outcome in stale + failed:
        say(f"{outcome.status}: {outcome.case.case_id}: {outcome.reason}")
    if missing := total - len(outcomes):
        say(f"{missing} not started; run the same command again to go on")


def _brackets(outcomes: Sequence[CaseOutcome[Any]], what: str) -> str:
    return f" ({len(outcomes)} of them {what})" if outcomes else ""
