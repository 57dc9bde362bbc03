"""The result of an evaluation over many cases, and the means that a paper reports."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from rankseg_med.metrics.bootstrap import bootstrap_interval, totals_by_unit
from rankseg_med.metrics.catalogue import DistanceUnit
from rankseg_med.metrics.regions import Region, RegionScores
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
class Distribution:
    """How one metric of one region is distributed over the cases: quantiles, and the interval of the mean; or NaN.

    Attributes:
        q05: 5 % quantile, interpolated linearly, as are the others.
        q25: lower quartile.
        q75: upper quartile.
        q95: 95 % quantile.
        mean_low: lower bound of the 95 % bootstrap interval of the mean; NaN below two values, or two patients.
        mean_high: upper bound.
    """

    q05: float
    q25: float
    q75: float
    q95: float
    mean_low: float
    mean_high: float


def distribution_of(values: Sequence[float], patients: Sequence[str] | None = None, *, seed: int = 0) -> Distribution:
    """Quantiles of one metric over cases, and the interval of its mean; NaN is an undefined value and left out.

    Args:
        values: any number; without a defined one all is NaN.
        patients: patient of each value, who are drawn whole for the interval; None takes values for independent.
        seed: random seed of the bootstrap, see `bootstrap_interval`.
    """
    all_values = np.asarray(values, dtype=float)
    is_defined = ~np.isnan(all_values)
    defined = all_values[is_defined]
    q05, q25, q75, q95 = np.quantile(defined, (0.05, 0.25, 0.75, 0.95)) if defined.size else (math.nan,) * 4
    units = None if patients is None else np.asarray(patients, dtype=str)[is_defined].tolist()
    mean_low, mean_high = bootstrap_interval(*totals_by_unit(defined, units), seed=seed)
    return Distribution(float(q05), float(q25), float(q75), float(q95), mean_low, mean_high)


@dataclass(frozen=True)
class DataSetResults:
    """What a challenge reports of the whole data set, beside means over cases.

    Attributes:
        challenge: name of the challenge, such as ``"LiTS"``.
        mode: which of its definitions the values are of, in a word.
        remark: what is to be known of that mode; may be empty.
        values: name to value; empty where no case was scored.
    """

    challenge: str
    mode: str
    remark: str
    values: Mapping[str, float]


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
        patients: case id to patient, of every scored case; None takes cases for independent.
        distance_unit: what distances are in, whatever the ending of their names.
        results: what the preset's challenge reports of the whole data set, if it does.
    """

    regions: Sequence[Region]
    scores: Mapping[str, Sequence[RegionScores]]
    failures: Mapping[str, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    scoring: Scoring = DEFAULT_SCORING
    patients: Mapping[str, str] | None = None
    distance_unit: DistanceUnit = "mm"
    results: DataSetResults | None = None

    def values(self, region: str, metric: str) -> dict[str, float]:
        """Case id to score of one metric of one region; NaN is undefined.

        Args:
            region: name of one of ``regions``.
            metric: one of ``scoring.metrics``.
        """
        return {
            case_id: row.values[metric]
            for case_id, rows in self.scores.items()
            for row in rows
            if row.region.name == region
        }

    def summary(self, region: str, metric: str) -> MetricSummary:
        """Summarise one metric of one region over the scored cases.

        Args:
            region: name of one of ``regions``.
            metric: one of ``scoring.metrics``.
        """
        return summarise(self.values(region, metric).values())

    def distribution(self, region: str, metric: str) -> Distribution:
        """Quantiles of one metric of one region, and the interval of its mean, for which patients are drawn whole.

        Args:
            region: name of one of ``regions``.
            metric: one of ``scoring.metrics``.
        """
        if (region, metric) not in self._distributions:
            values = self.values(region, metric)
            patients = None if self.patients is None else [self.patients[case_id] for case_id in values]
            self._distributions[region, metric] = distribution_of(list(values.values()), patients)
        return self._distributions[region, metric]

    @cached_property
    def _distributions(self) -> dict[tuple[str, str], Distribution]:
        """Those known so far: a bootstrap takes its time, and several files and tables show the same interval."""
        return {}

    def foreground_mean(self, metric: str) -> float:
        """Mean over the regions of their mean over cases; NaN where no region has one.

        A region without a mean is left out, where nnU-Net has no foreground mean at all.

        Args:
            metric: one of ``scoring.metrics``.
        """
        return summarise(self.summary(region.name, metric).mean for region in self.regions).mean
