"""A search on disk: the file ``search.json``, from which it goes on."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from rankseg_med.loss_search.settings import SearchSettings
from rankseg_med.loss_search.steps import Step
from rankseg_med.studies import StudyError, write_text
from rankseg_med.training import TrainingRecord

SEARCH = "search.json"


class SearchRecord(BaseModel):
    """A search: what is trained, how is searched, and what was tried so far.

    Attributes:
        task: The proxy task; its validation studies are those that are scored. Its sessions are the search's: their
            iteration is the number of samples that were tried before.
        settings: How is searched.
        start: Parameters that the search starts from.
        steps: In their order; the last may be under way.
    """

    model_config = ConfigDict(frozen=True)

    task: TrainingRecord
    settings: SearchSettings
    start: list[float]
    steps: list[Step] = []

    @classmethod
    def read(cls, path: Path) -> SearchRecord:
        """Read a record.

        Raises:
            StudyError: The file is none.
            OSError: It cannot be read.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise StudyError(f"{path}: is not the record of a search ({error.errors()[0]['msg']})") from error

    def write(self, path: Path) -> None:
        """Write it, whole or not at all."""
        write_text(self.model_dump_json(indent=1) + "\n", path)

    @property
    def tried(self) -> int:
        """How many losses were tried."""
        return sum(len(step.trials) for step in self.steps)

    @property
    def is_complete(self) -> bool:
        """Whether all were."""
        return self.tried == self.settings.steps * self.settings.samples

    @property
    def why_all_diverged(self) -> list[str]:
        """The reason of each training; none if only some diverged."""
        reasons = [trial.reason for step in self.steps for trial in step.trials.values()]
        return reasons if all(reasons) else []

    def in_session(self, device: str) -> SearchRecord:
        """The record with one more session, which starts now."""
        task = self.task.in_session(device, int(self.task.config["epochs"]), self.tried)
        return self.model_copy(update={"task": task})

    def check_same(self, asked: SearchRecord, folder: Path, device: str) -> None:
        """Make sure that a search goes on as it was started.

        Args:
            asked: What is to go on.
            folder: Folder of the search, for the message.
            device: Where it is to go on; of the same type as before.

        Raises:
            StudyError: Another one is asked for; it names everything that differs.
        """
        then, wanted = (
            {**asdict(record.settings), "epochs": record.task.config.get("epochs"), "start": record.start}
            for record in (self, asked)
        )
        of_settings = [f"{key}: was {then[key]}, is now {wanted[key]}" for key in then if then[key] != wanted[key]]
        now, before = torch.device(device).type, [torch.device(session.device).type for session in self.task.sessions]
        if before and not self.is_complete and now != before[-1]:
            of_settings.append(f"device: was {before[-1]}, is now {now}")
        if differences := [*of_settings, *self.task.differences(asked.task)]:
            listed = "".join(f"\n- {difference}" for difference in differences)
            raise StudyError(
                f"{folder}: holds another search:{listed}\ngo on with what it was started with, or take another folder"
            )
