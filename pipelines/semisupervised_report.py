"""The page of the semi-supervised experiment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from experiment_tables import changes, page, read_runs
from semisupervised_arms import ALL_LABELS, ARMS, LABELS_ALONE, PUBLISHED, SELF_TRAINING


def report(work: Path, patient_of: Callable[[str], str]) -> str:
    """All finished runs as Markdown: every arm by argmax and by the tuned decoder, and what arms change.

    Args:
        work: Folder of an experiment.
        patient_of: Case id to patient.
    """
    runs = read_runs(work)
    arms = [arm for arm in ARMS if arm in runs]
    tables = []
    self_trained = [arm for arm in arms if ARMS[arm].self_training is not None]
    for reference, others, gap_to in (
        (LABELS_ALONE, arms, ALL_LABELS),
        (PUBLISHED, arms, None),
        (SELF_TRAINING, self_trained, None),
    ):
        others = [arm for arm in others if arm != reference]
        if reference in runs and others:
            tables.append(changes(runs, reference, others, patient_of, gap_to=gap_to))
    return page("Images without labels", work, runs, arms, tables)
