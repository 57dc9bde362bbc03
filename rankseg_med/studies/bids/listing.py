"""The label maps of a BIDS derivative data set."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from rankseg_med.studies.bids.dataset import LOGS
from rankseg_med.studies.bids.names import LABEL_MAP, BidsName
from rankseg_med.studies.errors import StudyError
from rankseg_med.studies.sidecar import Sidecar
from rankseg_med.studies.study import Fault, Listing, Study


def list_label_maps(dataset: Path) -> Listing[Study]:
    """Label maps, each as a study's image, by the case ids that records know them by.

    One that no record speaks of goes by its name: ``sub-01_ses-2_dseg.nii.gz`` is the case ``sub-01_ses-2``. Hidden
    files, such as those that are being written, are none.

    Args:
        dataset: Folder of the data set.

    Raises:
        StudyError: There is none.
    """
    recorded = _recorded(dataset)
    files = defaultdict[str, list[Path]](list)
    for path in sorted(dataset.glob(f"sub-*/**/*{LABEL_MAP}")):
        if not path.name.startswith("."):
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


def _recorded(dataset: Path) -> dict[Path, str]:
    """Label map to case id; where several studies have one, of that which was done, and done last."""
    case_ids: dict[Path, str] = {}
    # Damaged ones are missing here: status says so.
    for sidecar in sorted(Sidecar.all_in(dataset / LOGS), key=lambda sidecar: (sidecar.status == "done", sidecar.time)):
        outputs = [dataset / LOGS / name for name in sidecar.outputs]
        if not outputs:  # begun, or failed, when its label map may be there all the same
            outputs = [dataset / BidsName.of(sidecar.case_id, [*map(Path, sidecar.inputs)]).path()]
        case_ids |= {output.resolve(): sidecar.case_id for output in outputs}
    return case_ids
