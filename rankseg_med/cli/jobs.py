"""What every command that runs a job over studies has in common: options, the run itself, its report."""

from __future__ import annotations

import inspect
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_type_hints

import typer

from rankseg_med.cli.console import say
from rankseg_med.cli.interrupts import INTERRUPTED, stopped_by_signals
from rankseg_med.cli.live import LiveRun
from rankseg_med.cli.options import RESUMING, RUNNING, wrong_options
from rankseg_med.cli.report import report_at_the_end

if TYPE_CHECKING:
    from rankseg_med.executors import Executor
    from rankseg_med.runs import CaseOutcome, CaseT, Job, Shard
    from rankseg_med.studies import LabelMapFormat, Listing, ProbabilityStudy, Study

OneOfMany = TypeVar("OneOfMany", "Study", "ProbabilityStudy")

ExecutorName = Literal["in-process", "processes", "ray"]


@dataclass(frozen=True)
class JobOptions:
    """The common options of a command, as given; a time limit or a number of workers asks for processes."""

    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Do again what was done of other input or settings.", rich_help_panel=RESUMING
        ),
    ] = False
    retries: Annotated[
        int,
        typer.Option(
            min=0, help="Number of times a failed study is tried again, after all others.", rich_help_panel=RESUMING
        ),
    ] = 0
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Do and write nothing; say what would be done, and of what not, why.",
            rich_help_panel=RUNNING,
        ),
    ] = False
    report: Annotated[
        bool,
        typer.Option("--report", help="Write report.html into the output folder at the end.", rich_help_panel=RUNNING),
    ] = False
    fail_fast: Annotated[
        bool,
        typer.Option("--fail-fast", help="Start nothing new after a failure.", rich_help_panel=RUNNING),
    ] = False
    study_timeout: Annotated[
        float | None,
        typer.Option(
            min=0, help="Seconds after which a study fails; runs it in a process of its own.", rich_help_panel=RUNNING
        ),
    ] = None
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="K/N", help="Only the K-th of N parts of the list, K from 1 to N.", rich_help_panel=RUNNING
        ),
    ] = None
    executor: Annotated[
        ExecutorName,
        typer.Option(
            help="This process, processes of their own, or a Ray cluster, which needs the extra 'ray'.",
            rich_help_panel=RUNNING,
        ),
    ] = "in-process"
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes or Ray actors, each with its own network.", rich_help_panel=RUNNING),
    ] = None
    ray_address: Annotated[
        str | None,
        typer.Option(
            help="Address of a Ray cluster, such as auto. Default: one is started here.", rich_help_panel=RUNNING
        ),
    ] = None
    gpus_per_worker: Annotated[
        float, typer.Option(min=0, help="GPUs of each Ray actor; may be a fraction.", rich_help_panel=RUNNING)
    ] = 0.0
    cpus_per_worker: Annotated[
        float | None,
        typer.Option(min=1, help="Cores that Ray sets aside for each actor. Default: one.", rich_help_panel=RUNNING),
    ] = None
    memory_gb: Annotated[
        float | None,
        typer.Option(
            min=0, help="Load the next study only if all under way fit into so much memory.", rich_help_panel=RUNNING
        ),
    ] = None

    def shard_of(self) -> Shard | None:
        """The part that was asked for; None for all.

        Raises:
            typer.BadParameter: It is no part.
        """
        from rankseg_med.runs import Shard

        with wrong_options():
            return None if self.shard is None else Shard.parse(self.shard)

    def executor_to_use(self) -> Executor:
        """How cases are spread.

        Raises:
            typer.BadParameter: An option that the executor has no use for, or a number that means nothing.
        """
        from rankseg_med.executors import InProcess, InProcesses, OnRay

        for option, number in {"--study-timeout": self.study_timeout, "--memory-gb": self.memory_gb}.items():
            if number is not None and not 0 < number < math.inf:
                raise typer.BadParameter(f"{option} must be a positive number, got {number}")
        executor = self.executor
        if executor == "in-process" and not (self.study_timeout is None and self.workers is None):
            executor = "processes"
        unused = {
            "--memory-gb": self.memory_gb is not None and executor == "ray",
            "--ray-address": self.ray_address is not None and executor != "ray",
            "--gpus-per-worker": self.gpus_per_worker > 0 and executor != "ray",
            "--cpus-per-worker": self.cpus_per_worker is not None and executor != "ray",
        }
        for option, is_unused in unused.items():
            if is_unused:
                raise typer.BadParameter(f"{option} means nothing with the executor {executor}")
        memory_budget = None if self.memory_gb is None else int(self.memory_gb * 1e9)
        if executor == "in-process":
            return InProcess(memory_budget)
        if executor == "processes":
            return InProcesses(self.workers or 1, self.study_timeout, memory_budget)
        return OnRay(self.ray_address, self.workers, self.gpus_per_worker, self.cpus_per_worker, self.study_timeout)


def with_job_options(*without: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the fields of `JobOptions` as options of its own; it gets them as ``options``.

    Args:
        without: Fields that mean nothing to the command and stay as they are by default.
    """
    hints = get_type_hints(JobOptions, include_extras=True)
    shared = [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name]
        )
        for field in fields(JobOptions)
        if field.name not in without
    ]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command, eval_str=True)
        own = [parameter for parameter in signature.parameters.values() if parameter.name != "options"]

        def run(**given: Any) -> None:  # noqa: ANN401 - whatever the command takes
            options = JobOptions(**{parameter.name: given.pop(parameter.name) for parameter in shared})
            # Before anything is read: wrong options are found at once.
            options.shard_of()
            options.executor_to_use()
            command(**given, options=options)

        run.__name__, run.__doc__ = command.__name__, command.__doc__
        # What typer looks at.
        run.__signature__ = signature.replace(parameters=[*own, *shared])  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *shared)}
        return run

    return decorate


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
        _say_what_would_be_done(job, listing, shard)
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


def _say_what_would_be_done(job: Job[CaseT], listing: Listing[CaseT], shard: Shard | None) -> None:
    """Say it of every study.

    Raises:
        typer.Exit: With 1 if a study would be left alone that is not done.
    """
    from rankseg_med.runs import preview

    found = list(preview(job, listing.studies, shard))
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
