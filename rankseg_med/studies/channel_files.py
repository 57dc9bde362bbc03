"""Studies of several images by nnU-Net's naming: `case_0000.nii.gz`, `case_0001.nii.gz`, ..."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from rankseg_med.studies.errors import StudyError
from rankseg_med.studies.naming import case_id
from rankseg_med.studies.study import Fault, Study

_CHANNEL = re.compile(r"(?P<case>.+)_(?P<channel>[0-9]{4})")


def group_channels(
    files: list[Path], channels: int, source: Path
) -> tuple[dict[Path, tuple[Path, ...]], list[Fault[Study]]]:
    """Gather the images of each study.

    Args:
        files: images, named `<case id>_<channel>` with a channel of four digits and any image suffix.
        channels: how many every study has, at least 1; numbered from 0.
        source: where the files are from, for messages.

    Returns:
        Case (a path whose name is the case id, in the folder of its images) to its images by channel; and a fault for
        each file that has no channel in its name, and for each study that lacks a channel, has one twice, or one too
        many.

    Raises:
        StudyError: if `channels` is less than 1.
    """
    if channels < 1:
        raise StudyError(f"{source}: a study has at least 1 channel, got {channels}")
    faults: list[Fault[Study]] = []
    files_of: dict[Path, dict[int, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for file in sorted(files):
        match = _CHANNEL.fullmatch(case_id(file))
        if match is None:
            reason = f"{file.name}: is not named as a channel, such as case_0000.nii.gz"
            faults.append(Fault(None, reason, (Study(case_id(file), file),)))
        else:
            files_of[file.parent / match["case"]][int(match["channel"])].append(file)
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
