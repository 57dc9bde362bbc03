"""All that is on disk of one study of a run, for a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rankseg_med.studies import DicomSegFormat, Sidecar

Scores = Mapping[str, Mapping[str, float]]
"""Region to metric to value."""


@dataclass(frozen=True)
class StudyRecord:
    """All that is on disk of one study.

    Attributes:
        case_id: Which.
        status: ``"done"``, ``"failed"``, ``"started"``, ``"altered"`` or ``"pending"``.
        reason: Why it is not done.
        sidecar: Record of the job that made the label map; None if there is none.
        scoring: Record of its evaluation; None if there is none.
        scores: Its scores; empty if it was not scored.
        label_map: Label map, None if none was written.
        image: What it was made of, where that is known.
        reference: What it was scored against.
        against: Another label map to hold it against.
        with_argmax: Whether to hold it against argmax's too, which has to be made again of stored probabilities.
        ignored_label: What voxels of a pseudo-label hold that training is to ignore; None of other label maps.
        notes: What is missing, and why.
    """

    case_id: str
    status: str
    reason: str = ""
    sidecar: Sidecar | None = None
    scoring: Sidecar | None = None
    scores: Scores = field(default_factory=dict)
    label_map: Path | None = None
    image: Path | None = None
    reference: Path | None = None
    against: Path | None = None
    with_argmax: bool = False
    ignored_label: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def label_names(self) -> dict[int, str] | None:
        """Label to name as the job's record says; None where it does not."""
        names = None if self.sidecar is None else self.sidecar.details.get("label_names")
        return {int(label): name for label, name in names.items()} if names else None

    @property
    def decisions(self) -> Sequence[Mapping[str, Any]]:
        """What was decided for each structure, as the job's record says; empty where it does not."""
        return () if self.sidecar is None else self.sidecar.details.get("decisions") or ()

    @property
    def grid_file(self) -> Path | None:
        """What says where the label map's voxels lie: the file itself, or, of a DICOM object, the series."""
        return self.image if self.is_dicom_object else self.label_map

    @property
    def is_dicom_object(self) -> bool:
        """Whether the label map is a DICOM object, which refers to the slices of a series."""
        path = self.label_map
        return path is not None and path.name.lower().endswith(DicomSegFormat.suffix) and not path.is_dir()
