"""Label maps from classes of whole images, to pre-train a segmentation network on.

Classifiers learn the classes; what in an image speaks for its class becomes a label map with weights of voxels; a
network is trained on these (`rankseg-med train --config pretrain_...`) before it sees any real label map. After Li et
al., "Distilling Ensemble of Explanations for Weakly-Supervised Pre-Training of Image Segmentation Models" (2022).
"""

from rankseg_med.pretraining.classifiers import classifier_config, number_of_classifiers, train_classifiers
from rankseg_med.pretraining.data_list import ExplainedList, write_explained_list
from rankseg_med.pretraining.explainer import Explainer
from rankseg_med.pretraining.image_classes import (
    CLASS_RULES,
    ClassRule,
    classes_of_label_maps,
    read_image_classes,
    with_image_classes,
)
from rankseg_med.pretraining.job import ExplainJob, check_explainer
from rankseg_med.pretraining.levels import LEVELS, label_and_weight, quantised

__all__ = [
    "CLASS_RULES",
    "LEVELS",
    "ClassRule",
    "ExplainJob",
    "ExplainedList",
    "Explainer",
    "check_explainer",
    "classes_of_label_maps",
    "classifier_config",
    "label_and_weight",
    "number_of_classifiers",
    "quantised",
    "read_image_classes",
    "train_classifiers",
    "with_image_classes",
    "write_explained_list",
]
