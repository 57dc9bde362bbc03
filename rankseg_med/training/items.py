"""The studies of a training by MONAI's own runner."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from rankseg_med.studies import StudyError, find_studies
from rankseg_med.training.split import split_studies

_log = logging.getLogger(__name__)


def training_items(manifest: Path, fold: int | None) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What is trained on, and what validates, as MONAI's datasets take them.

    Args:
        manifest: Data list.
        fold: Held out for validation; None holds nothing out.

    Returns:
        Items with `image` and `label`, paths. None at all, and a warning why, where nothing can be listed, so that a
        bundle can be looked at without data; `run_engine` runs none such.
    """
    try:
        parts = split_studies(find_studies(manifest), fold=fold)
    except StudyError as error:
        _log.warning("%s", error)
        return [], []
    training, validation = ([study.item for study in part] for part in parts)
    return training, validation
