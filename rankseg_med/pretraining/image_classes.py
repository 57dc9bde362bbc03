"""Which class an image as a whole is of: from a file, or from a label map by a rule."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import torch
from jaxtyping import Int

from rankseg_med.studies import Study, StudyError, check_regular_file, load_label_map

ClassRule = Literal["largest", "highest"]
"""``largest``: the label with the most voxels. ``highest``: the highest label that occurs, such as a tumour in an
organ. Either way the background where no label occurs."""

CLASS_RULES: tuple[ClassRule, ...] = get_args(ClassRule)
_COLUMNS = ("case_id", "class")
_MOST_NAMED = 5


def read_image_classes(path: Path) -> dict[str, str]:
    """Read the classes of images.

    Args:
        path: ``.csv`` with the columns ``case_id`` and ``class``, or ``.json``: an object of case id to class.

    Returns:
        Case id to name of the class.

    Raises:
        StudyError: The file is no such thing, or names a case twice or without a class.
    """
    check_regular_file(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = _rows_of_json(text) if path.suffix.lower() == ".json" else _rows_of_csv(text)
    except (UnicodeDecodeError, ValueError, csv.Error) as error:
        raise StudyError(
            f"{path}: must be a CSV file with the columns case_id and class, or a JSON object of case id to class, got "
            f"something else ({error})"
        ) from error
    if repeated := [case for case, count in Counter(case for case, _ in rows).items() if count > 1]:
        raise StudyError(f"{path}: every case has one class, but these stand there twice: {_some(repeated)}")
    if without := [case or "(no case id)" for case, name in rows if not case or not name]:
        raise StudyError(f"{path}: every line must have a case id and a class, these lack one: {_some(without)}")
    return dict(rows)


def classes_of_label_maps(studies: Sequence[Study], rule: ClassRule, label_names: Sequence[str]) -> dict[str, str]:
    """Derive the classes of images from their label maps.

    Args:
        studies: Each with a label map.
        rule: How.
        label_names: Names of all labels, the background's first.

    Returns:
        Case id to name of the class.

    Raises:
        StudyError: A study has no label map, or one with labels beyond the names.
    """
    if without := [study.case_id for study in studies if study.label is None]:
        raise StudyError(f"the rule {rule!r} needs label maps, but the data list has none of {_some(without)}")
    classes = {}
    for study in studies:
        assert study.label is not None
        voxels = torch.bincount(load_label_map(study.label).as_tensor().flatten().int(), minlength=len(label_names))
        if len(voxels) > len(label_names):
            raise StudyError(
                f"{study.label}: has label {len(voxels) - 1}, but label_names end at {len(label_names) - 1}"
            )
        classes[study.case_id] = label_names[_BY_RULE[rule](voxels)]
    return classes


def with_image_classes(studies: Sequence[Study], classes: Mapping[str, str], label_names: Sequence[str]) -> list[Study]:
    """Give each study its class.

    Args:
        studies: Studies to be classified.
        classes: Case id to name of the class, of these studies and no others.
        label_names: Names of all labels, the background's first: what classes there may be.

    Returns:
        The studies in their order, each with its ``image_class``.

    Raises:
        StudyError: Classes of no study, a study without a class, a class that is no label, one class only, or a label
            other than the background that no image is of.
    """
    ids = {study.case_id for study in studies}
    if strangers := sorted(classes.keys() - ids):
        raise StudyError(f"classes are given of cases that are not among the images: {_some(strangers)}; take them out")
    if without := sorted(ids - classes.keys()):
        raise StudyError(f"no class is given of {_some(without)}; give one, or leave the images out")
    if unknown := sorted(set(classes.values()) - set(label_names)):
        raise StudyError(
            f"classes must be among the config's label_names ({', '.join(label_names)}), got {_some(unknown)}; an "
            f"image without any structure is of the class {label_names[0]}"
        )
    if len(set(classes.values())) < 2:
        (only,) = set(classes.values()) or {"none"}
        raise StudyError(f"a classifier needs images of two classes at the least, all of these are of one: {only}")
    if absent := [name for name in label_names[1:] if name not in classes.values()]:
        raise StudyError(
            f"no image is of the class {_some(absent)}, so a network would be trained never to find it; add images, or "
            "leave the label out of label_names"
        )
    return [replace(study, image_class=label_names.index(classes[study.case_id])) for study in studies]


def _largest(voxels: Int[torch.Tensor, " labels"]) -> int:
    return 1 + int(voxels[1:].argmax()) if voxels[1:].any() else 0


def _highest(voxels: Int[torch.Tensor, " labels"]) -> int:
    return int(voxels.nonzero().max()) if voxels.any() else 0


_BY_RULE: Mapping[ClassRule, Callable[[torch.Tensor], int]] = {"largest": _largest, "highest": _highest}


def _rows_of_csv(text: str) -> list[tuple[str, str]]:
    reader = csv.DictReader(io.StringIO(text))
    if not set(_COLUMNS) <= set(reader.fieldnames or ()):
        raise ValueError(f"its columns are {', '.join(reader.fieldnames or ['none'])}")
    return [((row["case_id"] or "").strip(), (row["class"] or "").strip()) for row in reader]


def _rows_of_json(text: str) -> list[tuple[str, str]]:
    # As pairs, so that a case that stands twice is seen.
    rows = json.loads(text, object_pairs_hook=list)
    if not text.lstrip().startswith("{") or not all(isinstance(name, str) for _, name in rows):
        raise ValueError("its content is no object of text to text")
    return [(case.strip(), name.strip()) for case, name in rows]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
