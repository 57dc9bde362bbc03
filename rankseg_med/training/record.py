"""What a training is of: the file ``training.json`` in its folder, which a resumed run is compared with."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rankseg_med.runs import VERSIONS, host, now
from rankseg_med.studies import Study, StudyError, fingerprint, write_text
from rankseg_med.training.start import RecordedWeights

RECORD = "training.json"

MAY_DIFFER = ("device", "num_workers", "cache_rate", "epochs", "validate_every", "bundle_root", "extends")
"""Settings that a resumed training may have others of: where it runs, how fast, how long, how often it is validated."""
_ABSENT = "(absent)"


class RecordedStudy(BaseModel):
    """A study that takes part.

    Attributes:
        case_id: Id of the study.
        files: Its images, then its label map and its weights, if those are used.
        fingerprint: Fingerprint of these files.
        image_class: Index of the class of the image as a whole, if that is known.
    """

    model_config = ConfigDict(frozen=True)

    case_id: str
    files: tuple[str, ...]
    fingerprint: str
    image_class: int | None = None

    @classmethod
    def of(cls, study: Study) -> RecordedStudy:
        """Look at a study's files.

        Raises:
            StudyError: One cannot be read.
        """
        files = [*study.images, *(file for file in (study.label, study.weight) if file is not None)]
        try:
            seen = fingerprint(files)
        except OSError as error:
            raise StudyError(f"{study.case_id}: {error.filename}: cannot be read ({error.strerror})") from error
        paths = tuple(str(file.absolute()) for file in files)
        return cls(case_id=study.case_id, files=paths, fingerprint=seen, image_class=study.image_class)

    def study(self, *, labelled: bool) -> Study:
        """The study again; ``labelled``: whether the last of its files is its label map."""
        image, *more = map(Path, self.files[:-1] if labelled else self.files)
        return Study(self.case_id, image, more_images=tuple(more))


class Session(BaseModel):
    """A part of a training that ran without an interruption.

    Attributes:
        started: Time at which it began, ISO 8601 with offset.
        host: Machine and process; the first, of several.
        device: Device where the network ran.
        epochs: How many the training was to have.
        iteration: After which it began; 0 in the first session.
        versions: Versions of the package and of what it computes with.
    """

    model_config = ConfigDict(frozen=True)

    started: str
    host: str
    device: str
    epochs: int
    iteration: int
    versions: dict[str, str]


class TrainingRecord(BaseModel):
    """A training: what it learns from and how, and when it ran.

    Attributes:
        identity: Name of this training and no other; its checkpoints have it too.
        config: All layers merged, the latest session's; expressions as they were written.
        seed: Random seed of the run.
        processes: Number of processes that train together.
        choice: How the studies were chosen, such as ``{"fold": 0}``, as far as whoever started the run has told.
        weights: What it started from; None for random weights.
        training: Studies with labels.
        unlabelled: Studies without.
        validation: Studies that are never trained on.
        sessions: One for every time that it was started or resumed.
    """

    model_config = ConfigDict(frozen=True)

    identity: str = Field(default_factory=lambda: uuid4().hex)
    config: dict[str, Any]
    seed: int
    processes: int
    choice: dict[str, str | int | None] = {}
    weights: RecordedWeights | None = None
    training: list[RecordedStudy]
    unlabelled: list[RecordedStudy]
    validation: list[RecordedStudy]
    sessions: list[Session] = []

    @classmethod
    def of(
        cls,
        config: Mapping[str, Any],
        training: Sequence[Study],
        unlabelled: Sequence[Study],
        validation: Sequence[Study],
        **entries: Any,  # noqa: ANN401 - the other attributes
    ) -> TrainingRecord:
        """Describe a training that is asked for.

        Raises:
            StudyError: A study's file cannot be read.
        """
        return cls(
            config=_plain(config),
            training=[RecordedStudy.of(study) for study in training],
            unlabelled=[RecordedStudy.of(study) for study in unlabelled],
            validation=[RecordedStudy.of(study) for study in validation],
            **entries,
        )

    @classmethod
    def read(cls, path: Path) -> TrainingRecord:
        """Read a record.

        Raises:
            StudyError: The file is none.
            OSError: It cannot be read.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise StudyError(f"{path}: is not the record of a training ({error.errors()[0]['msg']})") from error

    def write(self, path: Path) -> None:
        """Write it, whole or not at all."""
        write_text(self.model_dump_json(indent=2) + "\n", path)

    def resumed_as(self, asked: TrainingRecord, folder: Path) -> TrainingRecord:
        """The record of the same training, going on.

        Args:
            asked: What is to go on.
            folder: Folder of the training, for the message.

        Raises:
            StudyError: That would be another training; it names everything that differs.
        """
        if differences := self.differences(asked):
            listed = "".join(f"\n- {difference}" for difference in differences)
            raise StudyError(
                f"{folder}: cannot be resumed, since this is not the training that was started there:{listed}\n"
                "resume with what it was started with, or train anew in another folder"
            )
        same = {"identity": self.identity, "weights": self.weights, "sessions": self.sessions}
        return asked.model_copy(update=same)

    def in_session(self, device: str, epochs: int, iteration: int) -> TrainingRecord:
        """The record with one more session, which starts now; see `Session`."""
        session = Session(
            started=now(), host=host(), device=device, epochs=epochs, iteration=iteration, versions=VERSIONS
        )
        return self.model_copy(update={"sessions": [*self.sessions, session]})

    def differences(self, asked: TrainingRecord) -> list[str]:
        """What would make another training of this one, a sentence each; empty if nothing would.

        Args:
            asked: What is to be resumed.
        """
        then: dict[str, Any] = {**dict(_leaves(self.config)), "seed": self.seed, "processes": self.processes}
        wanted: dict[str, Any] = {**dict(_leaves(asked.config)), "seed": asked.seed, "processes": asked.processes}
        of_studies = [
            difference
            for part in ("training", "unlabelled", "validation")
            for difference in _differences_of_studies(part, getattr(self, part), getattr(asked, part))
        ]
        if of_studies:
            # Why they are others. By itself, that a data list has another name means nothing.
            then |= {f"--{option}": value for option, value in self.choice.items()}
            wanted |= {f"--{option}": value for option, value in asked.choice.items()}
        of_settings = [
            f"{key}: was {then.get(key, _ABSENT)}, is now {wanted.get(key, _ABSENT)}"
            for key in {**then, **wanted}
            if then.get(key, _ABSENT) != wanted.get(key, _ABSENT)
        ]
        learnt_from = {study.case_id for study in (*self.training, *self.unlabelled)}
        leaked = sorted(study.case_id for study in asked.validation if study.case_id in learnt_from)
        of_leaks = [f"validation studies that were trained on: {', '.join(leaked)}"] if leaked else []
        return [*of_settings, *self._difference_of_weights(asked), *of_studies, *of_leaks]

    def _difference_of_weights(self, asked: TrainingRecord) -> list[str]:
        before, now_asked = self.weights, asked.weights
        if before == now_asked or (before is not None and before.is_same(now_asked)):
            return []
        return [f"--weights: was {before}, is now {now_asked}"]


def _differences_of_studies(part: str, then: list[RecordedStudy], wanted: list[RecordedStudy]) -> Iterator[str]:
    """What differs in one part; studies are the same if their ids, fingerprints and classes are, wherever they lie."""

    def identity(study: RecordedStudy) -> tuple[str, str, int | None]:
        return study.case_id, study.fingerprint, study.image_class

    gone, new = (
        Counter(map(identity, one)) - Counter(map(identity, other)) for one, other in ((then, wanted), (wanted, then))
    )
    gone_ids, new_ids = ({case_id for case_id, *_ in studies} for studies in (gone, new))
    if only_then := sorted(gone_ids - new_ids):
        yield f"{part} studies no longer there: {', '.join(only_then)}"
    if only_now := sorted(new_ids - gone_ids):
        yield f"{part} studies that are new: {', '.join(only_now)}"
    before = {study.case_id: study for study in then}
    for study in wanted:
        if study.case_id not in gone_ids or identity(study) not in new:
            continue
        if study.fingerprint == before[study.case_id].fingerprint:
            classes = f"was {before[study.case_id].image_class}, is now {study.image_class}"
            yield f"{part} study {study.case_id}: the class of the image {classes}"
        else:
            yield f"{part} study {study.case_id}: has changed, or is another one: {', '.join(study.files)}"
    if not gone and not new and [study.case_id for study in then] != [study.case_id for study in wanted]:
        yield f"{part} studies are in another order"


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - what JSON can hold
    """Every entry by its path, as overlays write it: ``("optimizer::lr", 0.01)``."""
    children: dict[Any, Any] = {}
    if isinstance(value, dict):
        children = value
    elif isinstance(value, list) and any(isinstance(child, dict | list) for child in value):
        children = dict(enumerate(value))
    if not children:
        yield key, value
    for name, child in children.items():
        if key or name not in MAY_DIFFER:
            yield from _leaves(child, f"{key}::{name}" if key else str(name))


def _plain(value: Any) -> Any:  # noqa: ANN401 - a config can hold anything
    if isinstance(value, Mapping):
        return {str(name): _plain(child) for name, child in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(child) for child in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    # An address would be another one in every process.
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))
