"""What a record of decoding says of its input: which file is what, so that it can be read again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from rankseg_med.decode import RegionChannels
from rankseg_med.studies import Axes, ProbabilityStudy

_ENTRY = "probabilities"


class StoredProbabilities(BaseModel):
    """Stored probabilities of a study, as its sidecar names them.

    Attributes:
        files: Files of the probabilities.
        grid: File on whose grid they lie; None where there is none.
        image: The image, where images were given. Another grid may be a label map, such as nnU-Net's own.
        axes: Order of the axes of an array.
        regions: What the channels are, if they are regions by sigmoid; None for exclusive classes.
    """

    model_config = ConfigDict(frozen=True)

    files: tuple[Path, ...]
    grid: Path | None
    image: Path | None
    axes: Axes
    regions: RegionChannels | None

    @classmethod
    def of(cls, study: ProbabilityStudy, regions: RegionChannels | None) -> StoredProbabilities:
        """Those of a study that is being decoded."""
        return cls(files=study.files, grid=study.grid, image=study.image, axes=study.axes, regions=regions)

    @classmethod
    def recorded_in(cls, details: Mapping[str, Any]) -> StoredProbabilities | None:
        """What a sidecar's entries say; None if they do not, as those of earlier versions."""
        try:
            return cls.model_validate(details[_ENTRY])
        except (KeyError, ValidationError):
            return None

    @property
    def entries(self) -> dict[str, Any]:
        """Entries of a sidecar."""
        return {_ENTRY: self.model_dump(mode="json")}

    def study(self, case_id: str) -> ProbabilityStudy:
        """What can be opened again."""
        return ProbabilityStudy(case_id, self.files, self.grid, self.axes, image=self.image)
