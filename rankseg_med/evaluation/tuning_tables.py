"""Tables of a tuning, for the console and for Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rankseg_med.evaluation.tuning_choice import LEVEL, WORSE_BY, means_by_patient
from rankseg_med.evaluation.tuning_result import Tried, Tuning
from rankseg_med.evaluation.tuning_settings import THRESHOLDS
from rankseg_med.evaluation.tuning_task import SCORES


@dataclass(frozen=True)
class Rows:
    """A table: text in every cell.

    Attributes:
        title: Above it.
        headings: Of the columns.
        rows: As many cells each.
        caption: Below it.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""

    def markdown(self) -> str:
        """The table as Markdown."""
        lines = [self.headings, ("---",) * len(self.headings), *self.rows]
        text = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
        return "\n\n".join(part for part in (f"## {self.title}", text, self.caption) if part) + "\n"


def tables_of(tuning: Tuning, best: int | None = None) -> tuple[Rows, ...]:
    """What was tried, what calibrations did, and how well scores are foretold.

    Args:
        tuning: What came of it.
        best: Show only so many settings, the ones with the highest means, beside argmax and the chosen one.
    """
    return _settings(tuning, best), _calibrations(tuning), _qualities(tuning)


def _settings(tuning: Tuning, best: int | None) -> Rows:
    order = sorted(range(len(tuning.tried)), key=lambda index: -tuning.tried[index].mean)
    chosen = tuning.choice.chosen
    shown = order if best is None else [i for rank, i in enumerate(order) if rank < best or i in (0, chosen)]
    rows = [_setting(tuning.tried[index], is_chosen=index == chosen) for index in shown]
    gain, low, high = tuning.held_out_gain
    return Rows(
        f"Mean {tuning.task.score} of {len(tuning.settings)} settings",
        ("setting", "mean", *tuning.task.names, "gain", "95 % interval", "p", "better", "worse", ""),
        (_fixed(tuning), *rows),
        f"Over {len(set(tuning.patients))} patients with {len(tuning.case_ids)} cases, each decoded with what was "
        "learnt from other folds. Gains are over argmax, in points; better and worse are cases that change by more "
        f"than {100 * WORSE_BY:g}. Near: p < {LEVEL:g} and within one standard error of the best such. Chosen on the "
        f"other folds alone, the rule gains {_points(gain)} ({_points(low)} to {_points(high)}).",
    )


def _setting(tried: Tried, *, is_chosen: bool) -> tuple[str, ...]:
    low, high = tried.interval
    return (
        *(str(tried.setting), f"{tried.mean:.4f}", *(f"{mean:.4f}" for mean in tried.regions.values())),
        *(_points(tried.gain), f"{_points(low)} to {_points(high)}", f"{tried.p:.4f}", f"{tried.better}"),
        *(f"{tried.worse}", "chosen" if is_chosen else "near" if tried.near else ""),
    )


def _fixed(tuning: Tuning) -> tuple[str, ...]:
    index = THRESHOLDS.index(tuning.best_threshold)
    scores = tuning.scores.by_threshold[SCORES.index(tuning.task.score), index]
    changes = scores.mean(0) - tuning.scores.chosen_by(tuning.task)[0]
    regions = means_by_patient(scores, tuning.patients).mean(1)
    gain = tuning.thresholds[tuning.best_threshold] - tuning.tried[0].mean
    return (
        f"best fixed threshold, {tuning.best_threshold:g}",
        f"{tuning.thresholds[tuning.best_threshold]:.4f}",
        *(f"{mean:.4f}" for mean in regions),
        *(_points(gain), "-", "-", f"{np.count_nonzero(changes > WORSE_BY)}"),
        *(f"{np.count_nonzero(changes < -WORSE_BY)}", "baseline"),
    )


def _calibrations(tuning: Tuning) -> Rows:
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
    return Rows(
        "Calibration, before (none) and after",
        ("structure", "calibration", "Brier", "NLL", "ECE", "ECE by cases", "volume bias"),
        tuple(rows),
        "After: each case by what was fitted to other folds. Over all voxels alike; by cases: with each case counting "
        "the same. Volume bias: expected volume of all cases against the true one.",
    )


def _qualities(tuning: Tuning) -> Rows:
    rows = [
        (structure, name, *map(_number, (of.bias, of.mean_absolute_error, of.spearman, of.aurc)))
        for structure, qualities in tuning.quality().items()
        for name, of in qualities.items()
    ]
    return Rows(
        "Score expected without a reference against the true one",
        ("structure", "expected by", "bias", "mean absolute error", "Spearman", "AURC"),
        tuple(rows),
        "Of the chosen setting, before cleanup. AURC: area under the risk-coverage curve, 0 is the best.",
    )


def _points(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:+.2f}"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"


def markdown_of(tuning: Tuning) -> str:
    """All tables and notes."""
    return "\n".join(
        [f"# Tuning: {tuning.chosen}\n", *_notes(tuning.all_notes), *map(Rows.markdown, tables_of(tuning))]
    )


def _notes(notes: Sequence[str]) -> Iterator[str]:
    if notes:
        yield "".join(f"- {note}\n" for note in notes)
