"""What a job over studies is: described here, spread by executors, recorded in sidecars."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

Status = Literal["done", "skipped", "stale", "failed"]


@runtime_checkable
class Case(Protocol):
    """What a job works on.

    A case whose files may be read in several ways has ``read_as`` too, text that says how, and is another input when it
    is read otherwise.
    """

    @property
    def case_id(self) -> str:
        """Names the outputs; unique in a run."""
        ...


CaseT = TypeVar("CaseT", bound=Case)
_AnyCase = TypeVar("_AnyCase", bound=Case, contravariant=True)


@dataclass(frozen=True)
class Written:
    """What a job's last stage returns of a case.

    Attributes:
        paths: The files that it wrote, each whole.
        details: Entries for the sidecar, such as decisions; plain values that JSON can hold.
    """

    paths: tuple[Path, ...]
    details: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class Job(Protocol[_AnyCase]):
    """What happens to one case, in stages, each busy with another case at the same time.

    A job travels to other processes and machines: it holds settings and paths; what is heavy is made by `build`.

    Attributes:
        name: Such as ``"predict"``.
        results_version: Number that is raised whenever the same input, settings and weights give other outputs than
            before, so that what an older version of the package wrote is not taken for this one's.
        stage_names: Such as ``("load", "predict", "write")``, for those who watch.
        output: Folder that outputs were asked for in.
        records: Folder of the sidecars and of all else that is known of runs; often the same.
        digest: Digest of all settings and weights that the outputs depend on; see `digest_of`.
        settings: The same one by one, id to value as text, so that a stale study can say what has changed.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def results_version(self) -> int: ...  # noqa: D102
    @property
    def stage_names(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def output(self) -> Path: ...  # noqa: D102
    @property
    def records(self) -> Path: ...  # noqa: D102
    @property
    def digest(self) -> str: ...  # noqa: D102
    @property
    def settings(self) -> Mapping[str, str]: ...  # noqa: D102

    def build(self) -> Sequence[Callable[[Any], Any]]:
        """Make the stages, once in every worker; the first takes the case, the last returns `Written`."""
        ...

    def inputs_of(self, case: _AnyCase) -> tuple[Path, ...]:
        """The files that a case's outputs depend on."""
        ...

    def kept_of(self, case: _AnyCase) -> tuple[Path, ...]:
        """The files of a case that no output may replace, whoever asks for it: its inputs, and its reference label."""
        ...

    def outputs_of(self, case: _AnyCase) -> tuple[Path, ...]:
        """The files that a case will have."""
        ...

    def memory_needed(self, case: _AnyCase) -> int:
        """Bytes that a case needs at its worst moment, from the header of its files."""
        ...


def results_digest(job: Job[Any]) -> str:
    """Digest of all that a job's results depend on beside a case's input, as sidecars record it.

    Returns:
        64 hexadecimal digits, of the job's name, the version of its results, its settings and weights.
    """
    return hashlib.sha256(f"{job.name}\0{job.results_version}\0{job.digest}".encode()).hexdigest()
