"""Label maps to numbers."""

from rankseg_med.metrics.case import METRICS, LabelScores, score_label_maps
from rankseg_med.metrics.empty import DEFAULT_EMPTY_POLICY, EmptyPolicy
from rankseg_med.metrics.evaluation import Evaluation, MetricSummary, summarise
from rankseg_med.metrics.overlap import dice, jaccard
from rankseg_med.metrics.surface import SurfaceDistances, surface_distances

__all__ = [
    "DEFAULT_EMPTY_POLICY",
    "METRICS",
    "EmptyPolicy",
    "Evaluation",
    "LabelScores",
    "MetricSummary",
    "SurfaceDistances",
    "dice",
    "jaccard",
    "score_label_maps",
    "summarise",
    "surface_distances",
]
