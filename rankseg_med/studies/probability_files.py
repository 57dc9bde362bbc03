"""From what a user points at to the studies whose probabilities are stored there."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rankseg_med.studies.errors import StudyError
from rankseg_med.studies.header import open_nifti
from rankseg_med.studies.listing import find_studies
from rankseg_med.studies.naming import case_id, check_case_id, is_nifti
from rankseg_med.studies.nnunet import nnunet_reorients

Axes = Literal["CZYX", "CXYZ"]
"""Axes of an array: channels first, then as SimpleITK and nnU-Net have them, or as nibabel and MONAI do."""

_ARRAY_SUFFIXES = (".npz", ".npy")
_CLASS_FILE = re.compile(r"(?P<case>.+?)_(?:class|channel|prob)?(?P<index>\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class ProbabilityStudy:
    """Stored probabilities of one study.

    Attributes:
        case_id: Names the study's outputs; unique within a listing and safe as a file name.
        files: One file with all channels, or one 3-D NIfTI file per channel.
        grid: File on whose grid they lie: the image, a label map of it, or a NIfTI file of probabilities itself. None
            where there is none.
        axes: Of an array; NIfTI says itself.
    """

    case_id: str
    files: tuple[Path, ...]
    grid: Path | None
    axes: Axes

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files that the study's label map depends on."""
        return tuple(dict.fromkeys([*self.files, *([self.grid] if self.grid else [])]))


def find_probabilities(source: Path, images: Path | None = None, axes: Axes | None = None) -> list[ProbabilityStudy]:
    """List the studies of a file or folder of probabilities; of NIfTI files in a folder the headers are read.

    Args:
        source: Such as the output folder of ``nnUNetv2_predict --save_probabilities``. A ``.npz`` or ``.npy`` array; a
            4-D NIfTI file ``(X, Y, Z, channels)``; or a folder of either. A folder may also hold one 3-D NIfTI file per
            channel, named ``<case>_<number>``, ``<case>_class<number>``, ``_channel`` or ``_prob``, from 0.
            In a folder with arrays, NIfTI files only say on which grid arrays of the same name lie.
        images: Where the grids are: an image, a folder of images or a data list, see `find_studies`; nnU-Net's
            ``<case>_0000`` is found for ``<case>``. By default the NIfTI file beside an array, and NIfTI's own header.
        axes: Of arrays, by default ``"CZYX"`` for ``.npz`` (nnU-Net's) and ``"CXYZ"`` for ``.npy``.

    Returns:
        The studies, sorted by case id; at least one.

    Raises:
        StudyError: Nothing was found, no study has a grid, the images lack some, case ids repeat or cannot name a file,
            channels are missing, or nnU-Net's plans say that arrays do not lie as the files do.
    """
    folder = source if source.is_dir() else source.parent
    if source.is_dir():
        files = sorted(path for path in source.iterdir() if not path.name.startswith(".") and path.is_file())
    else:
        files = [source]
    arrays = [path for path in files if path.suffix.lower() in _ARRAY_SUFFIXES]
    volumes = [path for path in files if is_nifti(path) and path.suffix.lower() != ".hdr"]
    if not (arrays or volumes) or not source.exists():
        raise StudyError(
            f"{source}: must be an existing .npz, .npy or 4-D NIfTI file of probabilities, or a folder of them; "
            "nnU-Net writes them with nnUNetv2_predict --save_probabilities"
        )
    if arrays and axes is None and nnunet_reorients(folder):
        raise StudyError(
            f"{folder}: plans.json says that nnU-Net reoriented the images, so its arrays may lie otherwise than the "
            "files; if the images are stored RAS, in which case nothing was turned, say so with axes CZYX"
        )
    named = _arrays_by_case(arrays) if arrays else _volumes_by_case(volumes)
    grids = {case: _own_grid(files) for case, files in named.items()} if images is None else _grids(images, named)
    if not any(grids.values()):
        raise StudyError(
            f"{source}: arrays do not say where they lie, and there is no NIfTI file beside them, such as "
            f"{min(named)}.nii.gz; give the images"
        )
    return [
        ProbabilityStudy(
            check_case_id(case),
            tuple(files),
            grids[case],
            axes or ("CZYX" if files[0].suffix.lower() == ".npz" else "CXYZ"),
        )
        for case, files in sorted(named.items())
    ]


def _arrays_by_case(arrays: Iterable[Path]) -> dict[str, list[Path]]:
    named: dict[str, list[Path]] = {}
    for path in arrays:
        if path.stem in named:
            raise StudyError(f"{path}: gives the same case id as {named[path.stem][0].name}; move one")
        named[path.stem] = [path]
    return named


def _volumes_by_case(volumes: Iterable[Path]) -> dict[str, list[Path]]:
    """A 4-D file is a case; 3-D files are channels of one."""
    named: dict[str, list[Path]] = {}
    channels: dict[str, dict[int, Path]] = defaultdict(dict)
    for path in volumes:
        match = _CLASS_FILE.fullmatch(case_id(path))
        if _is_one_channel(path):
            if match is None:
                raise StudyError(
                    f"{path}: is 3-D; probabilities must be 4-D (X, Y, Z, channels), or one 3-D file per channel named "
                    "<case>_0, <case>_1, ..."
                )
            case, index = match["case"], int(match["index"])
            if index in channels[case]:
                other = channels[case][index].name
                raise StudyError(f"{path}: is channel {index} of {case}, and so is {other}; move one")
            channels[case][index] = path
        elif case_id(path) in named:
            raise StudyError(f"{path}: gives the same case id as {named[case_id(path)][0].name}; move one")
        else:
            named[case_id(path)] = [path]
    for case, files in channels.items():
        if case in named:
            raise StudyError(f"{named[case][0]}: gives the same case id as {min(files.values()).name}; move one")
        if sorted(files) != list(range(len(files))):
            found = ", ".join(map(str, sorted(files)))
            raise StudyError(
                f"{min(files.values())}: the channels of {case} must be numbered from 0 (the background, or the first "
                f"region), got {found}"
            )
        named[case] = [files[index] for index in range(len(files))]
    return named


def _is_one_channel(path: Path) -> bool:
    try:
        return max(open_nifti(path, channels=True).shape[3:], default=1) == 1
    except StudyError:
        return False  # whatever is wrong with it is reported when the study is read


def _own_grid(files: list[Path]) -> Path | None:
    if is_nifti(files[0]):
        return files[0]
    beside = (files[0].with_suffix(suffix) for suffix in (".nii.gz", ".nii"))
    return next((path for path in beside if path.is_file()), None)


def _grids(images: Path, cases: Iterable[str]) -> dict[str, Path | None]:
    found = {study.case_id: study.image for study in find_studies(images)}
    if list(found.values()) == [images] and len(list(cases)) == 1:
        found = dict.fromkeys(cases, images)  # one image for one case, whatever its name
    grids = {case: found.get(case) or found.get(f"{case}_0000") for case in cases}
    missing = sorted(case for case, grid in grids.items() if grid is None)
    if missing:
        named = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise StudyError(f"{images}: has no image for {len(missing)} of {len(grids)} cases: {named}")
    return dict(grids)
