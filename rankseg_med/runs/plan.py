"""All cases that a folder is to hold one day, whichever run or shard does them: the file ``plan.json``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from rankseg_med.studies import StudyError, check_regular_file, remove_unfinished, write_text

PLAN = "plan"
"""Name of the file, without ending."""


class RunPlan(BaseModel):
    """What `folder_status` counts against.

    Attributes:
        cases: Ids, of every list that a run over the folder was given, shards or not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cases: list[str]

    @classmethod
    def path_in(cls, folder: Path) -> Path:
        """Where a folder's plan lies."""
        return folder / f"{PLAN}.json"

    @classmethod
    def read(cls, folder: Path) -> RunPlan:
        """Read the plan of a folder; an empty one where there is none.

        Raises:
            StudyError: The file is no plan.
            OSError: It cannot be read.
        """
        path = cls.path_in(folder)
        try:
            path.stat()
            check_regular_file(path)
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return cls(cases=[])
        except ValidationError as error:
            raise StudyError(
                f"{path}: is not the plan of a run ({error.errors()[0]['msg']}); move it out of the output folder"
            ) from error


def record_plan(folder: Path, case_ids: Sequence[str]) -> None:
    """Add cases to the plan of a folder, which all its shards and runs share; nothing is ever taken out of it.

    Raises:
        StudyError: A file in its place is no plan.
        OSError: It cannot be read or written.
    """
    path = RunPlan.path_in(folder)
    remove_unfinished([path])
    planned = RunPlan.read(folder).cases
    # Shards that start at the same moment have the same list; of other runs, one may have replaced what was added.
    while not set(case_ids) <= set(planned):
        planned = list(dict.fromkeys([*planned, *case_ids]))
        write_text(RunPlan(cases=planned).model_dump_json(indent=2) + "\n", path)
        planned = RunPlan.read(folder).cases
