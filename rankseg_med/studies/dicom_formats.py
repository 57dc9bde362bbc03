"""Label maps as DICOM objects that refer to the series that was segmented: DICOM-SEG and RTSTRUCT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float32, UInt8
from monai.data import MetaTensor

from rankseg_med.errors import InputError
from rankseg_med.studies.errors import StudyError, check_regular_file
from rankseg_med.studies.formats import (
    FlatLayout,
    LabelMapFormat,
    Labels,
    NiftiFormat,
    Probabilities,
    check_named,
    check_probabilities,
)
from rankseg_med.studies.image import meta_tensor
from rankseg_med.studies.label_map import checked_labels
from rankseg_med.studies.readers import read_grid
from rankseg_med.studies.readers.nifti_header import is_nifti
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
        check_named(voxels, path, names or {})
        return voxels, structures_of(names or {}, self.structures)

    def check_series(self, path: Path, series: Path | None) -> Path:
        """The series that a file is read back on, by which alone it says where its voxels lie."""
        _check_extra()
        if series is None or not series.is_dir():
            found = "nobody says where that is" if series is None else f"got {series}"
            raise StudyError(
                f"{path}: {self.kind} must be read on the DICOM series that it is of, a folder, and {found}; "
                "name the series"
            )
        return series


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
        from rankseg_med.studies.readers.dicom_source import SourceSeries
        from rankseg_med.studies.writers.dicom_seg import write_dicom_seg, write_fractional_seg

        source = SourceSeries.read(grid_of)
        if self.seg_type != "fractional":
            write_dicom_seg(voxels, path, source, structures, self.seg_type)
        else:
            checked = check_probabilities(probabilities, path, len(structures), voxels.shape)
            write_fractional_seg(checked.numpy(), path, source, structures)

    def read(
        self, path: Path, *, grid_of: Path | None, names: Mapping[int, str] | None
    ) -> UInt8[MetaTensor, "1 X Y Z"]:
        """Read it back, frame by frame, on the slices that it refers to.

        Raises:
            StudyError: It is no segmentation of this series and these names, or one of probabilities.
            InputError: The extra is not installed.
        """
        series = self.check_series(path, grid_of)
        from rankseg_med.studies.readers.dicom_seg import read_dicom_seg
        from rankseg_med.studies.readers.dicom_source import SourceSeries

        source = SourceSeries.read(series)
        return meta_tensor(read_dicom_seg(path, source, names)[None], source.grid, path)

    def read_probabilities(self, path: Path, *, grid_of: Path | None) -> Float32[MetaTensor, "structures X Y Z"]:
        """Read back the probabilities of a fractional one, in steps of 1/255, as `read` does.

        Raises:
            StudyError: It is no fractional segmentation of this series.
            InputError: The extra is not installed.
        """
        series = self.check_series(path, grid_of)
        from rankseg_med.studies.readers.dicom_seg import read_fractional_seg
        from rankseg_med.studies.readers.dicom_source import SourceSeries

        source = SourceSeries.read(series)
        return meta_tensor(read_fractional_seg(path, source), source.grid, path)


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
        from rankseg_med.studies.readers.dicom_source import SourceSeries
        from rankseg_med.studies.writers.rtstruct import write_rtstruct

        write_rtstruct(voxels, path, SourceSeries.read(grid_of), structures)

    def read(
        self, path: Path, *, grid_of: Path | None, names: Mapping[int, str] | None
    ) -> UInt8[MetaTensor, "1 X Y Z"]:
        """Refuse: which voxels lie within an outline is for each program to say.

        Raises:
            StudyError: Always.
        """
        raise StudyError(
            f"{path}: holds outlines, which are not read back as voxels; write NIfTI or DICOM-SEG to have the label map"
        )


def format_of(path: Path) -> LabelMapFormat:
    """The format of a label map's file, for reading it back; of DICOM the file itself says.

    Raises:
        StudyError: It is no such file, or is not there.
        InputError: It is DICOM, and what reads that is not installed.
    """
    if is_nifti(path):
        return NiftiFormat()
    _check_extra()
    from pydicom import dcmread

    from rankseg_med.studies.readers.dicom_source import reported_as_dicom_fault

    check_regular_file(path)
    with reported_as_dicom_fault(path, "DICOM"):
        header = dcmread(path, specific_tags=["Modality", "SegmentationType"])
    kind = header.get("SegmentationType", "").lower()
    if header.get("Modality") == "RTSTRUCT":
        return RtstructFormat()
    if header.get("Modality") == "SEG" and kind in ("binary", "labelmap", "fractional"):
        return DicomSegFormat(seg_type=kind)
    raise StudyError(f"{path}: must be a label map: NIfTI, DICOM-SEG or RTSTRUCT, got {header.get('Modality')!r}")


def _check_extra() -> None:
    missing = [name for name in ("highdicom", "pydicom") if find_spec(name) is None]
    if missing:
        raise InputError(f"DICOM needs {missing[0]}, which must be installed; pip install 'rankseg-med[dicom]'")
