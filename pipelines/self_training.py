"""One round of self-training: a network that learnt from labels alone labels the other images, whole, for a student."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiment import TUNED
from experiment_tables import SCORED
from semisupervised_arms import BY_TUNING

from rankseg_med.configuration import load_config
from rankseg_med.runs import run_job
from rankseg_med.studies import Study, StudyError, find_studies
from rankseg_med.training import LAST
from rankseg_med.workflows import PseudoLabelJob, write_data_list


def pseudo_labelled(teacher: Path, base: str, decoder: Any, studies: Sequence[Study], output: Path) -> list[Study]:  # noqa: ANN401 - what a config holds
    """Studies with labels by a teacher; what is done already is not done again.

    Args:
        teacher: Folder of its finished run.
        base: Shipped config that it was trained with.
        decoder: Of a `PseudoLabeller`, or `BY_TUNING`.
        studies: Whose labels are not looked at.
        output: Folder of the pseudo-labels.

    Returns:
        Those in which the teacher found something.

    Raises:
        StudyError: The teacher's run is not finished, or a study could not be labelled.
    """
    if not (teacher / SCORED).exists():
        raise StudyError(f"{teacher}: must be a finished run, since it teaches; run that arm with this seed first")
    tuned = [teacher / TUNED] if decoder == BY_TUNING else []
    config = load_config("inference", [base, "self_training", *tuned], device="cpu")
    if decoder != BY_TUNING:
        config["pseudo_labeller::decoder"] = decoder
    job = PseudoLabelJob(config, [teacher / LAST], output)
    failed = [outcome for outcome in run_job(job, studies) if outcome.status not in ("done", "skipped")]
    if failed:
        raise StudyError(f"{failed[0].case.case_id}: {failed[0].reason}")
    return find_studies(write_data_list(job, studies).path)
