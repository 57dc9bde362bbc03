"""What a tuning says, as a report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from rankseg_med.evaluation.tuning.choice import WORSE_BY, means_by_patient
from rankseg_med.evaluation.tuning.result import Tried, Tuning
from rankseg_med.evaluation.tuning.settings import THRESHOLDS
from rankseg_med.evaluation.tuning.task import SCORES
from rankseg_med.report import Document, Picture, TextTable


def tuning_document(tuning: Tuning, pictures: Sequence[Picture] = (), *, best: int | None = None) -> Document:
    """The report of a tuning: what was tried, what calibrations did, and how well scores are foretold.

    Args:
        tuning: What came of it.
        pictures: Reliability diagrams.
        best: Show only so many settings, those with the highest means, beside argmax and the chosen one.
    """
    tables = (_settings(tuning, best), _calibrations(tuning), _qualities(tuning))
    return Document("Tuning", _verdict(tuning), tables, tuple(pictures), tuning.all_notes)


def _verdict(tuning: Tuning) -> str:
    chosen = tuning.tried[tuning.choice.chosen]
    if tuning.choice.chosen == 0:
        return f"Keep argmax: it is within one standard error of the best of {len(tuning.settings)} settings."
    return (
        f"Use {chosen.setting}: {_points(chosen.gain)} points over argmax ({_range(chosen.interval)}); "
        f"{chosen.better} of {len(tuning.case_ids)} cases better by more than {100 * WORSE_BY:g}, {chosen.worse} worse."
    )


def _settings(tuning: Tuning, best: int | None) -> TextTable:
    chosen = tuning.choice.chosen
    order = sorted(range(len(tuning.tried)), key=lambda index: -tuning.tried[index].mean)
    shown = order if best is None else [i for rank, i in enumerate(order) if rank < best or i in (0, chosen)]
    rows = [_fixed(tuning), *(_setting(tuning.tried[index], is_chosen=index == chosen) for index in shown)]
    gain, *interval = tuning.held_out_gain
    several = tuning.task.names if len(tuning.task.names) > 1 else ()
    return TextTable(
        f"{len(tuning.settings)} settings",
        ("score", "setting", "mean", *several, "gain", "95 % interval", "p", "better", "worse", ""),
        tuple((tuning.task.score, *row) for row in rows),
        note=f"Means over {len(set(tuning.patients))} patients with {len(tuning.case_ids)} cases, each decoded with "
        "what was learnt from other folds. Gains are over argmax, in points; better and worse are cases that change by "
        f"more than {100 * WORSE_BY:g}. p: chance that noise alone lifts any setting so far. Near: within one standard "
        f"error of the best. Chosen on the other folds alone, the rule gains {_points(gain)} ({_range(interval)}).",
    )


def _setting(tried: Tried, *, is_chosen: bool) -> tuple[str, ...]:
    return (
        *(str(tried.setting), *_means(tried.mean, tried.regions.values())),
        *(_points(tried.gain), _range(tried.interval), f"{tried.p:.4f}", str(tried.better), str(tried.worse)),
        "chosen" if is_chosen else "near" if tried.near else "",
    )


def _fixed(tuning: Tuning) -> tuple[str, ...]:
    best = tuning.best_threshold
    scores = tuning.scores.by_threshold[SCORES.index(tuning.task.score), THRESHOLDS.index(best)]
    changes = scores.mean(0) - tuning.scores.chosen_by(tuning.task)[0]
    better, worse = np.count_nonzero(changes > WORSE_BY), np.count_nonzero(changes < -WORSE_BY)
    return (
        f"best fixed threshold, {best:g}",
        *_means(tuning.thresholds[best], means_by_patient(scores, tuning.patients).mean(1).tolist()),
        *(_points(tuning.thresholds[best] - tuning.tried[0].mean), "", "", str(better), str(worse), "baseline"),
    )


def _calibrations(tuning: Tuning) -> TextTable:
    by_voxels, by_cases = tuning.reliability("voxels"), tuning.reliability("cases")
    rows = [
        (
            *(structure, name),
            *(f"{float(value[index]):.3g}" for value in (of.brier, of.nll, of.ece, by_cases[name].ece)),
            f"{100 * (float(of.volume_ratio[index]) - 1):+.1f} %",
        )
        for index, structure in enumerate(tuning.task.names)
        for name, of in by_voxels.items()
    ]
    return TextTable(
        "Calibration, before (none) and after",
        ("structure", "calibration", "Brier", "NLL", "ECE", "ECE by cases", "volume bias"),
        tuple(rows),
        note="After: each case by what was fitted to other folds. Over all voxels alike; by cases: each case counts "
        "the same. Volume bias: expected volume of all cases against the true one.",
    )


def _qualities(tuning: Tuning) -> TextTable:
    rows = [
        (structure, name, *map(_number, (of.bias, of.mean_absolute_error, of.spearman, of.aurc)))
        for structure, qualities in tuning.quality().items()
        for name, of in qualities.items()
    ]
    return TextTable(
        "Score expected without a reference against the true one",
        ("structure", "expected by", "bias", "mean absolute error", "Spearman", "AURC"),
        tuple(rows),
        note="Of the chosen setting, before cleanup. AURC: area under the risk-coverage curve, 0 is the best.",
    )


def _means(mean: float, regions: Iterable[float]) -> list[str]:
    """The mean, and those of the structures if there are several."""
    of_each = [f"{value:.4f}" for value in regions]
    return [f"{mean:.4f}", *(of_each if len(of_each) > 1 else [])]


def _range(interval: Sequence[float]) -> str:
    low, high = interval
    return f"{_points(low)} to {_points(high)}"


def _points(value: float) -> str:
    return f"{100 * value:+.2f}"


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4f}"
