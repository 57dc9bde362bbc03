"""The studies of a data list, less those that want an id or a file that others want too."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from rankseg_med.studies.data_list import Entry, survey_data_list
from rankseg_med.studies.errors import StudyError
from rankseg_med.studies.faults import Fault, Listing
from rankseg_med.studies.manifest import LabelledEntry
from rankseg_med.studies.study import Study


def list_entries(path: Path, data_root: Path, fold: int | None) -> Listing[Study]:
    """List the studies of a data list, in its order; the files that it lists are not looked at.

    Args:
        path: `.json` or `.csv`.
        data_root: what its paths are relative to.
        fold: only those that are held out in this fold; faults are those of the whole list.

    Raises:
        StudyError: if it lists nothing at all, or has no such fold.
    """
    entries, reasons = survey_data_list(path)
    if not entries and not reasons:
        raise StudyError(f"{path}: lists no studies")
    repeated = _repetitions(entries, data_root)
    left_out = {study.case_id for fault in repeated for study in fault.studies}
    studies = [_study(entry, data_root) for entry in entries if entry.id not in left_out]
    if fold is not None:
        folds = sorted({entry.fold for entry in entries if isinstance(entry, LabelledEntry) and entry.fold is not None})
        if fold not in folds:
            raise StudyError(f"{path}: has no fold {fold}; its folds are {folds}")
        studies = [study for study in studies if study.fold == fold]
    return Listing(path, studies, [*(Fault[Study](None, reason) for reason in reasons), *repeated])


def _study(entry: Entry, data_root: Path) -> Study:
    return Study(
        entry.id,
        data_root / entry.images[0],
        data_root / entry.label if isinstance(entry, LabelledEntry) else None,
        entry.fold if isinstance(entry, LabelledEntry) else None,
        tuple(data_root / image for image in entry.images[1:]),
    )


def _repetitions(entries: list[Entry], data_root: Path) -> list[Fault[Study]]:
    """A fault for each id and each file that occurs more than once; together they hold each such entry's study once."""
    with_id, with_file = defaultdict[str, list[Entry]](list), defaultdict[str, list[Entry]](list)
    for entry in entries:
        with_id[entry.id].append(entry)
        for file in entry.files:
            with_file[file].append(entry)
    faults = []
    held: set[str] = set()
    for identifier, same in with_id.items():
        if len(same) > 1:
            reason = f"case ids must differ, but these occur more than once: {identifier}; give each entry its own id"
            faults.append(Fault(identifier, reason, tuple(_study(entry, data_root) for entry in same)))
            held.add(identifier)
    for file, same in with_file.items():
        if len(same) > 1:
            of = dict.fromkeys(entry.id for entry in same)
            reason = f"every file may be listed once, but these occur more than once: {file} (of {', '.join(of)})"
            case_id = same[0].id if len(of) == 1 else None
            new = {entry.id: _study(entry, data_root) for entry in same if entry.id not in held}
            faults.append(Fault(case_id, reason, tuple(new.values())))
            held.update(new)
    return faults
