"""Scoring of one case after another: label maps in, scores out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import numpy as np
from jaxtyping import UInt8
from pydantic import TypeAdapter
from scipy import ndimage

from rankseg_med.configuration import digest_of
from rankseg_med.metrics import CaseScores, Preset, label_fault
from rankseg_med.runs import CaseOutcome, RunOptions, Written, run_job
from rankseg_med.studies import (
    GridError,
    StudyError,
    check_same_grid,
    load_label_map,
    read_grid,
    resample_label_map,
)

_BYTES_PER_VOXEL = 30
# The label map as it was read, and the copy that SimpleITK resamples.
_BYTES_PER_RESAMPLED_VOXEL = 3


UNSCORED = "not scored: the run was stopped"
"""Why a case has no scores that a run did not come to."""


@dataclass(frozen=True)
class Pair:
    """A case to be scored: its label map as predicted, None for an empty one, and as it should be."""

    case_id: str
    prediction: Path | None
    reference: Path


@dataclass(frozen=True)
class ScoredCase:
    """The scores of one case, and what of it deserves a warning."""

    scores: CaseScores
    findings: list[str]


@dataclass(frozen=True)
class ScoringJob:
    """Scores pairs; the sidecars hold scores under ``scored``, and what deserves a warning under ``findings``.

    Attributes:
        rules: What is scored, and by which rules.
        resample_to_reference: See `evaluate`.
        output: Folder of the sidecars.
    """

    rules: Preset
    resample_to_reference: bool
    output: Path
    name: ClassVar[str] = "evaluate"
    results_version: ClassVar[int] = 3
    stage_names: ClassVar[tuple[str, ...]] = ("score",)

    @property
    def records(self) -> Path:
        """That folder."""
        return self.output

    @property
    def digest(self) -> str:
        """Digest of what is scored, and how."""
        return digest_of({"rules": repr(self.rules), "resample_to_reference": self.resample_to_reference})

    @property
    def settings(self) -> Mapping[str, str]:
        """The rules, and whether predictions may be resampled."""
        return {"rules": repr(self.rules), "resample_to_reference": str(self.resample_to_reference)}

    def build(self) -> tuple[Callable[[Pair], Written]]:
        """The only step."""
        return (partial(_score, self.rules, self.resample_to_reference),)

    def inputs_of(self, pair: Pair) -> tuple[Path, ...]:
        """Both label maps."""
        return (pair.reference,) if pair.prediction is None else (pair.prediction, pair.reference)

    def kept_of(self, pair: Pair) -> tuple[Path, ...]:
        """Both label maps."""
        return self.inputs_of(pair)

    def outputs_of(self, pair: Pair) -> tuple[Path, ...]:
        """None: the scores are in the sidecar."""
        return ()

    def memory_needed(self, pair: Pair) -> int:
        """Bytes, from headers: two label maps, distances around the structures, and what may have to be resampled."""
        needed = _BYTES_PER_VOXEL * math.prod(read_grid(pair.reference).shape)
        if self.resample_to_reference and pair.prediction is not None:
            needed += _BYTES_PER_RESAMPLED_VOXEL * math.prod(read_grid(pair.prediction).shape)
        return needed


def score_pairs(
    pairs: Sequence[Pair],
    rules: Preset,
    *,
    resample_to_reference: bool = False,
    output: Path | None = None,
    run: RunOptions | None = None,
    on_outcome: Callable[[CaseOutcome[Pair]], None] | None = None,
) -> tuple[dict[str, ScoredCase], dict[str, str]]:
    """Score many cases.

    Args:
        pairs: What to score, all shards'; case ids differ.
        rules: By which rules.
        resample_to_reference: See `evaluate`.
        output: Sidecars go to ``cases`` in this folder; None keeps no record.
        run: How cases are spread.
        on_outcome: Called with what became of each case.

    Returns:
        Case id to scores, and case id to the reason why there are none; each case of the run is in one of them.
    """
    run = replace(run or RunOptions(), overwrite=True)
    with nullcontext(output / "cases") if output else TemporaryDirectory() as folder:
        job = ScoringJob(rules, resample_to_reference, Path(folder))
        mine = pairs if run.shard is None else run.shard.of_cases(pairs)
        failures = {pair.case_id: UNSCORED for pair in mine}
        scored: dict[str, ScoredCase] = {}
        case_scores = TypeAdapter(rules.case_type)
        for outcome in run_job(job, pairs, run):
            case_id = outcome.case.case_id
            if outcome.status == "failed":
                failures[case_id] = outcome.reason
            else:
                scored[case_id] = ScoredCase(
                    case_scores.validate_python(outcome.details["scored"]), outcome.details["findings"]
                )
                del failures[case_id]
            if on_outcome is not None:
                on_outcome(outcome)
    return {pair.case_id: scored[pair.case_id] for pair in pairs if pair.case_id in scored}, failures


def _score(rules: Preset, resample_to_reference: bool, pair: Pair) -> Written:
    case = score_pair(pair, rules, resample_to_reference=resample_to_reference)
    return Written((), {"scored": asdict(case.scores), "findings": case.findings})


def score_pair(pair: Pair, rules: Preset, *, resample_to_reference: bool = False) -> ScoredCase:
    """Score one case.

    Raises:
        StudyError: A label map cannot be used or has a label that the preset does not know, or they lie on
            different grids and may not be resampled.
    """
    reference_map = load_label_map(pair.reference)
    reference = reference_map[0].numpy()
    labels = {"reference": _labels_in(reference, pair.reference, rules)}
    prediction, findings = load_prediction(pair, resample_to_reference=resample_to_reference)
    if pair.prediction is not None:
        labels["prediction"] = _labels_in(prediction, pair.prediction, rules)
    spacing_mm = [float(step) for step in reference_map.pixdim]
    scores = rules.score(prediction, reference, spacing_mm)
    findings += [
        f"value {value} occurs in the {side} but is not among the labels {sorted(rules.labels)}, so "
        f"{rules.unknown_label}"
        for side, found in labels.items()
        for value in found
        if value not in rules.labels
    ]
    return ScoredCase(scores, findings)


def load_prediction(pair: Pair, *, resample_to_reference: bool) -> tuple[UInt8[np.ndarray, "X Y Z"], list[str]]:
    """The predicted label map on the reference's grid, empty if there is none; and what of it deserves a warning.

    Raises:
        StudyError: It cannot be used, or lies on another grid and may not be resampled.
    """
    if pair.prediction is None:
        empty = np.zeros(read_grid(pair.reference).shape, np.uint8)
        return empty, ["no prediction; scored as empty, as asked for"]
    try:
        check_same_grid(pair.prediction, pair.reference)
        return load_label_map(pair.prediction)[0].numpy(), []
    except GridError as error:
        if not resample_to_reference:
            raise
        found = load_label_map(pair.prediction)[0].numpy()
        resampled = resample_label_map(found, read_grid(pair.prediction), read_grid(pair.reference))
        return resampled, [f"the prediction was resampled (nearest voxel), since {error}"]


def _labels_in(label_map: UInt8[np.ndarray, "X Y Z"], path: Path, rules: Preset) -> list[int]:
    """All labels but the background, ascending, checked to be known where the preset says what each means."""
    boxes = enumerate(ndimage.find_objects(label_map), start=1)
    labels = [value for value, box in boxes if box is not None]
    if (fault := label_fault(rules, labels)) is not None:
        raise StudyError(f"{path}: {fault}")
    return labels
