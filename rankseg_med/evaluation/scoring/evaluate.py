"""Score the label maps of one folder against those of another."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Literal, TypeAlias

from rankseg_med.evaluation.patients import read_patients
from rankseg_med.evaluation.scoring.files import (
    remove_overlays,
    write_scores,
    write_statistics,
    write_summary,
    write_tables,
)
from rankseg_med.evaluation.scoring.job import UNSCORED, Pair, ScoredCase, ScoringJob, score_pairs
from rankseg_med.evaluation.scoring.nnunet_summary import write_nnunet_summary
from rankseg_med.evaluation.scoring.plan import check_regions
from rankseg_med.metrics import DEFAULT_SCORING, DistanceUnit, Evaluation, Preset, Scoring, label_regions
from rankseg_med.runs import CaseOutcome, RunOptions, Shard, claimed
from rankseg_med.studies import (
    Listing,
    Sidecar,
    SidecarStatus,
    Study,
    StudyError,
    by_case,
    is_dataset,
    list_predictions,
    list_references,
    list_studies,
    records_beside,
    remove_unfinished,
)

_FILES = ("scores.csv", "summary.json", "summary.csv", "nnunet_summary.json", "tables.md", "tables.tex")

Missing: TypeAlias = Literal["fail", "empty", "ignore"]
"""What becomes of a case without a prediction: a failure, scored as if nothing had been found, or left out."""


def evaluate(
    predictions: Path,
    references: Path,
    labels: Mapping[int, str] | Preset,
    *,
    output: Path | None = None,
    data_root: Path | None = None,
    fold: int | None = None,
    scoring: Scoring = DEFAULT_SCORING,
    missing: Missing = "fail",
    resample_to_reference: bool = False,
    patients: str | None = None,
    shard: Shard | None = None,
    run: RunOptions | None = None,
    on_outcome: Callable[[CaseOutcome[Pair]], None] | None = None,
) -> Evaluation:
    """Score predicted label maps against references, case by case.

    Files are paired by case id, see `find_studies`; by name, where the references are a BIDS derivative data set; and
    two single files whatever their names. A case that cannot be scored (no prediction, no reference, several files of
    its id, unreadable, on another grid, a label that the preset does not know, a crash, a record beside the label map
    that says that the job failed) becomes a failure of the evaluation with its reason; it neither stops the others nor
    drops out. One whose record says that the job has not finished is scored, with a warning. Results are in the order
    of the case ids.

    With ``output``, writes there, each file complete or not at all:

    - ``scores.csv``: one row a case and region with a column for each metric, see `write_scores`.
    - ``summary.json``: statistics of every metric and region, failures, warnings, and how it was scored, see
      `write_summary`.
    - ``summary.csv``: the statistics again, a row a region and metric, see `write_statistics`.
    - ``tables.md``, ``tables.tex``: the tables that the command line shows, see `write_tables`.
    - ``nnunet_summary.json``: voxel counts, Dice and IoU as nnU-Net writes them, see `write_nnunet_summary`.
    - ``cases/<case id>.json``: the sidecar of each case with its scores. What was scored before, of the same files
      and by the same rules, is taken from there; what has changed since is scored again.

    Pictures of `draw_worst_cases` that were drawn by other scores are removed. Of an evaluation that is stopped before
    all is scored there are sidecars alone; the other files stay as they were.

    The same evaluation may be started several times at once, and shares the work; another one of the same folder is
    refused while it lasts, so that all files are of one.

    Args:
        predictions: folder of label maps, a pattern, or one file; see `find_predictions`.
        references: folder of label maps, a pattern, one file, or a data list (``.json``, ``.csv``) whose labels are
            meant; see `find_references`.
        labels: positive value to name of the labels to score, each as a region of its own; or rules, see
            `plan_evaluation`, whose scoring holds.
        output: folder for the result files, created if it is missing; None writes nothing.
        data_root: what a data list's paths are relative to; by default the list's own folder.
        fold: evaluate only the cases of a data list that are held out in this fold; predictions of its other cases
            are passed over.
        scoring: which metrics, and by which definitions, for ``labels``.
        missing: what becomes of references without a prediction; whatever is chosen is in failures or warnings.
        resample_to_reference: bring predictions on another grid onto that of their reference, each voxel taking the
            label of the nearest; else another grid is a failure.
        patients: CSV file or regular expression that says which cases are of one patient, see `read_patients`; None
            takes cases for independent.
        shard: only this part of the case ids of both sides: score its cases and write no more than their sidecars.
            Together, all shards score and report what a run over all does; that gathers what they scored.
        run: how cases are spread, retried and stopped.
        on_outcome: called with what became of each case, e.g. to show progress.

    Returns:
        Scores, failures and warnings of every case on either side, and what the preset reports of the whole data set.

    Raises:
        StudyError: either side cannot be used (see `find_predictions`, `find_references`), or they have no case in
            common; or another evaluation works in ``output``.
        ValueError: a label is not positive, there is none, or a case has no patient.
        OSError: ``output`` cannot be written to.
    """
    rules = labels if isinstance(labels, Preset) else Preset(scoring=scoring, regions=label_regions(labels))
    check_regions(rules)
    predicted, expected, faults = _by_case(predictions, references, data_root, fold)
    pairs = [
        Pair(case_id, predicted.get(case_id), expected[case_id])
        for case_id in sorted(expected)
        if case_id in predicted or missing == "empty"
    ]
    patient_of = None if patients is None else read_patients(patients, [pair.case_id for pair in pairs])
    unpaired = sorted((predicted.keys() ^ expected.keys()) | faults.keys())
    if shard is not None:
        unpaired = shard.of_cases(unpaired)
    settings = (rules, resample_to_reference, missing, patients, fold, predictions.resolve(), references.resolve())
    with nullcontext() if output is None else _held(output, repr(settings)):
        scored, failures = score_pairs(
            pairs,
            rules,
            resample_to_reference=resample_to_reference,
            output=output,
            run=replace(run or RunOptions(), shard=shard),
            on_outcome=on_outcome,
        )
        begun = {case_id: _record_of(case_id, file, "started") for case_id, file in predicted.items()}
        warnings = [f"{case_id}: {reason}" for case_id, reason in begun.items() if reason and case_id in scored]
        for case_id in unpaired:
            if case_id in faults:
                failures[case_id] = faults[case_id]
            elif case_id in predicted:
                failures[case_id] = f"no reference: {references} has none for this case"
            elif missing == "fail":
                failures[case_id] = f"no prediction: {predictions} has no file for this case"
            elif missing == "ignore":
                warnings.append(f"{case_id}: no prediction; left out, as asked for")
        evaluation = _gather(rules, scored, dict(sorted(failures.items())), warnings, patient_of)
        is_stopped = run is not None and run.stop.is_set() and UNSCORED in failures.values()
        if output is not None and shard is None and not is_stopped:
            remove_unfinished(output / name for name in _FILES)
            summary, pair_of = output / "summary.json", {pair.case_id: pair for pair in pairs}
            scores = output / "scores.csv"
            before = scores.read_bytes() if scores.is_file() else b""
            write_scores(evaluation, scores)
            if scores.read_bytes() != before:
                remove_overlays(output)
            write_summary(evaluation, summary, rules.name, resample_to_reference=resample_to_reference)
            write_statistics(evaluation, output / "summary.csv")
            write_nnunet_summary(evaluation, pair_of, output / "nnunet_summary.json")
            write_tables(evaluation, output)
    return evaluation


@contextmanager
def _held(output: Path, settings: str) -> Iterator[None]:
    """Keep other evaluations out of the folder until the scores are written, so that they are all of one."""
    output.mkdir(parents=True, exist_ok=True)
    with claimed(output, ScoringJob.name, hashlib.sha256(settings.encode()).hexdigest()):
        yield


def _gather(
    rules: Preset,
    scored: Mapping[str, ScoredCase],
    failures: Mapping[str, str],
    warnings: Sequence[str],
    patients: Mapping[str, str] | None,
) -> Evaluation:
    scores = {case_id: case.scores.regions for case_id, case in scored.items()}
    findings = [f"{case_id}: {finding}" for case_id, case in scored.items() for finding in case.findings]
    unit: DistanceUnit = "voxel" if rules.unit_spacing else "mm"
    results = rules.summarise([case.scores for case in scored.values()])
    return Evaluation(rules.regions, scores, failures, [*warnings, *findings], rules.scoring, patients, unit, results)


def _by_case(
    predictions: Path, references: Path, data_root: Path | None, fold: int | None
) -> tuple[dict[str, Path], dict[str, Path], dict[str, str]]:
    """Case id to file on either side, and to the reason why a case has none that can be told."""
    sides = list_predictions(predictions), list_references(references, data_root=data_root, fold=fold)
    faults = _named_faults(sides)
    predicted, expected = (
        {case_id: file for case_id, file in by_case(side.studies).items() if case_id not in faults} for side in sides
    )
    if is_dataset(references):
        # There files have no suffix: of sub-01_T1w both are sub-01_dseg.nii.gz. Where that is the name of two, in anat
        # and in dwi, it says nothing.
        names = Counter(file.name for side in (predicted, expected) for file in {*side.values()})
        called = {file.name: case_id for case_id, file in predicted.items() if names[file.name] == 2}
        expected = {
            case_id if case_id in predicted else called.get(file.name, case_id): file
            for case_id, file in expected.items()
        }
    if fold is not None:
        # Predictions of all folds may share a folder; a case that the list does not know at all is still a failure.
        listed, held_out = (
            {study.case_id for study in side.studies}
            for side in (list_studies(references, data_root=data_root), sides[1])
        )
        other_folds = listed - held_out
        predicted = {case_id: file for case_id, file in predicted.items() if case_id not in other_folds}
        faults = {case_id: reason for case_id, reason in faults.items() if case_id not in other_folds}
    elif [*predicted.values(), *expected.values()] == [predictions, references]:
        expected = dict.fromkeys(predicted, references)
    if not predicted.keys() & expected.keys():
        raise StudyError(
            f"{predictions} and {references} must have at least one case id in common, but the predictions are of "
            f"{_some(predicted)} and the references of {_some(expected)}; name each prediction after its case, such as "
            "<case id>.nii.gz"
        )
    failed = {case_id: reason for case_id, file in predicted.items() if (reason := _record_of(case_id, file, "failed"))}
    predicted, expected = (
        {case_id: file for case_id, file in side.items() if case_id not in failed} for side in (predicted, expected)
    )
    return predicted, expected, {**faults, **failed}


def _named_faults(sides: Iterable[Listing[Study]]) -> dict[str, str]:
    """Case id to what is wrong with it, on either side; what is wrong with no one case goes by its list or folder."""
    named = dict[str, str]()
    for side in sides:
        nameless = count(1)
        for fault in side.faults:
            name, reason = fault.case_id, f"{side.source}: {fault.reason}"
            if name is None:
                number = next(nameless)
                name = str(side.source) if number == 1 else f"{side.source} ({number})"
            named[name] = f"{named[name]}; {reason}" if name in named else reason
    return named


def _record_of(case_id: str, label_map: Path, status: SidecarStatus) -> str:
    """What the record beside a label map says, if its study has this status: the label map may be an earlier run's,
    with other settings or weights.
    """
    try:
        sidecar = Sidecar.read(Sidecar.path_in(records_beside(label_map), case_id))
    except (StudyError, OSError):
        return ""  # it may be anybody's file
    if sidecar.status != status:
        return ""
    reason = f": {sidecar.error}" if sidecar.error else ""
    return f"{label_map}: {sidecar.job} {status} at {sidecar.time}, so this may be an earlier run's{reason}"


def _some(case_ids: Mapping[str, Path]) -> str:
    shown = ", ".join(sorted(case_ids)[:3]) or "none"
    return f"{shown}, ... ({len(case_ids)} in all)" if len(case_ids) > 3 else shown
