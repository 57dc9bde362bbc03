"""An evaluation as nnU-Net v2 writes it, for tools that read nnU-Net's ``summary.json``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from rankseg_med.evaluation.scoring.job import Pair
from rankseg_med.metrics import Evaluation, Region, VoxelCounts
from rankseg_med.studies import write_text

_METRICS = ("Dice", "IoU", "FP", "TP", "FN", "TN", "n_pred", "n_ref")


def write_nnunet_summary(evaluation: Evaluation, pairs: Mapping[str, Pair], path: Path) -> None:
    """Write counts, Dice and IoU in the layout, and by the rules, of nnU-Net v2's ``compute_metrics_on_folder``.

    The rules are nnU-Net's whatever the evaluation's own were: of a region that is in neither label map, Dice and IoU
    are NaN (the word ``NaN``, which nnU-Net's loader reads, and strict JSON has not); means leave these cases out; the
    mean over regions is NaN if one of them has no mean. But there is no ignored label: its voxels, which nnU-Net leaves
    out of all counts, are counted like any others.

    Args:
        evaluation: What was scored; failed cases are not in the file, as there is no place for them.
        pairs: Case id to files, of every scored case; of a case without a prediction, ``prediction_file`` is null.
        path: The file.

    Raises:
        OSError: The file cannot be written.
    """
    metrics = {
        case_id: {_key(row.region): _metrics(row.voxels) for row in rows} for case_id, rows in evaluation.scores.items()
    }
    means = {key: _means([found[key] for found in metrics.values()]) for key in map(_key, evaluation.regions)}
    summary = {
        "foreground_mean": {name: float(np.mean([mean[name] for mean in means.values()])) for name in _METRICS},
        "mean": means,
        "metric_per_case": [
            {
                "metrics": found,
                "prediction_file": None if (file := pairs[case_id].prediction) is None else str(file),
                "reference_file": str(pairs[case_id].reference),
            }
            for case_id, found in metrics.items()
        ],
    }
    write_text(json.dumps(summary, indent=4, sort_keys=True), path)


def _key(region: Region) -> str:
    """What nnU-Net calls it: ``"1"``, or ``"(1, 2)"``."""
    return str(region.labels[0] if len(region.labels) == 1 else region.labels)


def _metrics(voxels: VoxelCounts) -> dict[str, float]:
    right, invented, missed = voxels.true_positives, voxels.false_positives, voxels.false_negatives
    union = right + invented + missed
    overlaps = (2 * right / (right + union), right / union) if union else (math.nan, math.nan)
    counts = (invented, right, missed, voxels.true_negatives, right + invented, right + missed)
    return dict(zip(_METRICS, (*overlaps, *counts), strict=True))


def _means(cases: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Over the cases that have a value; NaN where none has."""
    values = {name: np.array([case[name] for case in cases], dtype=float) for name in _METRICS}
    return {name: math.nan if np.isnan(of).all() else float(np.nanmean(of)) for name, of in values.items()}
