"""Search the shape of a loss for a metric, on a small training."""

from rankseg_med.loss_search.record import SEARCH
from rankseg_med.loss_search.search import LOSS, LossSearch, search_loss
from rankseg_med.loss_search.settings import SearchSettings, Strategy
from rankseg_med.loss_search.steps import Step, Trial, found, next_step

__all__ = [
    "LOSS",
    "SEARCH",
    "LossSearch",
    "SearchSettings",
    "Step",
    "Strategy",
    "Trial",
    "found",
    "next_step",
    "search_loss",
]
