"""The result of an evaluation over many cases, and the means that a paper reports."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from rankseg_med.metrics.case import RegionScores
from rankseg_med.metrics.regions import Region
from rankseg_med.metrics.scoring import DEFAULT_SCORING, Scoring


@dataclass(frozen=True)
class MetricSummary:
    """One metric of one region over the cases. Statistics are of the defined values, NaN where there is none.

    Attributes:
        mean: arithmetic mean.
        median: median.
        sd: sample standard deviation (divisor n - 1); NaN for fewer than two values.
        min: smallest value.
        max: largest value.
        n: number of defined values.
        n_undefined: number of cases whose value is undefined and so left out.
    """

    mean: float
    median: float
    sd: float
    min: float
    max: float
    n: int
    n_undefined: int


def summarise(values: Iterable[float]) -> MetricSummary:
    """Summarise one metric over cases; NaN is an undefined value, counted but left out of the statistics."""
    all_values = np.fromiter(values, dtype=float)
    defined = all_values[~np.isnan(all_values)]
    if not defined.size:
        return MetricSummary(math.nan, math.nan, math.nan, math.nan, math.nan, n=0, n_undefined=all_values.size)
    return MetricSummary(
        mean=float(defined.mean()),
        median=float(np.median(defined)),
        sd=float(defined.std(ddof=1)) if defined.size > 1 else math.nan,
        min=float(defined.min()),
        max=float(defined.max()),
        n=defined.size,
        n_undefined=all_values.size - defined.size,
    )


@dataclass(frozen=True)
class Evaluation:
    """Scores of many cases. Every case of the evaluation is in ``scores`` or in ``failures``, never in neither.

    Attributes:
        regions: what was scored.
        scores: case id to the scores of its regions, in the order of ``regions``.
        failures: case id to the reason why the case could not be scored (missing, unreadable, another grid). They
            have no scores, so they are in no mean: say so wherever a mean is shown.
        warnings: findings that do not prevent scoring, each naming its case, such as a value outside all regions.
        scoring: which metrics, and by which definitions, the policy for empty masks among them.
    """

    regions: Sequence[Region]
    scores: Mapping[str, Sequence[RegionScores]]
    failures: Mapping[str, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    scoring: Scoring = DEFAULT_SCORING

    def summary(self, region: str, metric: str) -> MetricSummary:
        """Summarise one metric of one region over the scored cases.

        Args:
            region: name of one of ``regions``.
            metric: one of ``scoring.metrics``.
        """
        return summarise(
            row.values[metric] for rows in self.scores.values() for row in rows if row.region.name == region
        )

    def foreground_mean(self, metric: str) -> float:
        """Mean over the regions of their mean over cases, as nnU-Net reports it; NaN where no region has one.

        Args:
            metric: one of ``scoring.metrics``.
        """
        return summarise(self.summary(region.name, metric).mean for region in self.regions).mean
