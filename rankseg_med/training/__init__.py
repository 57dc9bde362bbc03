"""Supervised and semi-supervised training."""

from rankseg_med.training.checkpoint import finished_epochs, read_states
from rankseg_med.training.engines import DivergenceError, Preprocessed
from rankseg_med.training.items import training_items
from rankseg_med.training.known_classes import KnownClasses
from rankseg_med.training.processes import is_first_process
from rankseg_med.training.record import MAY_DIFFER, TrainingRecord
from rankseg_med.training.split import further_studies, without_labels
from rankseg_med.training.to_end import train_to_end
from rankseg_med.training.trained_on import studies_trained_on
from rankseg_med.training.training import (
    LAST,
    RECORD,
    StartingWeights,
    TrainingProgress,
    split_studies,
    train,
    unlabelled_studies,
)

__all__ = [
    "LAST",
    "MAY_DIFFER",
    "RECORD",
    "DivergenceError",
    "KnownClasses",
    "Preprocessed",
    "StartingWeights",
    "TrainingProgress",
    "TrainingRecord",
    "finished_epochs",
    "further_studies",
    "is_first_process",
    "read_states",
    "split_studies",
    "studies_trained_on",
    "train",
    "train_to_end",
    "training_items",
    "unlabelled_studies",
    "without_labels",
]
