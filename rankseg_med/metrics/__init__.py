"""Label maps to numbers.

`score_label_maps` scores the regions of one case and `Evaluation` gathers many cases; `score_masks` scores one pair of
masks. What lies beneath, such as `dice` and `surface_distances`, can be used by itself. `rankseg_med.metrics.monai` has
the same numbers as a MONAI metric; it is not imported here because it needs torch.
"""

from rankseg_med.metrics.bootstrap import bootstrap_interval, totals_by_unit
from rankseg_med.metrics.catalogue import METRICS, DistanceUnit, Metric, find_metric
from rankseg_med.metrics.empty import DEFAULT_EMPTY_POLICY, EMPTY_POLICIES, EmptyPolicy, EmptyRule
from rankseg_med.metrics.lesions import LesionScores, score_lesions
from rankseg_med.metrics.overlap import (
    VoxelCounts,
    count_voxels,
    dice,
    jaccard,
    precision,
    relative_volume_difference,
    sensitivity,
    volume_ml,
)
from rankseg_med.metrics.paired import CaseDifference, PairedComparison, compare_paired
from rankseg_med.metrics.preset import Preset
from rankseg_med.metrics.presets import PRESETS, find_preset, label_fault
from rankseg_med.metrics.rank_tests import FEW_BLOCKS, RankTests, holm
from rankseg_med.metrics.ranking import Ranking, Standing, rank_runs
from rankseg_med.metrics.ranking_schemes import RANKING_SCHEMES, ranks_by
from rankseg_med.metrics.regions import CaseScores, Region, RegionScores, label_regions, score_label_maps
from rankseg_med.metrics.scoring import DEFAULT_SCORING, Scoring, score_masks
from rankseg_med.metrics.summary import DataSetResults, Evaluation, MetricSummary, summarise
from rankseg_med.metrics.surface import Surface, SurfaceDistances, surface_distances

__all__ = [
    "DEFAULT_EMPTY_POLICY",
    "DEFAULT_SCORING",
    "EMPTY_POLICIES",
    "FEW_BLOCKS",
    "METRICS",
    "PRESETS",
    "RANKING_SCHEMES",
    "CaseDifference",
    "CaseScores",
    "DataSetResults",
    "DistanceUnit",
    "EmptyPolicy",
    "EmptyRule",
    "Evaluation",
    "LesionScores",
    "Metric",
    "MetricSummary",
    "PairedComparison",
    "Preset",
    "RankTests",
    "Ranking",
    "Region",
    "RegionScores",
    "Scoring",
    "Standing",
    "Surface",
    "SurfaceDistances",
    "VoxelCounts",
    "bootstrap_interval",
    "compare_paired",
    "count_voxels",
    "dice",
    "find_metric",
    "find_preset",
    "holm",
    "jaccard",
    "label_fault",
    "label_regions",
    "precision",
    "rank_runs",
    "ranks_by",
    "relative_volume_difference",
    "score_label_maps",
    "score_lesions",
    "score_masks",
    "sensitivity",
    "summarise",
    "surface_distances",
    "totals_by_unit",
    "volume_ml",
]
