"""Data lists of either form: their studies, and what is wrong with the others."""

from __future__ import annotations

import csv
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rankseg_med.studies.errors import DataListError, StudyError
from rankseg_med.studies.manifest import (
    ABSOLUTE_TOO,
    REPEATED,
    ImageEntry,
    LabelledEntry,
    Manifest,
    faults_of,
    read_list,
)
from rankseg_med.studies.study import Fault, Listing, Study

DATA_LIST_SUFFIXES = (".json", ".csv")

Entry = LabelledEntry | ImageEntry

_IMAGE_COLUMN = re.compile(r"image([2-9]|[1-9][0-9]+)?")


def survey_data_list(path: Path) -> tuple[list[Entry], list[str]]:
    """The entries of a data list that are sound in themselves, training before test, and what is wrong with all else.

    Neither the files that it lists are looked at, nor whether ids or files occur more than once.

    Args:
        path: `.json` (see `Manifest`) or `.csv` (see `read_csv`).
    """
    try:
        content = read_list(path)
        return read_csv(content, path) if path.suffix.lower() == ".csv" else _read_json(content)
    except DataListError as error:
        return [], error.faults


def _read_json(content: bytes) -> tuple[list[Entry], list[str]]:
    try:
        manifest = Manifest.model_validate_json(content)
        return [*manifest.training, *manifest.test], []
    except ValidationError as error:
        faults = faults_of(fault for fault in error.errors() if fault["type"] != REPEATED)
    entries: list[Entry] = []
    for entry in _raw_entries(content):
        try:
            entries.append(_entry(entry))
        except ValidationError:
            continue  # among the faults already
    return entries, faults


def read_csv(content: bytes, path: Path) -> tuple[list[Entry], list[str]]:
    """Read a data list with one study a line, and a first line that names the columns.

    Columns: `case_id`; `image`, and `image2`, `image3`, ... for further channels; and, where known, `label` and `fold`.
    Paths are separated by `/`, and absolute or relative to the data root. A line with no label is a test entry. UTF-8,
    separated by commas.

    Args:
        content: content of the file.
        path: path of the file, for messages.

    Returns:
        The entries that are sound in themselves, and what is wrong with the other lines.

    Raises:
        DataListError: if the file is empty, is no CSV in UTF-8, or its columns are others.
    """
    try:
        # Spreadsheets begin UTF-8 files with a mark, which is none of the first column's name.
        lines = list(csv.reader(content.decode("utf-8-sig").splitlines(), strict=True))
    except UnicodeDecodeError as error:
        raise DataListError(
            path, [f"must be text in UTF-8, got byte {error.object[error.start]:#x}; save it so"]
        ) from error
    except csv.Error as error:
        raise DataListError(path, [f"must be CSV: {error}"]) from error
    if not lines:
        raise DataListError(path, ["is empty; the first line names the columns: case_id,image,label,fold"])
    columns = [name.strip() for name in lines[0]]
    _check_columns(columns, path)

    entries: list[Entry] = []
    faults = []
    for number, values in enumerate(lines[1:], start=2):
        if not any(value.strip() for value in values):
            continue
        if len(values) != len(columns):
            faults.append(f"line {number}: must have {len(columns)} values, got {len(values)}")
            continue
        try:
            line = _from_line(dict(zip(columns, (value.strip() for value in values), strict=True)))
            entries.append(_entry(line, ABSOLUTE_TOO))
        except ValidationError as error:
            faults += [f"line {number}: {fault}" for fault in faults_of(error.errors())]
        except StudyError as error:
            faults.append(f"line {number}: {error}")
    return entries, faults


def _check_columns(columns: list[str], path: Path) -> None:
    images = [name for name in columns if _IMAGE_COLUMN.fullmatch(name)]
    expected = {"image", *(f"image{number}" for number in range(2, len(images) + 1))}
    known = {"case_id", "label", "fold", *images}
    if len(set(columns)) < len(columns) or not {"case_id"} <= set(columns) <= known or set(images) != expected:
        raise DataListError(
            path,
            [f"the columns must be case_id,image[,image2,...][,label][,fold], separated by commas, got {columns}"],
        )


def _from_line(values: dict[str, str]) -> dict[str, Any]:
    """A line as an entry of the JSON form."""
    images = [values[name] for name in sorted(values, key=lambda name: (len(name), name)) if name.startswith("image")]
    entry: dict[str, Any] = {"id": values["case_id"], "image": images if len(images) > 1 else images[0]}
    if values.get("label"):
        entry["label"] = values["label"]
    if values.get("fold"):
        if "label" not in entry:
            raise StudyError("a fold needs a label")
        entry["fold"] = values["fold"]
    return entry


def _entry(values: dict[str, Any], context: str | None = None) -> Entry:
    kind = LabelledEntry if "label" in values else ImageEntry
    return kind.model_validate(values, context=context)


def _raw_entries(content: bytes) -> Iterator[dict[str, Any]]:
    """Whatever looks like an entry in a JSON file that is not a data list."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return
    if not isinstance(document, dict):
        return
    for part in ("training", "test"):
        entries = document.get(part)
        for entry in entries if isinstance(entries, list) else []:
            if isinstance(entry, dict):
                yield entry
            elif isinstance(entry, str):
                yield {"image": entry}


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
        data_root / entry.weight if isinstance(entry, LabelledEntry) and entry.weight is not None else None,
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
