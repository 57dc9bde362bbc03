"""Argmax's label map of a study, made again of the stored probabilities that were decoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from rankseg_med.decode import ArgmaxDecoder, AtHalfDecoder
from rankseg_med.errors import InputError
from rankseg_med.evaluation.run_report.study_record import StudyRecord
from rankseg_med.studies import Grid, Sidecar, StudyError, compare_grids, fingerprint, grid_of
from rankseg_med.workflows import Decoding, LabelMaps, StoredProbabilities

NAME = "argmax label map"


def has_probabilities(record: StudyRecord) -> bool:
    """Whether the label map was decoded from stored probabilities, and by something else than argmax."""
    details = {} if record.sidecar is None else record.sidecar.details
    is_argmax = details.get("decoder") in (repr(ArgmaxDecoder()), repr(AtHalfDecoder()))
    return StoredProbabilities.recorded_in(details) is not None and not is_argmax


def argmax_of(record: StudyRecord, label_map: Path, grid: Grid, notes: list[str]) -> UInt8[np.ndarray, "X Y Z"] | None:
    """Argmax's label map, of regions by sigmoid each at one half; slab by slab, a byte a voxel and channel is kept.

    Args:
        record: A study that has stored probabilities.
        label_map: The label map that it is held against...
        grid: ... and its grid.
        notes: Gets why there is none, or what of the label map argmax lacks.

    Returns:
        The label map; None where the probabilities are not there any more, or not as they were decoded.
    """
    sidecar = record.sidecar
    stored = None if sidecar is None else StoredProbabilities.recorded_in(sidecar.details)
    if sidecar is None or stored is None:
        return None
    study = stored.study(record.case_id)
    decoder = ArgmaxDecoder() if stored.regions is None else AtHalfDecoder()
    # Nothing is written, so there is no folder.
    decoding = Decoding(decoder, LabelMaps(Path()), stored.regions)
    try:
        if fingerprint(study.paths, study.read_as) != sidecar.input_fingerprint:
            raise StudyError(
                f"{study.files[0]}: the probabilities, or their grid, were changed since they were decoded"
            )
        compare_grids(label_map, grid, study.grid or study.files[0], grid_of(study))
        _, session = decoding.load(study)
    except (InputError, OSError) as error:
        notes.append(f"The {NAME} is not shown: {error}")
        return None
    labels: np.ndarray = decoding.finish(session).label_map.numpy()
    if lacking := _lacking(sidecar):
        notes.append(f"The {NAME} is of the probabilities as they are stored, without the {' and the '.join(lacking)}.")
    return labels


def _lacking(sidecar: Sidecar) -> list[str]:
    """What else made the label map that is on disk."""
    parts = {id.partition("::")[0] for id, value in sidecar.settings.items() if value != "null"}
    return [part for part in ("calibration", "cleanup") if part in parts]
