"""Scores of the hippocampus experiment, and its tables."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hippocampus_arms import (
    ALL,
    FEW,
    PUBLISHED,
    PUBLISHED_CALIBRATED,
    PUBLISHED_CONFIDENT,
    RANKSEG,
    RANKSEG_CALIBRATED,
    RANKSEG_CONFIDENT,
    RANKSEG_ISOTONIC,
)
from hippocampus_predictions import predictions
from monai.bundle import ConfigParser
from pseudo_label_quality import LABELLERS

from rankseg_med.cleanup import keep_largest_component
from rankseg_med.decode import DecoderName, make_decoder
from rankseg_med.metrics import Scoring, compare_paired, find_metric, label_regions, score_label_maps
from rankseg_med.studies import Study

SCORES, PSEUDO_LABELS = "scores.json", "pseudo_labels.json"
METRICS = {"dice": "Dice", "jaccard": "Jaccard", "hd95_mm": "HD95 (mm)", "assd_mm": "ASD (mm)"}
DECODERS: tuple[DecoderName, ...] = ("argmax", "dice")
Scores = dict[str, dict[str, dict[str, float]]]
"""Decoder to case id to metric to its mean over both classes."""


def score(config: ConfigParser, network: torch.nn.Module, studies: Sequence[Study]) -> Scores:
    """Decode by argmax and by RankSEG, keep the largest component, measure."""
    regions = label_regions(dict(enumerate(config["label_names"][1:], start=1)))
    scores: Scores = {decoder: {} for decoder in DECODERS}
    for study, probabilities, reference in predictions(config, network.eval(), studies):
        for decoder in DECODERS:
            label_map = keep_largest_component(make_decoder(decoder)(probabilities).numpy(), [[1, 2]])
            rows = score_label_maps(label_map, reference, regions, (1.0, 1.0, 1.0), Scoring(metrics=tuple(METRICS)))
            means = {metric: float(np.mean([row.values[metric] for row in rows])) for metric in METRICS}
            scores[decoder][study.case_id] = means
    return scores


def report(work: Path, arms: Sequence[str], seeds: Sequence[int], heading: str) -> str:
    """Tables in Markdown: every arm by both decoders, and paired differences with 95 % intervals."""
    runs = {arm: {seed: _read(work, arm, seed, SCORES) for seed in seeds} for arm in arms}
    names = " | ".join(METRICS.values())
    lines = [heading, "", f"| arm | decoder | {names} |", "| --- | --- |" + " --- |" * len(METRICS)]
    for arm in arms:
        for decoder in DECODERS:
            cells = [_over_seeds(runs[arm], decoder, metric) for metric in METRICS]
            lines.append(f"| {arm} | {decoder} | {' | '.join(cells)} |")
    lines += ["", "Mean over cases and classes; ± is the standard deviation over seeds.", ""]
    pairs = [(FEW, arm) for arm in arms if arm != FEW and FEW in arms]
    decoded = [
        (PUBLISHED, RANKSEG),
        (PUBLISHED, RANKSEG_CALIBRATED),
        (PUBLISHED_CALIBRATED, RANKSEG_CALIBRATED),
        (RANKSEG_CALIBRATED, RANKSEG_ISOTONIC),
        (PUBLISHED, PUBLISHED_CONFIDENT),
        (PUBLISHED_CONFIDENT, RANKSEG_CONFIDENT),
    ]
    pairs += [pair for pair in decoded if set(pair) <= set(arms)]
    lines += [f"| from | to (argmax) | {names} | gap closed |", "| --- | --- |" + " --- |" * (len(METRICS) + 1)]
    differences = {pair: [_difference(runs[pair[0]], runs[pair[1]], metric) for metric in METRICS] for pair in pairs}
    gap = differences[FEW, ALL][0][0] if (FEW, ALL) in differences else float("nan")
    for (before, after), changes in differences.items():
        shown = " | ".join(text for _, text in changes)
        closed = f"{100 * changes[0][0] / gap:.0f} %" if before == FEW else ""
        lines.append(f"| {before} | {after} | {shown} | {closed} |")
    lines += ["", "Paired over cases, seeds of a case together; in brackets the 95 % bootstrap interval.", ""]
    return "\n".join([*lines, *_pseudo_label_table(work, arms, seeds)])


def folder_of(work: Path, arm: str, seed: int) -> Path:
    """Of one run."""
    return work / arm / f"seed_{seed}"


def _read(work: Path, arm: str, seed: int, name: str) -> Any:  # noqa: ANN401 - what JSON can hold
    return json.loads((folder_of(work, arm, seed) / name).read_text())


def _pseudo_label_table(work: Path, arms: Sequence[str], seeds: Sequence[int]) -> list[str]:
    taught = [arm for arm in arms if all((folder_of(work, arm, seed) / PSEUDO_LABELS).exists() for seed in seeds)]
    if not taught:
        return []
    columns = "iteration | pseudo-labels | Dice | expected Dice | volume / truth | probability / truth"
    lines = [f"| teacher of | {columns} |", "| --- | --- | --- | --- | --- | --- | --- |"]
    for arm in taught:
        runs = [_read(work, arm, seed, PSEUDO_LABELS) for seed in seeds]
        for iteration in sorted(set.intersection(*map(set, runs)), key=int):
            for labeller in LABELLERS:
                rows = [run[iteration][labeller] for run in runs]
                mean = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
                dice = f"{100 * mean['dice']:.2f} | {100 * mean['expected_dice']:.2f}"
                ratios = f"{mean['volume_ratio']:.3f} | {mean['probability_ratio']:.3f}"
                lines.append(f"| {arm} | {iteration} | {labeller} | {dice} | {ratios} |")
    return [
        *lines,
        "",
        "Of unlabelled volumes whose labels training does not see; means over volumes, classes, seeds.",
        "",
    ]


def _over_seeds(runs: Mapping[int, Scores], decoder: str, metric: str) -> str:
    means = [np.mean([case[metric] for case in scores[decoder].values()]) for scores in runs.values()]
    spread = f" ± {_shown(metric, float(np.std(means, ddof=1)))}" if len(means) > 1 else ""
    return _shown(metric, float(np.mean(means))) + spread


def _difference(before: Mapping[int, Scores], after: Mapping[int, Scores], metric: str) -> tuple[float, str]:
    def by_case_and_seed(runs: Mapping[int, Scores]) -> dict[str, float]:
        argmax = ((seed, scores["argmax"]) for seed, scores in runs.items())
        return {f"{case}/{seed}": values[metric] for seed, cases in argmax for case, values in cases.items()}

    a, b = by_case_and_seed(before), by_case_and_seed(after)
    patients = {key: key.rpartition("/")[0] for key in a | b}
    compared = compare_paired(a, b, metric, patients=patients)
    low, high = (_shown(metric, bound, "+") for bound in compared.interval)
    return compared.mean_difference, f"{_shown(metric, compared.mean_difference, '+')} ({low} to {high})"


def _shown(metric: str, value: float, sign: str = "") -> str:
    return f"{value:{sign}.2f}" if find_metric(metric).unit else f"{100 * value:{sign}.2f}"
