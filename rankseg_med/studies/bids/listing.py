"""The label maps of a BIDS derivative data set."""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from pathlib import Path

from rankseg_med.studies.bids.dataset import LOGS
from rankseg_med.studies.bids.names import LABEL_MAP
from rankseg_med.studies.errors import StudyError
from rankseg_med.studies.sidecar import Sidecar
from rankseg_med.studies.study import Fault, Listing, Study


def list_label_maps(dataset: Path) -> Listing[Study]:
    """Label maps, each as a study's image, by the case ids that records know them by.

    One that no record speaks of goes by its name: ``sub-01_ses-2_dseg.nii.gz`` is the case ``sub-01_ses-2``.

    Args:
        dataset: Folder of the data set.

    Raises:
        StudyError: There is none.
    """
    recorded = _recorded(dataset / LOGS)
    files = defaultdict[str, list[Path]](list)
    for path in sorted(dataset.glob(f"sub-*/**/*{LABEL_MAP}")):
        files[recorded.get(path.resolve(), path.name.removesuffix(LABEL_MAP))].append(path)
    if not files:
        raise StudyError(f"{dataset}: is a BIDS data set that has no label map, sub-*/**/*{LABEL_MAP}")
    sound = [Study(case_id, paths[0]) for case_id, paths in sorted(files.items()) if len(paths) == 1]
    faults = [
        Fault(
            case_id,
            f"these files give the same case id, {case_id}: {', '.join(map(str, paths))}; remove one",
            tuple(Study(case_id, path) for path in paths),
        )
        for case_id, paths in sorted(files.items())
        if len(paths) > 1
    ]
    return Listing(dataset, sound, faults)


def _recorded(records: Path) -> dict[Path, str]:
    """Label map to case id."""
    case_ids: dict[Path, str] = {}
    for path in sorted(records.glob("*.json")):
        with suppress(StudyError, OSError):  # of a run, or damaged: status says so
            sidecar = Sidecar.read(path)
            case_ids |= {(records / name).resolve(): sidecar.case_id for name in sidecar.outputs}
    return case_ids
