"""Losses that MONAI lacks, and sums of losses; for all others take `monai.losses`.

Called as MONAI's are: `loss(logits, labels)` with logits `(batch, classes, *spatial)` before softmax and labels
`(batch, 1, *spatial)` gives a scalar. A loss that needs more, such as distances to boundaries or
weights of voxels, takes it after these, and says so: see `beside_labels`.
"""

from rankseg_med.losses.beside_labels import DISTANCES, WEIGHT, beside_labels
from rankseg_med.losses.boundary import BoundaryLoss
from rankseg_med.losses.combined import CombinedLoss
from rankseg_med.losses.curves import CurveForm
from rankseg_med.losses.distance_penalised import DistancePenalisedCELoss
from rankseg_med.losses.dual_task import DualTaskLoss, label_boundary
from rankseg_med.losses.frequency_weighted import FrequencyWeightedCELoss
from rankseg_med.losses.iou_balanced import IoUBalancedCELoss
from rankseg_med.losses.linear_ramp import LinearRamp
from rankseg_med.losses.lovasz import LovaszSoftmaxLoss
from rankseg_med.losses.scheduled import ScheduledLoss
from rankseg_med.losses.segmentation_metrics import MetricName, SegmentationMetric
from rankseg_med.losses.sensitivity_specificity import SensitivitySpecificityLoss
from rankseg_med.losses.surrogate import SurrogateLoss
from rankseg_med.losses.top_k import TopKCELoss
from rankseg_med.losses.weighted_cross_entropy import WeightedCrossEntropyLoss
from rankseg_med.losses.weighted_dice_ce import WeightedDiceCELoss

__all__ = [
    "DISTANCES",
    "WEIGHT",
    "BoundaryLoss",
    "CombinedLoss",
    "CurveForm",
    "DistancePenalisedCELoss",
    "DualTaskLoss",
    "FrequencyWeightedCELoss",
    "IoUBalancedCELoss",
    "LinearRamp",
    "LovaszSoftmaxLoss",
    "MetricName",
    "ScheduledLoss",
    "SegmentationMetric",
    "SensitivitySpecificityLoss",
    "SurrogateLoss",
    "TopKCELoss",
    "WeightedCrossEntropyLoss",
    "WeightedDiceCELoss",
    "beside_labels",
    "label_boundary",
]
