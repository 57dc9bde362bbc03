"""How far the runs over an output folder are, from nothing but what lies in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rankseg_med.studies import Sidecar, StudyError
from rankseg_med.workflows.run_record import RunRecord


@dataclass(frozen=True)
class FolderStatus:
    """State of an output folder.

    Attributes:
        runs: By file name, the records of runs, whole or shards.
        sidecars: By case id, all that there are.
        pending: Cases of a run without a sidecar yet.
        unreadable: Files that are neither, with the reason.
    """

    runs: dict[str, RunRecord]
    sidecars: dict[str, Sidecar]
    pending: list[str]
    unreadable: dict[str, str]

    def with_status(self, status: str) -> list[Sidecar]:
        """The sidecars of a status, oldest first."""
        return sorted((s for s in self.sidecars.values() if s.status == status), key=lambda sidecar: sidecar.time)


def folder_status(folder: Path) -> FolderStatus:
    """Read the records in an output folder; a file that cannot be read is named and hides nothing.

    Raises:
        StudyError: There is no such folder, or no record in it.
    """
    if not folder.is_dir():
        raise StudyError(f"{folder}: there is no such folder")
    runs: dict[str, RunRecord] = {}
    sidecars: dict[str, Sidecar] = {}
    unreadable: dict[str, str] = {}
    for path in sorted(folder.glob("*.json")):
        if path.name.startswith("."):
            continue
        try:
            if path.stem == "run" or path.stem.startswith("run-"):
                runs[path.name] = RunRecord.read(path)
                continue
        except (StudyError, OSError):
            pass  # a case may be called run-1
        try:
            sidecar = Sidecar.read(path)
            sidecars[sidecar.case_id] = sidecar
        except FileNotFoundError:
            continue  # it was being replaced
        except (StudyError, OSError) as error:
            unreadable[path.name] = str(error)
    if not runs and not sidecars:
        raise StudyError(
            f"{folder}: holds no record of a run; is it the output folder of predict, decode or pseudo-label?"
        )
    planned = {case_id for run in runs.values() for case_id in run.cases}
    return FolderStatus(runs, sidecars, sorted(planned - sidecars.keys()), unreadable)
