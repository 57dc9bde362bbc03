"""Options of the commands that run a job over studies."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import typer

from rankseg_med.cli.options import RESUMING, RUNNING, wrong_options

if TYPE_CHECKING:
    from rankseg_med.executors import Executor
    from rankseg_med.runs import Shard

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
