"""How far the runs over an output folder are, from nothing but what lies in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rankseg_med.runs.plan import RunPlan
from rankseg_med.runs.run_record import RunRecord
from rankseg_med.studies import LOGS, Sidecar, StudyError


@dataclass(frozen=True)
class FolderStatus:
    """State of an output folder.

    Attributes:
        folder: Folder of the records.
        runs: By file name, the records of runs, whole or shards.
        sidecars: By case id, all that there are.
        pending: Cases that are planned, by whatever run or shard, and have no sidecar yet.
        altered: Case id to what is wrong with the outputs of a case that is recorded as done: missing, or of another
            size than they were written with.
        unreadable: File name to reason, of files that should be records.
    """

    folder: Path
    runs: dict[str, RunRecord]
    sidecars: dict[str, Sidecar]
    pending: list[str]
    altered: dict[str, str]
    unreadable: dict[str, str]

    def with_status(self, status: str) -> list[Sidecar]:
        """The sidecars of a status, oldest first."""
        return sorted((s for s in self.sidecars.values() if s.status == status), key=lambda sidecar: sidecar.time)

    @property
    def done(self) -> list[str]:
        """Ids of the cases that are done, with their outputs in place."""
        return [sidecar.case_id for sidecar in self.with_status("done") if sidecar.case_id not in self.altered]

    @property
    def refused(self) -> list[str]:
        """What the runs were given beside their cases and could not work on."""
        return list(dict.fromkeys(reason for run in self.runs.values() for reason in run.refused))

    @property
    def is_complete(self) -> bool:
        """Whether every planned case is done, and nothing is left to look at."""
        return len(self.done) == len(self.sidecars) and not (self.pending or self.unreadable or self.refused)


def folder_status(folder: Path) -> FolderStatus:
    """Read the records in an output folder; a file that cannot be read is named and hides nothing.

    Args:
        folder: Folder of a run's outputs; of an evaluation its own. Records lie in it, or in ``cases`` within, or, of a
            BIDS data set, in ``logs``.

    Raises:
        StudyError: There is no such folder, or no record in it.
    """
    if not folder.is_dir():
        raise StudyError(f"{folder}: there is no such folder")
    for place in (folder, folder / "cases", folder / LOGS):
        status = _status(place)
        if status.runs or status.sidecars or status.pending:
            return status
    raise StudyError(
        f"{folder}: holds no record of a run; is it the output folder of predict, decode, pseudo-label or evaluate?"
    )


def _status(folder: Path) -> FolderStatus:
    runs: dict[str, RunRecord] = {}
    sidecars: dict[str, Sidecar] = {}
    unreadable: dict[str, str] = {}
    planned: list[str] = []
    plan = RunPlan.path_in(folder)
    try:
        planned = RunPlan.read(folder).cases
    except (StudyError, OSError) as error:
        unreadable[plan.name] = str(error)
    for path in _records(folder):
        if path == plan:
            continue
        if path.stem == "run" or path.stem.startswith("run-"):
            with suppress(StudyError, OSError):  # a case may be called run-1
                runs[path.name] = RunRecord.read(path)
                continue
        try:
            sidecar = Sidecar.read(path)
            sidecars[sidecar.case_id] = sidecar
        except FileNotFoundError:
            continue  # it was being replaced
        except (StudyError, OSError) as error:
            unreadable[path.name] = str(error)
    planned += [case_id for run in runs.values() for case_id in run.cases]
    pending = sorted(set(planned) - sidecars.keys())
    altered = {case_id: found for case_id, sidecar in sidecars.items() if (found := _altered(folder, sidecar))}
    return FolderStatus(folder, runs, sidecars, pending, altered, unreadable)


def _records(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.glob("*.json")) if not path.name.startswith("."))


def _altered(folder: Path, sidecar: Sidecar) -> str:
    outputs = [folder / name for name in sidecar.outputs]
    missing = [f"{output.name} is missing" for output in outputs if not output.exists()]
    return "; ".join([*missing, *sidecar.altered(folder, outputs, by_content=False)])
