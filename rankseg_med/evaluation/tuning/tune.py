"""Choose calibration, decoder and cleanup on cases that the network was not trained on."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from functools import partial, reduce
from operator import add
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Float64

from rankseg_med.calibration import Calibration, ReliabilityCounts, save_calibration
from rankseg_med.configuration import CalibrationFile
from rankseg_med.errors import InputError
from rankseg_med.evaluation.cases import LabelledCase
from rankseg_med.evaluation.tuning.choice import choose
from rankseg_med.evaluation.tuning.evidence import Evidence, fit, observe, to_counts
from rankseg_med.evaluation.tuning.folds import fold_of_patient, patient_folds
from rankseg_med.evaluation.tuning.result import Scores, Tuning
from rankseg_med.evaluation.tuning.settings import (
    CalibrationName,
    Setting,
    cleanups_to_try,
    settings_to_try,
)
from rankseg_med.evaluation.tuning.task import Task
from rankseg_med.evaluation.tuning.trials import CaseTrials, Prepared, try_case
from rankseg_med.executors import map_items, open_pool
from rankseg_med.studies import StudyError

FEWEST_PATIENTS = 5
"""With fewer, all gain by chance in more than 5 % of draws."""
FEW_PATIENTS = 20
_FEW_CASES_OF_A_STRUCTURE = 10
_FITTED: tuple[CalibrationName, ...] = ("temperature", "isotonic by cases", "isotonic by voxels")
# Cases that a worker has waiting: results are taken in order, and none is kept.
_AHEAD = 4

Item = TypeVar("Item")
Result = TypeVar("Result")


def tune(
    cases: Sequence[LabelledCase],
    task: Task,
    *,
    folds: int = 5,
    seed: int = 0,
    workers: int = 1,
    on_case: Callable[[], None] = lambda: None,
) -> Tuning:
    """Try a small space of settings by cross-validation over patients, and choose one; see `choose` for the rule.

    Cases are read twice. First, voxels are counted by bin of their probability, summed up fold by fold; of all folds
    but one, calibrations are fitted for the cases of that one, and it is seen which structures are always there. Then
    every case is decoded with every setting, and scores are kept alone. In memory is one case a worker, with a
    calibrated copy.

    Args:
        cases: That the network was not trained on.
        task: Structures, and the score to raise.
        folds: Number of folds, at least 2.
        seed: Random seed of folds and draws.
        workers: Processes; the result is the same.
        on_case: Called twice for each case.

    Raises:
        ValueError: Fewer than 5 patients, fewer than 2 folds, ``workers`` is not positive, or a structure that no case
            has.
        StudyError: A case cannot be read or decoded: a choice on part of the cases would be another one.
    """
    patients = [case.patient for case in cases]
    count = len(set(patients))
    if count < FEWEST_PATIENTS:
        raise InputError(
            f"tuning needs at least {FEWEST_PATIENTS} patients, since with fewer not even all gaining is beyond "
            f"chance; got {count} in {len(cases)} cases"
        )
    dealt = patient_folds(patients, folds, seed)
    fold_of = fold_of_patient(dealt)
    with open_pool(workers) if workers > 1 else nullcontext() as pool:
        spread = partial(_each, workers=workers, pool=pool, on_case=on_case)
        evidence = [Evidence.empty(len(task.regions)) for _ in dealt]
        for case, observed in spread(partial(observe, task=task, cases=len(cases), seed=seed), cases, cases):
            evidence[fold_of[case.patient]] += Evidence.of(observed)
        every = reduce(add, evidence)
        _check_structures(every, task)
        fitted, left_out = _fit_all(every, [_without(evidence, fold) for fold in range(len(dealt))], task)
        settings = settings_to_try(
            ["none", *fitted], list(cleanups_to_try(task.labels)), some_absent=not all(every.presence)
        )
        prepared = [
            Prepared({name: files[fold] for name, (_, files) in fitted.items()}, _without(evidence, fold).presence)
            for fold in range(len(dealt))
        ]
        items = [(case, prepared[fold_of[case.patient]]) for case in cases]
        scores, after = _gathered(spread(partial(try_case, task=task, settings=settings), items, cases), settings, task)
    return Tuning(
        task=task,
        case_ids=tuple(case.case_id for case in cases),
        patients=tuple(patients),
        folds=tuple(map(tuple, dealt)),
        seed=seed,
        settings=tuple(settings),
        scores=scores,
        choice=choose(scores.chosen_by(task), patients, 0),
        held_out=_held_out(scores.chosen_by(task), patients, fold_of),
        presence=every.presence,
        calibrations={name: calibration for name, (calibration, _) in fitted.items()},
        counts={"none": every.counts, **after},
        notes=(*_warnings(count, every, task), *left_out),
    )


def _each(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    cases: Sequence[LabelledCase],
    *,
    workers: int,
    pool: ProcessPoolExecutor | None,
    on_case: Callable[[], None],
) -> Iterator[tuple[LabelledCase, Result]]:
    """Results in the order of the cases, few at a time."""
    for start in range(0, len(items), _AHEAD * workers):
        some = slice(start, start + _AHEAD * workers)
        for case, result in zip(cases[some], map_items(function, items[some], workers, pool), strict=True):
            if isinstance(result, Exception):
                raise StudyError(f"{case.case_id} cannot be tuned on: {result}") from result
            on_case()
            yield case, result


def _without(evidence: Sequence[Evidence], fold: int) -> Evidence:
    return reduce(add, (part for other, part in enumerate(evidence) if other != fold))


def _check_structures(every: Evidence, task: Task) -> None:
    lacking = [name for name, number in zip(task.names, every.cases_with, strict=True) if not number]
    if lacking:
        raise InputError(f"no case has {', '.join(lacking)}, so nothing can be said of it; add cases, or leave it out")


def _fit_all(
    every: Evidence, others: Sequence[Evidence], task: Task
) -> tuple[dict[CalibrationName, tuple[Calibration, list[CalibrationFile]]], list[str]]:
    """Each calibration of all cases, and of all folds but one; and why some could not be fitted."""
    fitted, left_out = dict[CalibrationName, tuple[Calibration, list[CalibrationFile]]](), []
    for name in _FITTED:
        try:
            fitted[name] = fit(name, every, task), [_as_file(fit(name, evidence, task)) for evidence in others]
        except ValueError as error:
            left_out.append(f"{name} calibration was left out: {error}")
    return fitted, left_out


def _as_file(calibration: Calibration) -> CalibrationFile:
    """The calibration as it would be read, which also is what travels to other processes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "calibration.json"
        save_calibration(calibration, path)
        return CalibrationFile.read(path)


def _gathered(
    results: Iterator[tuple[LabelledCase, CaseTrials]], settings: Sequence[Setting], task: Task
) -> tuple[Scores, dict[CalibrationName, ReliabilityCounts]]:
    """Scores of all cases, and counts of all of them together."""
    counts: dict[CalibrationName, ReliabilityCounts] = {}
    rows = []
    for _, trials in results:
        rows.append((trials.scores, trials.thresholds, trials.expected))
        for name, array in trials.counts.items():
            found = ReliabilityCounts.of_case(to_counts(array))
            counts[name] = counts[name] + found if name in counts else found
    by_setting, by_threshold, expected = (np.stack(part, -1) for part in zip(*rows, strict=True))
    decodings = tuple(dict.fromkeys(setting.decoding for setting in settings))
    return Scores(by_setting, by_threshold, expected, decodings), counts


def _held_out(
    scores: Float64[np.ndarray, "settings cases"], patients: Sequence[str], fold_of: Mapping[str, int]
) -> Float64[np.ndarray, " cases"]:
    """Gain of each case over argmax with what is chosen on the other folds alone."""
    folds = np.array([fold_of[patient] for patient in patients])
    gains = np.empty(len(patients))
    for fold in np.unique(folds):
        inside = folds == fold
        chosen = choose(scores[:, ~inside], np.array(patients)[~inside].tolist(), 0).chosen
        gains[inside] = (scores[chosen] - scores[0])[inside]
    return gains


def _warnings(patients: int, every: Evidence, task: Task) -> Iterator[str]:
    if patients < FEW_PATIENTS:
        yield (
            f"{patients} patients are few, at least {FEW_PATIENTS} are better: each weighs "
            f"{100 / patients:.0f} % of every mean, and what is chosen may do nothing for others"
        )
    for name, number in zip(task.names, every.cases_with, strict=True):
        if number < _FEW_CASES_OF_A_STRUCTURE:
            yield (
                f"only {number} of {every.cases} cases have {name}, at least {_FEW_CASES_OF_A_STRUCTURE} are better: "
                "isotonic maps of few follow them closely"
            )
