"""Tables of the experiment on losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from experiment_tables import INTERVALS, OF_INTERVALS, Runs, changes, page, read_runs, with_intervals
from losses_calibration import Trust, read_trust

from rankseg_med.report import TextTable

SEARCHED, UNSEARCHED = "searched", "unsearched"
_REFERENCE = "dice_ce"
ARMS = ("ce", "dice", _REFERENCE, "focal", "lovasz", UNSEARCHED, SEARCHED)
"""Names of losses, the searched one, and the one that a search starts from."""


def report(work: Path, patient_of: Callable[[str], str]) -> str:
    """All finished runs as Markdown: scores, what losses change, what decoding adds to each, and their calibration.

    Args:
        work: Folder of an experiment.
        patient_of: Case id to patient.
    """
    runs = read_runs(work)
    arms = [arm for arm in ARMS if arm in runs]
    tables = []
    if others := [arm for arm in arms if arm != _REFERENCE and _REFERENCE in runs]:
        tables.append(changes(runs, _REFERENCE, others, patient_of))
    if SEARCHED in runs and UNSEARCHED in runs:
        tables.append(changes(runs, UNSEARCHED, [SEARCHED], patient_of))
    trust = {arm: [read_trust(work / arm / str(seed)) for seed in runs[arm]] for arm in arms}
    tables += [_gains(runs, arms, patient_of), _calibration(trust)]
    return page("Losses, and what decoding adds", work, runs, arms, tables)


def _gains(runs: Runs, arms: Sequence[str], patient_of: Callable[[str], str]) -> TextTable:
    rows = []
    for arm in arms:
        by_seed = {
            seed: {case: scores["tuned"][case]["dice"] - scores["argmax"][case]["dice"] for case in scores["argmax"]}
            for seed, scores in runs[arm].items()
        }
        rows.append((arm, *with_intervals(by_seed, patient_of)))
    return TextTable(
        "What decoding adds to the Dice of argmax",
        ("loss", *INTERVALS),
        tuple(rows),
        note=f"By the decoder tuned on the validation patients. Paired by case. {OF_INTERVALS}",
    )


def _calibration(trust: Mapping[str, Sequence[Trust]]) -> TextTable:
    rows = []
    for arm, of_seeds in trust.items():
        promised, reached = (
            np.array([100 * np.mean(list(getattr(one, part).values())) for one in of_seeds])
            for part in ("promised", "reached")
        )
        off = [
            100 * np.mean([abs(one.promised[case] - one.reached[case]) for case in one.promised]) for one in of_seeds
        ]
        ece = np.mean([100 * one.ece for one in of_seeds])
        of_dice = (promised.mean(), reached.mean())
        rows.append(
            (
                *(arm, str(len(of_seeds)), f"{ece:.3f}", *(f"{value:.2f}" for value in of_dice)),
                *(f"{np.mean(promised - reached):+.2f}", f"{np.mean(off):.2f}"),
            )
        )
    return TextTable(
        "Calibration on the test patients, before any",
        ("loss", "seeds", "ECE %", "promised Dice", "reached Dice", "promised too much", "off by"),
        tuple(rows),
        note="Means over cases, structures and seeds. ECE: expected calibration error over voxels, each case weighing "
        "the same. Promised: soft Dice of the probabilities and argmax's label map; reached: its Dice. Off by: mean "
        "absolute difference of a case. Cases in which nothing is or was found are left out.",
    )
