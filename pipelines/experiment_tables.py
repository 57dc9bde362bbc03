"""Scores of an experiment's runs, and tables of them: what every arm has, and what it changes against another."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from scipy import stats

from rankseg_med.evaluation import ScoreTable
from rankseg_med.metrics import bootstrap_interval, totals_by_unit
from rankseg_med.report import Document, TextTable, as_markdown

SCORED = "ab/ab.json"
"""What a finished run has, beside its scores."""
_DECODERS = ("argmax", "tuned")
_THIRDS = ("small", "medium", "large")
Scores = Mapping[str, Mapping[str, float]]
"""Case id to score to value, a mean over structures."""
Runs = Mapping[str, Mapping[int, Mapping[str, Scores]]]
"""Arm to seed to decoder to scores."""
INTERVALS = ("seeds", "change", "95 %, seeds", "95 %, patients", "seed by seed")
OF_INTERVALS = "Over seeds by Student's t; over patients by the bootstrap, seeds of a patient together."


def read_runs(work: Path) -> dict[str, dict[int, dict[str, Scores]]]:
    """Arm to seed to decoder to scores, of finished runs."""
    runs: dict[str, dict[int, dict[str, Scores]]] = defaultdict(dict)
    for scored in sorted(work.glob(f"*/*/{SCORED}")):
        seed = scored.parents[1]
        tables = {decoder: scored.parent / "scores" / decoder / "scores.csv" for decoder in _DECODERS}
        runs[seed.parent.name][int(seed.name)] = {decoder: _read(path) for decoder, path in tables.items()}
    return runs


def _read(path: Path) -> Scores:
    by_case: dict[str, list[dict[str, float]]] = defaultdict(list)
    table = ScoreTable.read(path)
    for structure, cases in table.rows.items():
        for case in cases:
            score = partial(table.score, structure, case)
            dice = score("dice")
            by_case[case].append(
                {
                    "dice": 100 * dice,
                    "jaccard": 100 * dice / (2 - dice),
                    "hd95": score("hd95_mm"),
                    "assd": score("assd_mm"),
                    "found": 100.0 * (dice > 0),
                    "volume": score("reference_volume_ml"),
                }
            )
    return {
        case: {name: float(np.mean([row[name] for row in rows])) for name in rows[0]} for case, rows in by_case.items()
    }


def page(title: str, work: Path, runs: Runs, arms: Sequence[str], tables: Iterable[TextTable]) -> str:
    """The page of an experiment as Markdown: scores of its arms, then further tables."""
    count = sum(len(runs[arm]) for arm in arms)
    return as_markdown(Document(title, f"{count} runs.", (levels(runs, arms), *tables)), work)


def levels(runs: Runs, arms: Sequence[str]) -> TextTable:
    """Scores of every arm by every decoder."""

    def mean(scores: Scores, name: str) -> float:
        # Of a structure that is rightly left empty there is no distance.
        return float(np.nanmean([case[name] for case in scores.values()]))

    def of_third(scores: Scores, third: int) -> float:
        by_volume = sorted(scores.values(), key=lambda case: case["volume"])
        return float(np.mean([case["dice"] for case in np.array_split(np.array(by_volume), len(_THIRDS))[third]]))

    rows = []
    for arm in arms:
        for decoder in _DECODERS:
            seeds = [scores[decoder] for scores in runs[arm].values()]
            columns = [
                [mean(scores, name) for scores in seeds] for name in ("dice", "jaccard", "hd95", "assd", "found")
            ]
            columns += [[of_third(scores, third) for scores in seeds] for third in range(len(_THIRDS))]
            rows.append((arm, decoder, str(len(seeds)), *(f"{np.mean(c):.2f}{_spread(c)}" for c in columns)))
    return TextTable(
        "Scores of test patients",
        ("arm", "decoder", "seeds", "Dice", "Jaccard", "HD95 mm", "ASSD mm", "found %", *_THIRDS),
        tuple(rows),
        note="Means over cases and structures, then over seeds; ± is the standard deviation over seeds. Found: Dice "
        "above 0. Small, medium, large: Dice by thirds of the cases. A structure that is left out whole has the "
        "image's diagonal for a distance.",
    )


def _spread(values: Sequence[float]) -> str:
    return f" ± {np.std(values, ddof=1):.2f}" if len(values) > 1 else ""


def changes(
    runs: Runs, reference: str, arms: Sequence[str], patient_of: Callable[[str], str], *, gap_to: str | None = None
) -> TextTable:
    """What arms change against one, by every decoder; of what another one changes, they close a share of the gap."""
    rows = []
    for decoder in _DECODERS:
        gaps: dict[int, float] = {}
        if gap_to is not None and gap_to in runs:
            gaps = _mean_changes(_differences(runs, reference, gap_to, decoder))
        for arm in arms:
            by_seed = _differences(runs, reference, arm, decoder)
            if by_seed:
                closed = _share_closed(_mean_changes(by_seed), gaps)
                rows.append((arm, decoder, *with_intervals(by_seed, patient_of), *([closed] if gap_to else [])))
    return TextTable(
        f"Change of Dice against {reference}",
        ("arm", "decoder", *INTERVALS, *(["gap closed"] if gap_to else [])),
        tuple(rows),
        note=f"Paired by seed and case. {OF_INTERVALS}" + (f" Gap: from {reference} to {gap_to}." if gap_to else ""),
    )


def with_intervals(of_cases: Mapping[int, Mapping[str, float]], patient_of: Callable[[str], str]) -> tuple[str, ...]:
    """What cases change by, as the columns `INTERVALS`.

    Args:
        of_cases: Seed to case to change; not empty.
        patient_of: Case id to patient.
    """
    means = list(_mean_changes(of_cases).values())
    pooled = [
        (patient_of(case), change / len(cases), 1 / len(cases))
        for cases in of_cases.values()
        for case, change in cases.items()
    ]
    # Seeds count alike, however many cases they have.
    patients, shares, weights = zip(*pooled, strict=True)
    (totals, _), (sizes, _) = (totals_by_unit(np.array(values), list(patients)) for values in (shares, weights))
    low, high = bootstrap_interval(totals, sizes)
    return (
        *(str(len(means)), f"{np.mean(means):+.2f}", _over_seeds(means)),
        *(f"{low:+.2f} to {high:+.2f}", " ".join(f"{one:+.2f}" for one in means)),
    )


def _over_seeds(means: Sequence[float]) -> str:
    if len(means) < 2:
        return "-"
    error = stats.sem(means)
    if error == 0:
        return f"{means[0]:+.2f} to {means[0]:+.2f}"
    low, high = stats.t.interval(0.95, len(means) - 1, np.mean(means), error)
    return f"{low:+.2f} to {high:+.2f}"


def _mean_changes(of_cases: Mapping[int, Mapping[str, float]]) -> dict[int, float]:
    """Seed to mean change of its cases."""
    return {seed: float(np.mean(list(cases.values()))) for seed, cases in of_cases.items()}


def _share_closed(changes: Mapping[int, float], gaps: Mapping[int, float]) -> str:
    """How much of the gap of the same seeds a change is; nothing where one of them was not looked at, or it is 0."""
    gap = sum(gaps.get(seed, math.nan) for seed in changes)
    return f"{100 * sum(changes.values()) / gap:.0f} %" if math.isfinite(gap) and gap else ""


def _differences(runs: Runs, before: str, after: str, decoder: str) -> dict[int, dict[str, float]]:
    """Seed to case to change of Dice, of seeds that both have."""
    found = {}
    for seed in sorted(runs[before].keys() & runs[after].keys()):
        a, b = runs[before][seed][decoder], runs[after][seed][decoder]
        if a.keys() != b.keys():
            raise ValueError(f"seed {seed}: {before} and {after} must be scored on the same cases")
        found[seed] = {case: b[case]["dice"] - a[case]["dice"] for case in a}
    return found
