"""How a label map is written: NIfTI, DICOM-SEG, RTSTRUCT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8

from rankseg_med.errors import InputError
from rankseg_med.studies.errors import StudyError
from rankseg_med.studies.label_map import checked_labels, write_label_map, write_label_names
from rankseg_med.studies.readers import read_grid
from rankseg_med.studies.structures import Structure, StructureSettings, structures_of

Labels: TypeAlias = torch.Tensor | np.ndarray
Probabilities: TypeAlias = Float[torch.Tensor, "structures X Y Z"]


@runtime_checkable
class LabelMapFormat(Protocol):
    """How a label map is written; a value that travels to other processes, and whose `repr` says all."""

    @property
    def suffix(self) -> str:
        """What a file's name ends in, after the case id."""

    @property
    def of_probabilities(self) -> bool:
        """Whether files hold the probabilities that a label map was decoded from, in its place."""

    def check_names(self, names: Mapping[int, str] | None) -> None:
        """Raise unless label maps of these names can be written.

        Args:
            names: Label to name, without the background; None where nobody says.

        Raises:
            InputError: They cannot, or what writes them is not installed.
        """

    def check_source(self, image: Path) -> None:
        """Raise unless a label map on an image's grid can be written, as far as its path tells.

        Raises:
            StudyError: It cannot.
        """

    def write(
        self,
        labels: Labels,
        path: Path,
        *,
        grid_of: Path,
        names: Mapping[int, str] | None,
        probabilities: Probabilities | None = None,
    ) -> None:
        """Write a label map, whole or not at all.

        Args:
            labels: `(X, Y, Z)` whole numbers from 0 to 255 of any integer type, on any device; all 0 is valid.
            path: Where it goes; an existing file is replaced.
            grid_of: Image whose grid it is on.
            names: As of `check_names`.
            probabilities: Of the named labels, in their order; None unless the format is of probabilities.

        Raises:
            StudyError: Labels that cannot be written, or not on this image's grid.
            OSError: The file cannot be written.
        """


@dataclass(frozen=True)
class NiftiFormat:
    """`write_label_map`, with the names of the labels in the file and in a table beside it."""

    suffix = ".nii.gz"
    of_probabilities = False

    def check_names(self, names: Mapping[int, str] | None) -> None:
        """Any will do, and none."""

    def check_source(self, image: Path) -> None:
        """Any will do."""

    def write(
        self,
        labels: Labels,
        path: Path,
        *,
        grid_of: Path,
        names: Mapping[int, str] | None,
        probabilities: Probabilities | None = None,
    ) -> None:
        """Write it; the table says the same of every label map in a folder.

        Raises:
            StudyError: The folder has a table that names the labels otherwise, or as `write_label_map`.
            OSError: A file cannot be written.
        """
        if names:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_label_names(names, path.parent)
        write_label_map(labels, path, grid_of=grid_of, names=names)


@dataclass(frozen=True)
class _DicomFormat:
    """What is common to DICOM objects that refer to the series that was segmented."""

    structures: Mapping[str, StructureSettings] = field(default_factory=dict)

    suffix = ".dcm"
    of_probabilities = False
    kind = "DICOM"

    def check_names(self, names: Mapping[int, str] | None) -> None:
        """Raise unless every label has a name that DICOM can hold, and what writes it is installed."""
        _check_extra()
        if not names:
            raise InputError(
                f"{self.kind} must name every structure, and nobody says what the labels are; give a --config with "
                "label_names, or keep nnU-Net's dataset.json beside the probabilities"
            )
        if strangers := sorted(self.structures.keys() - set(names.values())):
            raise InputError(
                f"structures: there is no {strangers[0]!r} among the names of labels, {', '.join(names.values())}; "
                "mend the config"
            )
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
    def of_probabilities(self) -> bool:  # type: ignore[override]
        """Whether it is fractional."""
        return self.seg_type == "fractional"

    def write(
        self,
        labels: Labels,
        path: Path,
        *,
        grid_of: Path,
        names: Mapping[int, str] | None,
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
        elif probabilities is None or tuple(probabilities.shape) != (len(structures), *voxels.shape):
            given = None if probabilities is None else tuple(probabilities.shape)
            raise StudyError(f"{path}: needs probabilities of {len(structures)} structures on its grid, got {given}")
        else:
            write_fractional_seg(probabilities.numpy(), path, source, structures)


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
