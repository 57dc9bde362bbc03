"""What the jobs share that write a label map of each study."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from rankseg_med.configuration import Config, digest_of, flat_settings
from rankseg_med.studies import LabelMapFormat, ProbabilityStudy, Study
from rankseg_med.workflows.label_maps import NIFTI

StudyT = TypeVar("StudyT", bound=Study | ProbabilityStudy)


class LabelMapJob(ABC, Generic[StudyT]):
    """A `Job` that writes a label map of each study, by a config; it travels to other processes as plain values.

    Args:
        config: Content of the job's config.
        output: Folder of the label maps.
        format: How they are written, and which files a study has.
        beside: What else label maps depend on, such as the hashes of weights.

    Raises:
        InputError: Label maps of this format must not be written to the folder.

    Attributes:
        digest: Hash of all that label maps depend on.
        settings: The same, one by one.
    """

    name: ClassVar[str]
    stage_names: ClassVar[tuple[str, ...]]
    results_version: ClassVar[int] = 3
    not_in_results: ClassVar[tuple[str, ...]] = ()
    """Settings that label maps do not depend on, beside those that no job's do."""

    def __init__(
        self, config: Mapping[str, Any], output: Path, format: LabelMapFormat = NIFTI, **beside: object
    ) -> None:
        self._config = config
        format.check_folder(output)
        self.output = output
        self.records = format.records_in(output)
        self.format = format
        described = {name: value for name, value in config.items() if name not in self.not_in_results} | beside
        if format != NIFTI:  # what is written as ever is not stale for a choice that came later
            described["format"] = repr(format)
        self.digest = digest_of(described)
        self.settings: Mapping[str, str] = flat_settings(described)

    @property
    def config(self) -> Config:
        """The config, of which parts may be built; a new one each time, since parts are built once."""
        return Config(copy.deepcopy(dict(self._config)))

    @abstractmethod
    def build(self) -> tuple[Callable[[Any], Any], ...]:
        """The steps; the first takes a study, the last writes."""

    @abstractmethod
    def inputs_of(self, study: StudyT) -> tuple[Path, ...]:
        """The files that the study's label map depends on."""

    @abstractmethod
    def memory_needed(self, study: StudyT) -> int:
        """Bytes at its worst; only headers are read."""

    def memory_to_write(self, structures: int, voxels: int) -> int:
        """Bytes that a format with probabilities needs beside what label maps do: three copies in single precision."""
        return 12 * structures * voxels if self.format.needs_probabilities else 0

    def kept_of(self, study: StudyT) -> tuple[Path, ...]:
        """The inputs, and the reference label where a data list names one."""
        return self.inputs_of(study) if study.label is None else (*self.inputs_of(study), study.label)

    def outputs_of(self, study: StudyT) -> tuple[Path, ...]:
        """The label map, and what the format has beside it."""
        return self.format.paths_in(self.output, study.case_id, self.inputs_of(study))
