"""From what a user points at, also an nnU-Net results folder, to the studies whose probabilities are stored there."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from rankseg_med.studies.errors import StudyError, check_regular_file, is_there
from rankseg_med.studies.listing import list_studies
from rankseg_med.studies.nnunet import nnunet_reorients
from rankseg_med.studies.probabilities import ProbabilityStudy, axes_by_name
from rankseg_med.studies.readers.arrays import ARRAY_SUFFIXES, Axes
from rankseg_med.studies.readers.nifti import NiftiFile
from rankseg_med.studies.readers.nifti_header import is_nifti
from rankseg_med.studies.study import Fault, Listing, case_id, check_case_id

_FOLD = re.compile(r"fold_(\d+)")
_CLASS_FILE = re.compile(r"(?P<case>.+?)_(?:class|channel|prob)?(?P<index>\d+)", re.IGNORECASE)


def find_probabilities(source: Path, images: Path | None = None, axes: Axes | None = None) -> list[ProbabilityStudy]:
    """List the studies of a file or folder of probabilities; of NIfTI files in a folder the headers are read.

    Args:
        source: Such as the output folder of ``nnUNetv2_predict --save_probabilities``. A ``.npz`` or ``.npy`` array; a
            4-D NIfTI file ``(X, Y, Z, channels)``; or a folder of either. A folder may also hold one 3-D NIfTI file per
            channel, named ``<case>_<number>``, ``<case>_class<number>``, ``_channel`` or ``_prob``, from 0.
            In a folder with arrays, NIfTI files only say on which grid arrays of the same name lie.
        images: Images that show where the grids are: an image, a folder of images or a data list, see `find_studies`;
            nnU-Net's ``<case>_0000`` is found for ``<case>``. By default the NIfTI file beside an array, and NIfTI's
            own header.
        axes: Order of the axes of arrays, by default ``"CZYX"`` for ``.npz`` (nnU-Net's) and ``"CXYZ"`` for ``.npy``.

    Returns:
        The studies, sorted by case id; at least one.

    Raises:
        StudyError: As `list_probabilities`, and if the images lack some, case ids repeat or cannot name a file, or
            channels are missing; one error names them all.
    """
    return list_probabilities(source, images, axes).all_sound()


def list_probabilities(source: Path, images: Path | None = None, axes: Axes | None = None) -> Listing[ProbabilityStudy]:
    """As `find_probabilities`, but what is wrong with some studies does not stand in the way of the others.

    Returns:
        The studies that can be worked on, at least one, and the faults, those of the images too.

    Raises:
        StudyError: Nothing was found, or nothing without a fault; no study has a grid; or nnU-Net's plans say that
            arrays do not lie as the files do.
    """
    folder = source if source.is_dir() else source.parent
    arrays, volumes = _files(source)
    if arrays and axes is None and nnunet_reorients(folder):
        raise _reoriented(folder)
    faults: list[Fault[ProbabilityStudy]] = []
    named = _arrays_by_case(arrays, faults) if arrays else _volumes_by_case(volumes, faults)
    studies = []
    for case, files in sorted(named.items()):
        try:
            by_name = axes or axes_by_name(files[0])
            studies.append(ProbabilityStudy(check_case_id(case), tuple(files), _own_grid(files), by_name))
        except StudyError as error:
            faults.append(Fault(None, f"{files[0]}: {error}"))
    if images is not None:
        studies = _on_grids_of(images, studies, faults)
    elif studies and not any(study.grid for study in studies):
        raise StudyError(
            f"{source}: arrays do not say where they lie, and there is no NIfTI file beside them, such as "
            f"{studies[0].case_id}.nii.gz; give the images"
        )
    return Listing(source, studies, faults).some_sound()


def validation_folders(source: Path) -> list[Path]:
    """``fold_0/validation``, ``fold_1/validation``, ... of a results folder, by number; none if it is no such folder.

    ``fold_all`` is passed over: it was trained on the very cases that it predicts.
    """
    folders = [path for path in source.glob("fold_*/validation") if path.is_dir()]
    found = {int(match[1]): path for path in folders if (match := _FOLD.fullmatch(path.parent.name))}
    return [found[number] for number in sorted(found)]


def find_validation(source: Path, images: Path | None = None, axes: Axes | None = None) -> list[ProbabilityStudy]:
    """As `find_probabilities`, of the validation cases of all folds of an nnU-Net results folder together.

    Args:
        source: Such as ``nnUNet_results/Dataset003_Liver/nnUNetTrainer__nnUNetPlans__3d_fullres``, after
            ``nnUNetv2_train ... --npz`` of each fold.
        images: Images that show where the grids are; see `find_probabilities`.
        axes: Order of the axes of arrays.

    Returns:
        The studies of all folds, sorted by case id; at least one.

    Raises:
        StudyError: As of `find_probabilities`, no fold was validated, or a case was validated by two folds.
    """
    folders = validation_folders(source)
    if not folders:
        raise StudyError(f"{source}: has no fold_<number>/validation; is it an nnU-Net results folder?")
    if axes is None and nnunet_reorients(source):
        raise _reoriented(source)
    studies: dict[str, ProbabilityStudy] = {}
    faults: list[Fault[ProbabilityStudy]] = []
    for folder in folders:
        listing = list_probabilities(folder, images, axes)
        faults += listing.faults
        for study in listing.studies:
            if study.case_id in studies:
                other = studies[study.case_id].files[0]
                faults.append(Fault(study.case_id, f"{study.files[0]}: was validated by another fold too, {other}"))
            studies[study.case_id] = study
    return Listing(source, [studies[case_id] for case_id in sorted(studies)], faults).all_sound()


def _reoriented(folder: Path) -> StudyError:
    """What is wrong with arrays of a folder whose ``plans.json`` has a reader that turns images."""
    return StudyError(
        f"{folder}: plans.json says that nnU-Net reoriented the images, so its arrays may lie otherwise than the "
        "files; if the images are stored RAS, in which case nothing was turned, say so with axes CZYX"
    )


def _files(source: Path) -> tuple[list[Path], list[Path]]:
    """Arrays, and NIfTI files; either there must be."""
    try:
        is_folder = source.is_dir()
        files = sorted(source.iterdir()) if is_folder else [source]
    except OSError as error:
        raise StudyError(f"{source}: cannot be listed ({error.strerror or error})") from error
    # What is neither file nor folder, and a link that leads nowhere, is listed and reported when it is opened.
    files = [path for path in files if not path.name.startswith(".") and not os.path.isdir(path)]  # noqa: PTH112
    arrays = [path for path in files if path.suffix.lower() in ARRAY_SUFFIXES]
    volumes = [path for path in files if is_nifti(path) and path.suffix.lower() != ".hdr"]
    if not (arrays or volumes) or not is_there(source):
        raise StudyError(
            f"{source}: must be an existing .npz, .npy or 4-D NIfTI file of probabilities, or a folder of them; "
            "nnU-Net writes them with nnUNetv2_predict --save_probabilities"
        )
    if not is_folder:
        check_regular_file(source)
    return arrays, volumes


def _arrays_by_case(arrays: Iterable[Path], faults: list[Fault[ProbabilityStudy]]) -> dict[str, list[Path]]:
    named: dict[str, list[Path]] = defaultdict(list)
    for path in arrays:
        named[path.stem].append(path)
    return {case: files for case, files in named.items() if _is_one_file(case, files, faults)}


def _volumes_by_case(volumes: Iterable[Path], faults: list[Fault[ProbabilityStudy]]) -> dict[str, list[Path]]:
    """A 4-D file is a case; 3-D files are channels of one."""
    named: dict[str, list[Path]] = defaultdict(list)
    channels: dict[str, list[tuple[int, Path]]] = defaultdict(list)
    for path in volumes:
        match = _CLASS_FILE.fullmatch(case_id(path))
        if not _is_one_channel(path):
            named[case_id(path)].append(path)
        elif match is not None:
            channels[match["case"]].append((int(match["index"]), path))
        else:
            what = "a label map, which is decoded already" if NiftiFile(path, channels=True).holds_labels else "3-D"
            reason = (
                f"{path}: is {what}; probabilities must be 4-D (X, Y, Z, channels), or one 3-D file per channel named "
                "<case>_0, <case>_1, ..."
            )
            faults.append(Fault(case_id(path), reason))
    complete: dict[str, list[Path]] = {}
    for case in {**channels, **named}:
        files = [path for _, path in sorted(channels[case])]
        if not _is_one_file(case, [*files[:1], *named[case]], faults):
            continue
        fault = _fault_of_channels(case, channels[case])
        if fault is None:
            complete[case] = files or named[case]
        else:
            faults.append(Fault(case, fault))
    return complete


def _is_one_file(case: str, files: list[Path], faults: list[Fault[ProbabilityStudy]]) -> bool:
    """Note a fault for each file beyond the first that gives this case id."""
    first, *more = files
    faults += [Fault(case, f"{path}: gives the same case id as {first.name}; move one") for path in more]
    return not more


def _fault_of_channels(case: str, channels: list[tuple[int, Path]]) -> str | None:
    """What is wrong with the numbers of 3-D files; none at all is right."""
    files: dict[int, Path] = {}
    for index, path in channels:
        if index in files:
            return f"{path}: is channel {index} of {case}, and so is {files[index].name}; move one"
        files[index] = path
    if sorted(files) == list(range(len(files))):
        return None
    found = ", ".join(map(str, sorted(files)))
    return (
        f"{min(files.values())}: the channels of {case} must be numbered from 0 (the background, or the first region), "
        f"got {found}"
    )


def _is_one_channel(path: Path) -> bool:
    try:
        return NiftiFile(path, channels=True).channels == 1
    except StudyError:
        return False  # whatever is wrong with it is reported when the study is read


def _own_grid(files: list[Path]) -> Path | None:
    if is_nifti(files[0]):
        return files[0]
    beside = (files[0].with_suffix(suffix) for suffix in (".nii.gz", ".nii"))
    return next((path for path in beside if is_there(path)), None)


def _on_grids_of(
    images: Path, studies: list[ProbabilityStudy], faults: list[Fault[ProbabilityStudy]]
) -> list[ProbabilityStudy]:
    """The studies that images say the grid of."""
    listing = list_studies(images)
    faults += [Fault(fault.case_id, f"{images}: {fault.reason}") for fault in listing.faults]
    found = {study.case_id: study.image for study in listing.studies}
    if list(found.values()) == [images] and len(studies) == 1:
        found = {studies[0].case_id: images}  # one image for one case, whatever its name
    grids = [found.get(study.case_id) or found.get(f"{study.case_id}_0000") for study in studies]
    missing = tuple(study for study, grid in zip(studies, grids, strict=True) if grid is None)
    if missing:
        named = ", ".join(study.case_id for study in missing[:5]) + (", ..." if len(missing) > 5 else "")
        faults.append(Fault(None, f"{images}: has no image for {len(missing)} of {len(grids)} cases: {named}", missing))
    labels = {study.image: study.label for study in listing.studies}
    return [
        replace(study, grid=grid, image=grid, label=labels[grid])
        for study, grid in zip(studies, grids, strict=True)
        if grid is not None
    ]
