"""Score the label maps of one folder against those of another."""

import csv
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from pathlib import Path

from scipy import ndimage

from rankseg_med import __version__
from rankseg_med.metrics import (
    DEFAULT_EMPTY_POLICY,
    METRICS,
    EmptyPolicy,
    Evaluation,
    LabelScores,
    MetricSummary,
    score_label_maps,
)
from rankseg_med.studies import StudyError, atomic_write, check_same_grid, find_studies, load_label_map


def evaluate(
    predictions: Path,
    references: Path,
    labels: Mapping[int, str],
    *,
    output: Path | None = None,
    data_root: Path | None = None,
    fold: int | None = None,
    empty_policy: EmptyPolicy = DEFAULT_EMPTY_POLICY,
    on_case: Callable[[str], None] | None = None,
) -> Evaluation:
    """Score predicted label maps against references, case by case.

    Files are paired by case id, the file name without its NIfTI suffix; two single files are paired whatever their
    names. A case that cannot be scored (no prediction, no reference, unreadable, on another grid) becomes a failure
    of the evaluation with its reason; it neither stops the others nor drops out. Cases run in the order of their ids.

    With ``output``, writes there, each file complete or not at all:

    - ``scores.csv``: one row a case and class with all of `LabelScores`; an undefined score is ``nan``.
    - ``summary.json``: per class the `MetricSummary` of every metric, the foreground means, failures, warnings, the
      policy for empty masks and the version of this package; an undefined number is ``null``.

    Args:
        predictions: folder of NIfTI label maps, or one such file.
        references: folder of NIfTI label maps, one such file, or a data list (``.json``) whose labels are meant.
        labels: positive value to name of the classes to score.
        output: folder for the result files, created if it is missing; None writes nothing.
        data_root: what a data list's paths are relative to; by default the list's own folder.
        fold: evaluate only the cases of a data list that are held out in this fold; predictions of its other cases
            are passed over.
        empty_policy: what a class scores that is absent from the prediction, the reference or both.
        on_case: called with each case id before the case is scored, e.g. to show progress.

    Returns:
        Scores, failures and warnings of every case on either side.

    Raises:
        StudyError: a folder or the data list cannot be used (see `find_studies`), or predictions and references have
            no case in common.
        ValueError: a label is not positive, or there is none.
        OSError: ``output`` cannot be written to.
    """
    predicted, expected = _pair(predictions, references, data_root, fold)
    scores: dict[str, list[LabelScores]] = {}
    failures: dict[str, str] = {}
    warnings: list[str] = []
    for case_id in sorted(predicted.keys() | expected.keys()):
        if on_case is not None:
            on_case(case_id)
        try:
            if case_id not in predicted:
                raise StudyError(f"no prediction: {predictions} has no file for this case")
            if case_id not in expected:
                raise StudyError(f"no reference: {references} has none for this case")
            scores[case_id], unscored = _score_case(predicted[case_id], expected[case_id], labels, empty_policy)
        except StudyError as error:
            failures[case_id] = str(error)
        else:
            warnings += [f"{case_id}: {finding}" for finding in unscored]
    evaluation = Evaluation(labels, scores, failures, warnings, empty_policy)
    if output is not None:
        _write_scores(evaluation, output / "scores.csv")
        _write_summary(evaluation, output / "summary.json")
    return evaluation


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


def _score_case(
    prediction_file: Path, reference_file: Path, labels: Mapping[int, str], empty_policy: EmptyPolicy
) -> tuple[list[LabelScores], list[str]]:
    """The scores of a case, and what of it was left unscored."""
    check_same_grid(prediction_file, reference_file)
    prediction, reference = load_label_map(prediction_file), load_label_map(reference_file)
    spacing_mm = [float(step) for step in reference.pixdim]
    label_maps = {"prediction": prediction[0].numpy(), "reference": reference[0].numpy()}
    scores = score_label_maps(label_maps["prediction"], label_maps["reference"], labels, spacing_mm, empty_policy)
    unscored = [
        f"value {value} occurs in the {side} but is not among the labels {sorted(labels)}, so it was not scored"
        for side, label_map in label_maps.items()
        for value, box in enumerate(ndimage.find_objects(label_map), start=1)
        if box is not None and value not in labels
    ]
    return scores, unscored


def _write_scores(evaluation: Evaluation, path: Path) -> None:
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, ["case_id", *(field.name for field in fields(LabelScores))])
        writer.writeheader()
        for case_id, rows in evaluation.scores.items():
            writer.writerows({"case_id": case_id, **asdict(row)} for row in rows)


def _write_summary(evaluation: Evaluation, path: Path) -> None:
    summary = {
        "package_version": __version__,
        "n_scored": len(evaluation.scores),
        "n_failed": len(evaluation.failures),
        "foreground_mean": {metric: _null_if_nan(evaluation.foreground_mean(metric)) for metric in METRICS},
        "labels": {
            label: {"name": name, **{metric: _as_json(evaluation.summary(label, metric)) for metric in METRICS}}
            for label, name in evaluation.labels.items()
        },
        "failures": dict(evaluation.failures),
        "warnings": list(evaluation.warnings),
        "empty_policy": _as_json(evaluation.empty_policy),
    }
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(summary, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _as_json(numbers: MetricSummary | EmptyPolicy) -> dict[str, int | float | str | None]:
    return {key: _null_if_nan(value) for key, value in asdict(numbers).items()}


def _null_if_nan(value: int | float | str) -> int | float | str | None:
    """JSON has no NaN."""
    return None if isinstance(value, float) and math.isnan(value) else value
