"""Finding everything that is wrong with the studies that a job is to work on, before it starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rankseg_med.studies import Grid, Study, StudyError, compare_grids, read_grid, survey_studies


@dataclass(frozen=True)
class ManifestCheck:
    """What a check found.

    Attributes:
        n_studies: how many studies were looked at.
        faults: everything that is wrong, one by one; empty if nothing is.
    """

    n_studies: int
    faults: tuple[str, ...]


def check_manifest(source: Path, *, data_root: Path | None = None, channels: int | None = None) -> ManifestCheck:
    """Look for everything that is wrong with a data list, a folder or a pattern, and with the files it stands for.

    The headers of every image, label map and map of weights are read, and their grids compared; voxels are not read.
    Entries of a list that are sound in themselves are looked at although others are not, and so are all that want one
    case id or file.

    Args:
        source: see `find_studies`.
        data_root: what a data list's paths are relative to; by default the list's own folder.
        channels: see `find_studies`.
    """
    try:
        listing = survey_studies(source, data_root=data_root, channels=channels)
    except StudyError as error:
        return ManifestCheck(0, (str(error),))
    faults = [f"{source}: {fault.reason}" for fault in listing.faults]
    studies = [*listing.studies, *(study for fault in listing.faults for study in fault.studies)]
    for study in studies:
        faults += _faults_of(study)
    return ManifestCheck(len(studies), tuple(faults))


def _faults_of(study: Study) -> list[str]:
    """Every file of a study that cannot be used, and every one that lies elsewhere than the first that can."""
    faults = []
    first: tuple[Path, Grid] | None = None
    for path in (*study.images, *filter(None, (study.label, study.weight))):
        try:
            grid = read_grid(path)
            if first is None:
                first = path, grid
            else:
                compare_grids(*first, path, grid)
        except StudyError as error:
            faults.append(f"{study.case_id}: {error}")
    return faults
