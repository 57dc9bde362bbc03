"""The images in a folder, or that a pattern matches, and the studies that they make."""

from __future__ import annotations

import fnmatch
import glob
import os
import stat
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from rankseg_med.studies.errors import StudyError
from rankseg_med.studies.readers import IMAGE_SUFFIXES, is_image_file
from rankseg_med.studies.readers.dicom import is_dicom_series
from rankseg_med.studies.study import Fault, Listing, Study, case_id, check_case_id, split_channel


def images_in_folder(folder: Path) -> tuple[list[Path], list[Fault[Study]], tuple[Path, ...]]:
    """Images, or else DICOM folders, that lie directly in a folder; what cannot be looked into; and what is ignored.

    Raises:
        StudyError: if there is nothing to be taken, nor anything that cannot be looked into.
        OSError: if the folder cannot be listed.
    """
    inside = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    # A broken link is not a folder either: it is listed, and reported when it is opened, instead of vanishing.
    files = [path for path in inside if not _is_folder(path)]
    images = [path for path in files if is_image_file(path)]
    ignored = tuple(path for path in files if path not in images)
    faults: list[Fault[Study]] = []
    if not images:
        images, faults = _dicom_folders(inside, broken_links_count=True)
    if not images and not faults:
        raise StudyError(
            f"{folder}: holds no images ({', '.join(IMAGE_SUFFIXES)}) and no folders of DICOM slices; of folders in it "
            "only DICOM series are taken, so give a pattern such as 'folder/*/image.nii.gz'"
        )
    return images, faults, ignored


def images_matching(pattern: Path) -> tuple[list[Path], list[Fault[Study]]]:
    """Images and DICOM folders that match a pattern, and what cannot be looked into.

    Raises:
        StudyError: if there is neither.
    """
    search = PatternSearch(pattern)
    files = [path for path in search.found if is_image_file(path) and not _is_folder(path)]
    others = sorted(set(search.found) - set(files) - set(search.errors))
    # Of links that lead nowhere there are many in collections of which a part was fetched.
    folders, faults = _dicom_folders(others, broken_links_count=False)
    faults += [_unlisted(path, error) for path, error in search.errors.items() if path not in files]
    if not (files or folders or faults):
        raise StudyError(
            f"{pattern}: no image or DICOM folder matches this pattern, of {len(search.found)} matches; mend it"
        )
    return [*files, *folders], faults


def _dicom_folders(paths: list[Path], *, broken_links_count: bool) -> tuple[list[Path], list[Fault[Study]]]:
    """Those of some paths that are folders of DICOM slices, and those of which that cannot be said."""
    folders = []
    faults: list[Fault[Study]] = []
    for path in paths:
        try:
            if stat.S_ISDIR(path.stat().st_mode) and is_dicom_series(path):
                folders.append(path)
        except OSError as error:
            if broken_links_count or not isinstance(error, FileNotFoundError):
                faults.append(_unlisted(path, error))
    return folders, faults


def _unlisted(path: Path, error: OSError) -> Fault[Study]:
    return Fault(None, f"{path}: cannot be looked into ({error.strerror or error}); mend it or move it elsewhere")


def group_images(images: list[Path], faults: list[Fault[Study]], source: Path, channels: int | None) -> Listing[Study]:
    """The studies that images make, sorted by case id; see `find_studies`.

    Args:
        images: files and DICOM folders.
        faults: what stands in the way of others.
        source: where the images are from.
        channels: how many make a study; None for each by itself.
    """
    paired = {path.with_suffix("") for path in images if path.suffix.lower() == ".img"}
    images = [path for path in images if path.suffix.lower() != ".hdr" or path.with_suffix("") not in paired]
    images_of: dict[Path, tuple[Path, ...]] = {path: (path,) for path in images}
    if channels is not None:
        images_of, incomplete = _group_channels(images, channels, source)
        faults += incomplete
    named = defaultdict[str, list[Study]](list)
    for key, name in _names(list(images_of)).items():
        named[name].append(Study(name, images_of[key][0], more_images=images_of[key][1:]))
    sound = []
    for name, studies in sorted(named.items()):
        try:
            check_case_id(name)
        except StudyError as error:
            faults += [Fault(None, f"{study.image}: {error}", (study,)) for study in studies]
            continue
        if len(studies) == 1:
            sound += studies
        else:
            files = ", ".join(str(study.image.name if source.is_dir() else study.image) for study in studies)
            reason = f"these files give the same case id, rename or move one: {files}"
            faults.append(Fault(name, reason, tuple(studies)))
    return Listing(source, sound, faults)


def _names(paths: list[Path]) -> dict[Path, str]:
    """Case id per file: of its name, or of its folder's if a pattern matches one name in many folders."""
    names = {path: _name(path) for path in sorted(paths)}
    if len(set(names.values())) < len(paths) and len({path.parent for path in paths}) == len(paths):
        return {path: path.parent.name for path in names}
    return names


def own_case_id(path: Path) -> str:
    """The case id of one image by itself.

    Raises:
        StudyError: if it cannot name a file.
    """
    try:
        return check_case_id(_name(path))
    except StudyError as error:
        raise StudyError(f"{path}: {error}") from error


def _name(path: Path) -> str:
    # A folder's name is kept whole, also where it looks like a file's; "." has none of its own.
    return path.resolve().name if _is_folder(path) else case_id(path)


def _is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 - pathlib's raises where it may not look


def _group_channels(
    files: list[Path], channels: int, source: Path
) -> tuple[dict[Path, tuple[Path, ...]], list[Fault[Study]]]:
    """Images of each study by channel, from files named `<case id>_<channel>`, and what is wrong with the others.

    A case is a path whose name is the case id, in the folder of its images.

    Raises:
        StudyError: if `channels` is less than 1.
    """
    if channels < 1:
        raise StudyError(f"{source}: a study has at least 1 channel, got {channels}")
    faults: list[Fault[Study]] = []
    files_of: dict[Path, dict[int, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for file in sorted(files):
        named = split_channel(case_id(file))
        if named is None:
            reason = f"{file.name}: is not named as a channel, such as case_0000.nii.gz"
            faults.append(Fault(None, reason, (Study(case_id(file), file),)))
        else:
            case_name, channel = named
            files_of[file.parent / case_name][channel].append(file)
    complete = {}
    for case, by_channel in files_of.items():
        missing = [f"{case.name}_{number:04}" for number in range(channels) if number not in by_channel]
        surplus = [file.name for number, found in by_channel.items() if number >= channels for file in found]
        repeated = [file.name for found in by_channel.values() if len(found) > 1 for file in found]
        wrong = [
            f"{case.name}: must have {channels} channels, but {fault} {', '.join(names)}"
            for fault, names in (("lacks", missing), ("has beyond that", surplus), ("has twice", repeated))
            if names
        ]
        first, *more = (file for _, found in sorted(by_channel.items()) for file in found)
        if wrong:
            # One study for all that is wrong with it.
            faults.append(Fault(case.name, wrong[0], (Study(case.name, first, more_images=tuple(more)),)))
            faults += [Fault(case.name, reason) for reason in wrong[1:]]
        else:
            complete[case] = (first, *more)
    return complete, faults


class PatternSearch:
    """What a pattern matches, with the signs of `glob`: `*`, `?`, `[...]`, and `**` for any depth.

    Python's `glob` passes over folders that it may not look into, and follows links that lead back to where they lie.

    Args:
        pattern: absolute, or relative to the working folder. Hidden files and folders are matched by name only.

    Attributes:
        found: what matches, sorted; links are followed, but for those to a folder that they lie in.
        errors: where it could not look, such as a folder that is shut or a link to itself, and why.
    """

    def __init__(self, pattern: Path) -> None:
        self.errors: dict[Path, OSError] = {}
        parts = pattern.parts[1:] if pattern.anchor else pattern.parts
        self.found = sorted(set(self._matches(Path(pattern.anchor), parts)))

    def _matches(self, folder: Path, parts: Sequence[str]) -> Iterator[Path]:
        if not parts:
            yield folder
            return
        first, rest = parts[0], parts[1:]
        if first == "**":
            for below in self._with_all_below(folder, above=frozenset()):
                yield from self._matches(below, rest or ["*"])
        elif glob.has_magic(first):
            for path in self._inside(folder):
                if fnmatch.fnmatch(path.name, first) and (first.startswith(".") or not path.name.startswith(".")):
                    yield from self._matches(path, rest)
        elif self._exists(folder / first):
            yield from self._matches(folder / first, rest)

    def _with_all_below(self, folder: Path, above: frozenset[tuple[int, int]]) -> Iterator[Path]:
        """A folder and all in it that are not hidden; `above` are those that it lies in, by device and inode."""
        try:
            status = folder.stat()
        except OSError as error:
            self._note(folder, error)
            return
        identity = status.st_dev, status.st_ino
        if identity in above or not stat.S_ISDIR(status.st_mode):
            return
        yield folder
        for path in self._inside(folder):
            if not path.name.startswith("."):
                yield from self._with_all_below(path, above | {identity})

    def _inside(self, folder: Path) -> list[Path]:
        try:
            return sorted(folder.iterdir())
        except OSError as error:
            self._note(folder, error)
            return []

    def _exists(self, path: Path) -> bool:
        try:
            path.lstat()
        except OSError as error:
            self._note(path.parent, error)
            return False
        return True

    def _note(self, place: Path, error: OSError) -> None:
        """That nothing is there, or a file that nothing can be in, is an answer."""
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            self.errors[place] = error
