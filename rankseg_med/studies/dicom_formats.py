"""How a label map is written to DICOM: DICOM-SEG, RTSTRUCT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from rankseg_med.errors import InputError
from rankseg_med.studies.errors import StudyError
from rankseg_med.studies.formats import FlatLayout, Labels, Probabilities, check_probabilities
from rankseg_med.studies.label_map import checked_labels
from rankseg_med.studies.readers import read_grid
from rankseg_med.studies.structures import Structure, StructureSettings, check_structures, structures_of


@dataclass(frozen=True)
class _DicomFormat(FlatLayout):
    """What is common to DICOM objects that refer to the series that was segmented."""

    structures: Mapping[str, StructureSettings] = field(default_factory=dict)

    suffix = ".dcm"
    needs_probabilities = False
    kind = "DICOM"

    def check_names(self, names: Mapping[int, str] | None) -> None:
        """Raise unless every label has a name that DICOM can hold, and what writes it is installed."""
        _check_extra()
        if not names:
            raise InputError(
                f"{self.kind} must name every structure, and nobody says what the labels are; give a --config with "
                "label_names, or keep nnU-Net's dataset.json beside the probabilities"
            )
        check_structures(self.structures, names)
        structures_of(names, self.structures)

    def check_source(self, image: Path) -> None:
        """Raise unless it is a folder, as DICOM series are."""
        if not image.is_dir():
            raise StudyError(
                f"{image}: must be a folder of one DICOM series to be segmented as {self.kind}, which refers to its "
                "slices; give the series, or write NIfTI"
            )

    def named(
        self, labels: Labels, path: Path, grid_of: Path, names: Mapping[int, str] | None
    ) -> tuple[UInt8[np.ndarray, "X Y Z"], tuple[Structure, ...]]:
        """Labels as they are written, and their structures."""
        self.check_source(grid_of)
        self.check_names(names)
        voxels = checked_labels(labels, path, read_grid(grid_of).shape, grid_of)
        structures = structures_of(names or {}, self.structures)
        unnamed = set(np.unique(voxels).tolist()) - {0} - {item.label for item in structures}
        if unnamed:
            raise StudyError(
                f"{path}: every label must have a name, and {', '.join(map(str, sorted(unnamed)))} has none among "
                f"{dict(names or {})}; give label_names for all"
            )
        return voxels, structures


@dataclass(frozen=True)
class DicomSegFormat(_DicomFormat):
    """DICOM segmentation objects; needs the extra ``dicom``, and DICOM series as studies.

    Attributes:
        structures: Name to what a config says of it; see `read_structures`.
        seg_type: ``"binary"``, one bit a voxel for each structure, which most programs read; ``"labelmap"``, one byte a
            voxel; or ``"fractional"``, the probabilities in place of the label map, one byte a voxel and structure.
    """

    seg_type: Literal["binary", "labelmap", "fractional"] = "binary"

    kind = "DICOM-SEG"

    @property
    def needs_probabilities(self) -> bool:  # type: ignore[override]
        """Whether it is fractional."""
        return self.seg_type == "fractional"

    def write(
        self,
        labels: Labels,
        path: Path,
        *,
        grid_of: Path,
        names: Mapping[int, str] | None,
        inputs: Sequence[Path] = (),
        probabilities: Probabilities | None = None,
    ) -> None:
        """Write it; see `write_dicom_seg` and `write_fractional_seg`.

        Raises:
            StudyError: It is no DICOM series, a label without a name, or as these.
            InputError: The extra is not installed.
            OSError: The file cannot be written.
        """
        voxels, structures = self.named(labels, path, grid_of, names)
        from rankseg_med.studies.writers.dicom_seg import write_dicom_seg, write_fractional_seg
        from rankseg_med.studies.writers.dicom_source import SourceSeries

        source = SourceSeries.read(grid_of)
        if self.seg_type != "fractional":
            write_dicom_seg(voxels, path, source, structures, self.seg_type)
        else:
            checked = check_probabilities(probabilities, path, len(structures), voxels.shape)
            write_fractional_seg(checked.numpy(), path, source, structures)


@dataclass(frozen=True)
class RtstructFormat(_DicomFormat):
    """RT structure sets; needs the extra ``dicom``, and DICOM series as studies.

    Attributes:
        structures: Name to what a config says of it; see `read_structures`.
    """

    kind = "RTSTRUCT"

    def write(
        self,
        labels: Labels,
        path: Path,
        *,
        grid_of: Path,
        names: Mapping[int, str] | None,
        inputs: Sequence[Path] = (),
        probabilities: Probabilities | None = None,
    ) -> None:
        """Write it; see `write_rtstruct`.

        Raises:
            StudyError: It is no DICOM series, a label without a name, or as `write_rtstruct`.
            InputError: The extra is not installed.
            OSError: The file cannot be written.
        """
        voxels, structures = self.named(labels, path, grid_of, names)
        from rankseg_med.studies.writers.dicom_source import SourceSeries
        from rankseg_med.studies.writers.rtstruct import write_rtstruct

        write_rtstruct(voxels, path, SourceSeries.read(grid_of), structures)


def _check_extra() -> None:
    missing = [name for name in ("highdicom", "pydicom") if find_spec(name) is None]
    if missing:
        raise InputError(f"DICOM is written by {missing[0]}, which must be installed; pip install 'rankseg-med[dicom]'")
