"""Which patient a case is of: several studies of one patient are not independent."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection
from pathlib import Path

from rankseg_med.errors import InputError
from rankseg_med.studies import check_regular_file


def read_patients(source: str, case_ids: Collection[str]) -> dict[str, str]:
    """Find the patient of each case.

    Args:
        source: CSV file with the columns ``case_id`` and ``patient_id``, or a regular expression whose one group is
            the patient in the case id, such as ``(.+)_scan`` for ``p07_scan2``.
        case_ids: the cases.

    Returns:
        Case id to patient, of each of ``case_ids``.

    Raises:
        ValueError: ``source`` is neither, is a file that is no CSV (a FIFO is not opened), or gives no patient for a
            case.
        OSError: the CSV file is not there.
    """
    patients = _in_table(Path(source)) if source.lower().endswith(".csv") else _by_pattern(source, case_ids)
    strangers = sorted(case_id for case_id in case_ids if not patients.get(case_id))
    if strangers:
        raise InputError(f"patients {source!r}: gives no patient for {', '.join(strangers)}")
    return {case_id: patients[case_id] for case_id in case_ids}


def _in_table(path: Path) -> dict[str, str]:
    if path.exists():
        check_regular_file(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            table = csv.DictReader(stream)
            if not {"case_id", "patient_id"} <= set(table.fieldnames or ()):
                raise InputError(f"{path}: needs the columns case_id and patient_id, got {table.fieldnames}")
            return {row["case_id"]: row["patient_id"] for row in table}
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path}: must be CSV in UTF-8 ({error}); save it so") from error


def _by_pattern(text: str, case_ids: Collection[str]) -> dict[str, str]:
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise InputError(f"patients {text!r}: is neither a .csv file nor a regular expression ({error})") from error
    if pattern.groups != 1:
        raise InputError(
            f"patients {text!r}: needs exactly one group, which is the patient, such as (.+)_scan; got {pattern.groups}"
        )
    return {case_id: found[1] for case_id in case_ids if (found := pattern.search(case_id))}
