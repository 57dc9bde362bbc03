"""Groups of cases in which decoding may do other things than in the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rankseg_med.metrics import Evaluation

ALL = "all cases"
_THIRDS = ("smallest third", "middle third", "largest third")


@dataclass(frozen=True)
class Group:
    """Some cases, and what they have in common."""

    name: str
    case_ids: frozenset[str]


def groups_of(argmax: Evaluation, structure: str) -> list[Group]:
    """Groups of cases by one structure, none of them empty.

    Args:
        argmax: Scores of argmax.
        structure: Name of one of its regions.

    Returns:
        Thirds by the reference's volume of the cases that have the structure (of three cases and more), those without
        it, and, where there are any, those in which argmax finds nothing of it, apart from the others.
    """
    rows = {
        case_id: next(row for row in of_case if row.region.name == structure)
        for case_id, of_case in argmax.scores.items()
    }
    present = [case_id for case_id in rows if rows[case_id].reference_volume_ml > 0]
    present.sort(key=lambda case_id: (rows[case_id].reference_volume_ml, case_id))
    groups: list[Group] = []
    if len(present) >= len(_THIRDS):
        for name, part in zip(_THIRDS, np.array_split(np.array(present, dtype=object), len(_THIRDS)), strict=True):
            smallest, largest = (rows[part[index]].reference_volume_ml for index in (0, -1))
            groups.append(_group(f"{name}, {smallest:.3g} to {largest:.3g} ml", part.tolist()))
    empty = [case_id for case_id in rows if rows[case_id].prediction_volume_ml == 0]
    groups.append(_group("reference empty", [case_id for case_id in rows if case_id not in present]))
    if empty:
        others = [case_id for case_id in rows if case_id not in empty]
        groups += [_group("argmax empty", empty), _group("argmax not empty", others)]
    return [group for group in groups if group.case_ids]


def _group(name: str, case_ids: Sequence[str]) -> Group:
    return Group(name, frozenset(case_ids))
