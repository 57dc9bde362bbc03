"""How a label map is written and read back, and which files it has; NIfTI in one folder. DICOM, BIDS: elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from monai.data import MetaTensor

from rankseg_med.errors import InputError
from rankseg_med.studies.bids.dataset import is_dataset
from rankseg_med.studies.errors import StudyError
from rankseg_med.studies.image import load_label_map
from rankseg_med.studies.label_map import write_label_map, write_label_names

Labels: TypeAlias = torch.Tensor | np.ndarray
Probabilities: TypeAlias = Float[torch.Tensor, "structures X Y Z"]


@runtime_checkable
class LabelMapFormat(Protocol):
    """How a label map is written; a value that travels to other processes, and whose `repr` says all."""

    @property
    def suffix(self) -> str:
        """What a label map's file name ends in."""

    @property
    def needs_probabilities(self) -> bool:
        """Whether `write` needs the probabilities that a label map was decoded from."""

    def paths_in(self, folder: Path, case_id: str, inputs: Sequence[Path]) -> tuple[Path, ...]:
        """The files of a study, the label map (or what is in its place) first.

        Args:
            folder: Folder that label maps were asked for in.
            case_id: The study.
            inputs: Files that the label map is made of, at least one.
        """

    def records_in(self, folder: Path) -> Path:
        """Where records of studies and runs lie."""

    def check_folder(self, folder: Path) -> None:
        """Raise if label maps must not be written to a folder, which need not be there; nothing is written.

        Raises:
            InputError: They must not.
        """

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
        inputs: Sequence[Path] = (),
        probabilities: Probabilities | None = None,
    ) -> None:
        """Write a label map and what lies beside it, each file whole or not at all.

        Args:
            labels: `(X, Y, Z)` whole numbers from 0 to 255 of any integer type, on any device; all 0 is valid.
            path: Where it goes, the first of `paths_in`; existing files are replaced.
            grid_of: Image whose grid it is on.
            names: As of `check_names`.
            inputs: Files that it was made of, for formats that say so.
            probabilities: Of the named labels, in their order; None unless the format needs them.

        Raises:
            StudyError: Labels that cannot be written, or not on this image's grid.
            OSError: A file cannot be written.
        """

    def read(
        self, path: Path, *, grid_of: Path | None, names: Mapping[int, str] | None
    ) -> UInt8[MetaTensor, "1 X Y Z"]:
        """Read back what `write` wrote, on the image's grid, with the metadata of `load_label_map`.

        Args:
            path: The file.
            grid_of: Image whose grid it is on; formats that say themselves where voxels lie need none.
            names: As they were written; where nobody knows them, labels are numbered as in the file.

        Raises:
            StudyError: The file or the image cannot be used, they do not belong together, or the format does not say
                which voxel has which label.
            InputError: What reads it is not installed.
            OSError: A file is not there or cannot be read.
        """


class FlatLayout:
    """One file a study, named after it, and its record beside it."""

    suffix: ClassVar[str]

    def paths_in(self, folder: Path, case_id: str, inputs: Sequence[Path] = ()) -> tuple[Path, ...]:
        """The file."""
        return (folder / f"{case_id}{self.suffix}",)

    def records_in(self, folder: Path) -> Path:
        """The folder itself."""
        return folder

    def check_folder(self, folder: Path) -> None:
        """Raise if it is a BIDS data set, whose label maps are looked for elsewhere in it."""
        if is_dataset(folder):
            raise InputError(
                f"{folder}: is a BIDS data set, in which nobody looks for label maps that lie in the folder itself; "
                "write BIDS, or write to another folder"
            )


class NiftiFiles:
    """Label maps in NIfTI: of any image, and read back without it, wherever they lie."""

    def check_source(self, image: Path) -> None:
        """Any will do."""

    def read(
        self, path: Path, *, grid_of: Path | None = None, names: Mapping[int, str] | None = None
    ) -> UInt8[MetaTensor, "1 X Y Z"]:
        """As `load_label_map`: the file says where it lies, and needs no image and no names."""
        return load_label_map(path)


@dataclass(frozen=True)
class NiftiFormat(FlatLayout, NiftiFiles):
    """`write_label_map`, with the names of the labels in the file and in a table beside it."""

    suffix = ".nii.gz"
    needs_probabilities = False

    def check_names(self, names: Mapping[int, str] | None) -> None:
        """Any will do, and none."""

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
        """Write it; the table says the same of every label map in a folder.

        Raises:
            StudyError: The folder has a table that names the labels otherwise, or as `write_label_map`.
            OSError: A file cannot be written.
        """
        if names:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_label_names(names, path.parent)
        write_label_map(labels, path, grid_of=grid_of, names=names)


def check_named(voxels: UInt8[np.ndarray, "X Y Z"], path: Path, names: Mapping[int, str]) -> None:
    """Make sure that every label has a name, for formats in which one without would be lost or another thing.

    Raises:
        StudyError: One has none.
    """
    if unnamed := set(np.unique(voxels).tolist()) - {0} - names.keys():
        raise StudyError(
            f"{path}: every label must have a name, and {', '.join(map(str, sorted(unnamed)))} has none among "
            f"{dict(names)}; give label_names for all"
        )


def check_probabilities(
    probabilities: Probabilities | None, path: Path, structures: int, shape: tuple[int, ...]
) -> Probabilities:
    """The probabilities that a format needs.

    Raises:
        StudyError: There are none, or of another number of structures or another shape.
    """
    if probabilities is None or tuple(probabilities.shape) != (structures, *shape):
        given = None if probabilities is None else tuple(probabilities.shape)
        raise StudyError(f"{path}: needs probabilities of {structures} structures on its grid, got {given}")
    return probabilities
