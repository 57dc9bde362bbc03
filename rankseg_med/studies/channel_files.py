"""Studies of several images by nnU-Net's naming: `case_0000.nii.gz`, `case_0001.nii.gz`, ..."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from rankseg_med.studies.errors import StudyError
from rankseg_med.studies.naming import case_id

_CHANNEL = re.compile(r"(?P<case>.+)_(?P<channel>[0-9]{4})")


def group_channels(files: list[Path], channels: int, source: Path) -> dict[Path, tuple[Path, ...]]:
    """Gather the images of each study.

    Args:
        files: images, named `<case id>_<channel>` with a channel of four digits and any image suffix.
        channels: how many every study has, at least 1; numbered from 0.
        source: where the files are from, for messages.

    Returns:
        Case (a path whose name is the case id, in the folder of its images) to its images by channel.

    Raises:
        StudyError: if a file has no channel in its name, or a study lacks a channel, has one twice, or one too many;
            one error names them all.
    """
    if channels < 1:
        raise StudyError(f"{source}: a study has at least 1 channel, got {channels}")
    faults = []
    files_of: dict[Path, dict[int, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for file in sorted(files):
        match = _CHANNEL.fullmatch(case_id(file))
        if match is None:
            faults.append(f"{file.name}: is not named as a channel, such as case_0000.nii.gz")
        else:
            files_of[file.parent / match["case"]][int(match["channel"])].append(file)
    for case, by_channel in files_of.items():
        missing = [f"{case.name}_{number:04}" for number in range(channels) if number not in by_channel]
        surplus = [file.name for number, found in by_channel.items() if number >= channels for file in found]
        repeated = [file.name for found in by_channel.values() if len(found) > 1 for file in found]
        for fault, names in (("lacks", missing), ("has beyond that", surplus), ("has twice", repeated)):
            if names:
                faults.append(f"{case.name}: must have {channels} channels, but {fault} {', '.join(names)}")
    if faults:
        raise StudyError("\n- ".join([f"{source}: faults in the channels: {len(faults)}", *faults]))
    return {case: tuple(by_channel[number][0] for number in range(channels)) for case, by_channel in files_of.items()}
