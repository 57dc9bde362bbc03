"""Cases that a tuned setting is tried on are not those that it was tuned on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ValidationError

from rankseg_med.configuration import find_config
from rankseg_med.evaluation.cases import DecodableCase
from rankseg_med.evaluation.patients import read_patients
from rankseg_med.studies import StudyError, check_regular_file


class _Record(BaseModel):
    cases: list[str]
    patients: dict[str, str] = {}


def check_unseen(overlay: str | Path, cases: Sequence[DecodableCase], patients: str | None = None) -> str | None:
    """Refuse cases that an overlay was tuned on, and others of the same patients.

    The record of the tuning is ``tuned.record.json`` (or ``tuned.json``) beside ``tuned.yaml``.

    Args:
        overlay: Config overlay, a file or a shipped name.
        cases: What it is to be tried on.
        patients: Says of which patient the cases of the record are too, see `read_patients`; None takes what the record
            says.

    Returns:
        None, or, where there is no record of the tuning, a warning that nothing was checked.

    Raises:
        StudyError: A case or a patient was tuned on; all are named. Or the record cannot be read.
        ValueError: A case of the record has no patient.
    """
    file = find_config(overlay)
    path = next((path for path in _record_paths(file) if path.exists()), None)
    if path is None:
        return f"{file}: has no record of its tuning beside it; make sure that none of these cases was tuned on"
    record = _read(path)
    patient_of = record.patients if patients is None else read_patients(patients, record.cases)
    tuned_on, known = set(record.cases), set(patient_of.values())
    seen = [
        case.case_id if case.case_id in tuned_on else f"{case.case_id} (of patient {case.patient})"
        for case in cases
        if case.case_id in tuned_on or case.patient in known
    ]
    if seen:
        raise StudyError(
            f"{file}: was tuned on {len(seen)} of the {len(cases)} cases, or on others of their patients, so that its "
            f"scores would flatter it: {', '.join(seen)}; give cases that tuning has not seen"
        )
    return None


def _record_paths(overlay: Path) -> list[Path]:
    paths = (overlay.with_suffix(ending) for ending in (".record.json", ".json"))
    return [path for path in paths if path != overlay]


def _read(path: Path) -> _Record:
    check_regular_file(path)
    try:
        return _Record.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise StudyError(
            f"{path}: is no record of a tuning, which names its cases ({error.errors()[0]['msg']})"
        ) from error
