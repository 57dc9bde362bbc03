"""Scores of several settings on the same cases, and what each changes against argmax."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

from rankseg_med.evaluation.ab.groups import ALL, Group, groups_of
from rankseg_med.evaluation.ab.settings import ARGMAX, Setting, label_maps
from rankseg_med.evaluation.cases import DecodableCase
from rankseg_med.executors import map_items
from rankseg_med.metrics import (
    CaseDifference,
    Evaluation,
    PairedComparison,
    Region,
    RegionScores,
    Scoring,
    compare_paired,
    find_metric,
    score_label_maps,
    summarise,
)
from rankseg_med.studies import StudyError

MEAN = "mean"
"""In the place of a structure: mean over those that have a score with every setting, case by case."""
POINTS = (0, 1, 5)
"""Changes that count as better or worse, in hundredths of a score in [0, 1], or mm of a distance."""
WORST = 5
"""So many cases are named."""


@dataclass(frozen=True)
class Change:
    """What a setting changes against argmax.

    Attributes:
        structure: Name of a region, or `MEAN`.
        group: Name of the group of cases.
        setting: Name of the setting.
        metric: Name in `rankseg_med.metrics.METRICS`.
        result: Comparison of argmax (A) to the setting (B).
    """

    structure: str
    group: str
    setting: str
    metric: str
    result: PairedComparison


@dataclass(frozen=True)
class SideBySide:
    """Evaluations of the same cases by several settings.

    Attributes:
        metric: Score that settings are judged by, ``"dice"`` or ``"jaccard"``.
        evaluations: Name of the setting to its scores, argmax first.
        changes: Every change: by all metrics over all cases, and by ``metric`` over each group of cases.
        worst: Structure and setting to the cases that lose most (or gain least) by ``metric``, the worst first.
    """

    metric: str
    evaluations: Mapping[str, Evaluation]
    changes: Sequence[Change]
    worst: Mapping[tuple[str, str], Sequence[CaseDifference]]

    @property
    def argmax(self) -> Evaluation:
        """What the others are compared with."""
        return self.evaluations[ARGMAX]

    @property
    def structures(self) -> list[str]:
        """Regions, and `MEAN` if there are several."""
        return structures_in(self.argmax)

    @property
    def summary(self) -> str:
        """The structure that the verdict is about: the mean, or the only one."""
        return self.structures[-1]

    def changes_of(self, structure: str, metric: str, group: str = ALL) -> dict[str, PairedComparison]:
        """Setting to change, of every setting but argmax."""
        wanted = structure, metric, group
        return {
            change.setting: change.result
            for change in self.changes
            if (change.structure, change.metric, change.group) == wanted
        }


def set_side_by_side(
    cases: Sequence[DecodableCase],
    settings: Sequence[Setting],
    regions: Sequence[Region],
    scoring: Scoring,
    *,
    metric: str = "dice",
    pool: ProcessPoolExecutor | None = None,
    on_case: Callable[[], None] = lambda: None,
) -> SideBySide:
    """Decode each case by every setting, score all label maps, and compare them with argmax's.

    A case is decoded, scored and forgotten before the next. One that cannot be is a failure of all settings alike.

    Args:
        cases: Cases, at least one.
        settings: Argmax among them; names differ.
        regions: What is scored.
        scoring: Scoring: by which metrics, ``metric`` among them, and by which policy for empty masks.
        metric: What settings are judged by.
        pool: Processes to use, each with one case at a time; None works in this one.
        on_case: Called after each case.

    Raises:
        StudyError: No case could be decoded and scored.
    """
    score = partial(_score_case, settings=settings, regions=regions, scoring=scoring)
    scores: dict[str, dict[str, list[RegionScores]]] = {setting.name: {} for setting in settings}
    failures: dict[str, str] = {}
    for case, result in zip(cases, map_items(score, cases, pool=pool), strict=True):
        if isinstance(result, Exception):
            failures[case.case_id] = str(result)
        else:
            for name, rows in result.items():
                scores[name][case.case_id] = rows
        on_case()
    if len(failures) == len(cases):
        raise StudyError("\n- ".join(["no case could be decoded and scored", *failures.values()]))
    patients = {case.case_id: case.patient for case in cases}
    evaluations = {
        name: Evaluation(regions, of_cases, failures, (), scoring, patients) for name, of_cases in scores.items()
    }
    return SideBySide(metric, evaluations, *_compare(evaluations, metric))


def structures_in(evaluation: Evaluation) -> list[str]:
    """Regions, and `MEAN` if there are several."""
    names = [region.name for region in evaluation.regions]
    return [*names, MEAN] if len(names) > 1 else names


def _score_case(
    case: DecodableCase, settings: Sequence[Setting], regions: Sequence[Region], scoring: Scoring
) -> dict[str, list[RegionScores]]:
    reference = case.reference().numpy()
    return {
        setting.name: score_label_maps(label_map.numpy(), reference, regions, case.grid.spacing_mm, scoring)
        for setting, label_map in label_maps(case, settings)
    }


def _compare(
    evaluations: Mapping[str, Evaluation], metric: str
) -> tuple[list[Change], dict[tuple[str, str], list[CaseDifference]]]:
    argmax = evaluations[ARGMAX]
    others = [name for name in evaluations if name != ARGMAX]
    changes: list[Change] = []
    worst: dict[tuple[str, str], list[CaseDifference]] = {}
    for structure in structures_in(argmax):
        groups = groups_of(argmax, structure) if structure != MEAN else []
        for measure in argmax.scoring.metrics:
            values = _values(evaluations, structure, measure)
            of_measure = [Group(ALL, frozenset(argmax.scores)), *(groups if measure == metric else [])]
            for group in of_measure:
                for name in others:
                    result = _change(values[ARGMAX], values[name], group, measure, argmax.patients)
                    changes.append(Change(structure, group.name, name, measure, result))
            if measure == metric:
                for name in others:
                    worst[structure, name] = _worst(values[ARGMAX], values[name])
    return changes, worst


def _values(evaluations: Mapping[str, Evaluation], structure: str, metric: str) -> dict[str, dict[str, float]]:
    """Setting to case id to score."""
    if structure != MEAN:
        return {name: evaluation.values(structure, metric) for name, evaluation in evaluations.items()}
    regions = [region.name for region in evaluations[ARGMAX].regions]
    by_region = [_values(evaluations, region, metric) for region in regions]
    # A structure that is undefined with one setting is left out of the others' means too.
    defined = {
        case_id: [values for values in by_region if not any(math.isnan(of[case_id]) for of in values.values())]
        for case_id in evaluations[ARGMAX].scores
    }
    return {
        name: {
            case_id: summarise(values[name][case_id] for values in of_case).mean for case_id, of_case in defined.items()
        }
        for name in evaluations
    }


def _change(
    before: Mapping[str, float],
    after: Mapping[str, float],
    group: Group,
    metric: str,
    patients: Mapping[str, str] | None,
) -> PairedComparison:
    return compare_paired(
        {case_id: score for case_id, score in before.items() if case_id in group.case_ids},
        {case_id: score for case_id, score in after.items() if case_id in group.case_ids},
        metric,
        patients=patients,
        thresholds=[points * find_metric(metric).point for points in POINTS],
    )


def _worst(before: Mapping[str, float], after: Mapping[str, float]) -> list[CaseDifference]:
    differences = [CaseDifference(case_id, after[case_id] - before[case_id]) for case_id in sorted(before)]
    defined = [case for case in differences if not math.isnan(case.difference)]
    return sorted(defined, key=lambda case: case.difference)[:WORST]
