"""Score the label maps of one folder against those of another."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scipy import ndimage

from rankseg_med.metrics import DEFAULT_SCORING, Evaluation, RegionScores, Scoring, label_regions, score_label_maps
from rankseg_med.metrics.lits import LitsCase, LitsEvaluation, score_lits_case, summarise_lits
from rankseg_med.studies import (
    GridError,
    StudyError,
    check_same_grid,
    find_studies,
    load_label_map,
    resample_label_map,
)
from rankseg_med.workflows.case_pool import map_cases
from rankseg_med.workflows.evaluation_files import write_scores, write_summary
from rankseg_med.workflows.evaluation_plan import EvaluationPlan


def evaluate(
    predictions: Path,
    references: Path,
    labels: Mapping[int, str] | EvaluationPlan,
    *,
    output: Path | None = None,
    data_root: Path | None = None,
    fold: int | None = None,
    scoring: Scoring = DEFAULT_SCORING,
    workers: int = 1,
    resample_to_reference: bool = False,
    on_case: Callable[[str], None] | None = None,
) -> Evaluation:
    """Score predicted label maps against references, case by case.

    Files are paired by case id, the file name without its NIfTI suffix; two single files are paired whatever their
    names. A case that cannot be scored (no prediction, no reference, unreadable, on another grid, a crash) becomes a
    failure of the evaluation with its reason; it neither stops the others nor drops out. Results are in the order of
    the case ids.

    With ``output``, writes there, each file complete or not at all, see `write_scores` and `write_summary`:

    - ``scores.csv``: one row a case and region with a column for each metric.
    - ``summary.json``: statistics of every metric and region, failures, warnings, and how it was scored.

    Args:
        predictions: folder of NIfTI label maps, or one such file.
        references: folder of NIfTI label maps, one such file, or a data list (``.json``) whose labels are meant.
        labels: positive value to name of the labels to score, each as a region of its own; or a plan, see
            `plan_evaluation`, whose scoring holds.
        output: folder for the result files, created if it is missing; None writes nothing.
        data_root: what a data list's paths are relative to; by default the list's own folder.
        fold: evaluate only the cases of a data list that are held out in this fold; predictions of its other cases
            are passed over.
        scoring: which metrics, and by which definitions, for ``labels``.
        workers: number of processes that score cases, each with the memory of a case; 1 scores in this process.
        resample_to_reference: bring predictions on another grid onto that of their reference, each voxel taking the
            label of the nearest; else another grid is a failure.
        on_case: called with each case id before its scores are waited for, e.g. to show progress.

    Returns:
        Scores, failures and warnings of every case on either side; for LiTS a `LitsEvaluation`.

    Raises:
        StudyError: a folder or the data list cannot be used (see `find_studies`), or predictions and references have
            no case in common.
        ValueError: a label is not positive, there is none, or ``workers`` is not positive.
        OSError: ``output`` cannot be written to.
    """
    plan = labels if isinstance(labels, EvaluationPlan) else EvaluationPlan(label_regions(labels), scoring)
    predicted, expected = _pair(predictions, references, data_root, fold)
    cases = [
        _Case(case_id, predicted[case_id], expected[case_id], plan, resample_to_reference)
        for case_id in sorted(predicted.keys() & expected.keys())
    ]
    results = map_cases(_score_case, cases, workers)
    scored: dict[str, _CaseScores] = {}
    failures: dict[str, str] = {}
    for case_id in sorted(predicted.keys() | expected.keys()):
        if on_case is not None:
            on_case(case_id)
        if case_id not in predicted:
            failures[case_id] = f"no prediction: {predictions} has no file for this case"
        elif case_id not in expected:
            failures[case_id] = f"no reference: {references} has none for this case"
        elif isinstance(result := next(results), Exception):
            failures[case_id] = str(result) if isinstance(result, StudyError) else f"{type(result).__name__}: {result}"
        else:
            scored[case_id] = result
    evaluation = _gather(plan, scored, failures)
    if output is not None:
        write_scores(evaluation, output / "scores.csv")
        write_summary(evaluation, output / "summary.json", plan, resample_to_reference=resample_to_reference)
    return evaluation


@dataclass(frozen=True)
class _Case:
    """What a process must know to score one case."""

    case_id: str
    prediction: Path
    reference: Path
    plan: EvaluationPlan
    resample_to_reference: bool


@dataclass(frozen=True)
class _CaseScores:
    """The scores of one case, what it adds to the results of LiTS, and what of it deserves a warning."""

    scores: list[RegionScores]
    lits: LitsCase | None
    findings: list[str]


def _gather(plan: EvaluationPlan, scored: Mapping[str, _CaseScores], failures: Mapping[str, str]) -> Evaluation:
    scores = {case_id: case.scores for case_id, case in scored.items()}
    warnings = [f"{case_id}: {finding}" for case_id, case in scored.items() for finding in case.findings]
    if plan.lits is None:
        return Evaluation(plan.regions, scores, failures, warnings, plan.scoring)
    strict = plan.lits == "strict"
    lits = [case.lits for case in scored.values() if case.lits is not None]
    results = summarise_lits(lits, strict=strict) if lits else {}
    return LitsEvaluation(plan.regions, scores, failures, warnings, plan.scoring, strict, results)


def _pair(
    predictions: Path, references: Path, data_root: Path | None, fold: int | None
) -> tuple[dict[str, Path], dict[str, Path]]:
    """Case id to file on either side."""
    predicted = {study.case_id: study.image for study in find_studies(predictions)}
    studies = find_studies(references, data_root=data_root, fold=fold)
    if fold is not None:
        # Predictions of all folds may share a folder; a case that the list does not know at all is still a failure.
        listed = {study.case_id for study in find_studies(references, data_root=data_root)}
        other_folds = listed - {study.case_id for study in studies}
        predicted = {case_id: file for case_id, file in predicted.items() if case_id not in other_folds}
    if references.suffix.lower() == ".json":
        expected = {study.case_id: study.label for study in studies if study.label is not None}
    elif predictions.is_file() and references.is_file():
        expected = dict.fromkeys(predicted, references)
    else:
        expected = {study.case_id: study.image for study in studies}
    if not predicted.keys() & expected.keys():
        raise StudyError(
            f"{predictions} and {references} must have at least one case id in common, but the predictions are of "
            f"{_some(predicted)} and the references of {_some(expected)}; name each prediction after its case, such as "
            "<case id>.nii.gz"
        )
    return predicted, expected


def _some(case_ids: Mapping[str, Path]) -> str:
    shown = ", ".join(sorted(case_ids)[:3]) or "none"
    return f"{shown}, ... ({len(case_ids)} in all)" if len(case_ids) > 3 else shown


def _score_case(case: _Case) -> _CaseScores:
    plan = case.plan
    findings: list[str] = []
    reference_map = load_label_map(case.reference)
    reference = reference_map[0].numpy()
    try:
        check_same_grid(case.prediction, case.reference)
        prediction = load_label_map(case.prediction)[0].numpy()
    except GridError as error:
        if not case.resample_to_reference:
            raise
        prediction = resample_label_map(case.prediction, case.reference)
        findings.append(f"the prediction was resampled (nearest voxel), since {error}")
    spacing_mm = [float(step) for step in reference_map.pixdim]
    if plan.unit_spacing:
        in_voxels = score_label_maps(prediction, reference, plan.regions, [1.0] * 3, plan.scoring)
        scores = [_with_volumes_in_ml(row, spacing_mm) for row in in_voxels]
    else:
        scores = score_label_maps(prediction, reference, plan.regions, spacing_mm, plan.scoring)
    strict = plan.lits == "strict"
    lits = None if plan.lits is None else score_lits_case(prediction, reference, spacing_mm, strict=strict)
    labels = {label for region in plan.regions for label in region.labels}
    findings += [
        f"value {value} occurs in the {side} but is not among the labels {sorted(labels)}, so it was not scored"
        for side, label_map in (("prediction", prediction), ("reference", reference))
        for value, box in enumerate(ndimage.find_objects(label_map), start=1)
        if box is not None and value not in labels
    ]
    return _CaseScores(scores, lits, findings)


def _with_volumes_in_ml(row: RegionScores, spacing_mm: Sequence[float]) -> RegionScores:
    """Scores that were measured with voxels of 1 mm."""
    voxel_mm3 = math.prod(spacing_mm)
    return replace(
        row,
        prediction_volume_ml=row.prediction_volume_ml * voxel_mm3,
        reference_volume_ml=row.reference_volume_ml * voxel_mm3,
    )
