"""By which rules a data set is scored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from jaxtyping import Integer

from rankseg_med.errors import InputError
from rankseg_med.metrics.regions import CaseScores, Region, RegionScores, score_label_maps
from rankseg_med.metrics.scoring import DEFAULT_SCORING, Scoring
from rankseg_med.metrics.summary import DataSetResults


@dataclass(frozen=True)
class Preset:
    """The rules by which a data set is scored: those of a challenge or of a line of papers, or a user's own.

    All of them average each metric over the cases of a region, then over the regions. Where challenges leave cases out
    (KiTS23 and BCP ignore a missing prediction, nnU-Net may), this package reports a failure instead.

    Attributes:
        name: what users and reports call it; empty for rules of a user's own.
        description: what it scores, in one line.
        scoring: metrics, surface and policy for empty masks.
        regions: what is scored, with the tolerance of surface Dice; empty where every data set has its own.
        unit_spacing: measure in voxels instead of millimetres, whatever the spacing. Columns keep the ending ``_mm``.
        challenge: what several presets by which the same label means different things are called together. They say
            what every label means, so that a label map with another cannot be scored, see `label_fault`.
        other_labels: what the challenge's own script makes of labels that are in no region, for messages.

    Raises:
        ValueError: two regions share a name.
    """

    name: str = ""
    description: str = field(default="", repr=False)
    scoring: Scoring = DEFAULT_SCORING
    regions: tuple[Region, ...] = ()
    unit_spacing: bool = False
    challenge: str | None = None
    other_labels: str | None = field(default=None, repr=False)

    case_type: ClassVar[type[CaseScores]] = CaseScores
    """What `score` returns, to read it back from a file."""
    unknown_label: ClassVar[str] = "it was not scored"
    """What becomes of a label that is in no region, where it is no fault."""

    def __post_init__(self) -> None:
        names = [region.name for region in self.regions]
        if len(set(names)) < len(names):
            raise InputError(f"names of regions must differ, got {names}")

    @property
    def labels(self) -> frozenset[int]:
        """The labels of all regions; empty where every data set has its own."""
        return frozenset(label for region in self.regions for label in region.labels)

    def with_own(self, regions: tuple[Region, ...] | None, metrics: Sequence[str] | None) -> Preset:
        """These rules for structures, or by metrics, of a user's own.

        Args:
            regions: regions in place of the preset's; None keeps these.
            metrics: names of metrics in place of the preset's; None keeps these.

        Raises:
            ValueError: two regions share a name, there is no such metric, or the rules are for nothing else.
        """
        rules = self if metrics is None else replace(self, scoring=replace(self.scoring, metrics=tuple(metrics)))
        return rules if regions is None else replace(rules, regions=regions, challenge=None)

    def as_official(self) -> Preset:
        """These rules with the defects of the challenge's own script.

        Raises:
            ValueError: its defects are not known here.
        """
        raise InputError(f"only the preset lits has a strict mode, got {self.name or 'none'}")

    def score(
        self,
        prediction: Integer[np.ndarray, "X Y Z"],
        reference: Integer[np.ndarray, "X Y Z"],
        spacing_mm: Sequence[float],
    ) -> CaseScores:
        """Score one case.

        Args:
            prediction: label map.
            reference: label map of the same shape.
            spacing_mm: distance of neighbouring voxels along each axis, in mm.

        Raises:
            ValueError: there is no region, the shapes differ, or the spacing does not fit them.
        """
        if not self.unit_spacing:
            return CaseScores(score_label_maps(prediction, reference, self.regions, spacing_mm, self.scoring))
        in_voxels = score_label_maps(prediction, reference, self.regions, [1.0] * prediction.ndim, self.scoring)
        return CaseScores([_with_volumes_in_ml(row, spacing_mm) for row in in_voxels])

    def summarise(self, cases: Sequence[CaseScores]) -> DataSetResults | None:
        """What the challenge reports of the whole data set, beside means over cases; None where that is all.

        Args:
            cases: what `score` returned; may be empty.
        """
        return None


def _with_volumes_in_ml(row: RegionScores, spacing_mm: Sequence[float]) -> RegionScores:
    """Scores that were measured with voxels of 1 mm."""
    voxel_mm3 = math.prod(spacing_mm)
    return replace(
        row,
        prediction_volume_ml=row.prediction_volume_ml * voxel_mm3,
        reference_volume_ml=row.reference_volume_ml * voxel_mm3,
    )
