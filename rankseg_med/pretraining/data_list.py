"""From explained studies in a folder to a data list that one can pre-train on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rankseg_med.pretraining.job import ExplainJob
from rankseg_med.runs import state_of
from rankseg_med.studies import LabelledEntry, Manifest, Study, relative_path, remove_unfinished
from rankseg_med.workflows import data_list_path, listed_entry


@dataclass(frozen=True)
class ExplainedList:
    """What became of a data list.

    Attributes:
        path: The file, or where it would be.
        listed: Ids of the cases in it.
        unexplained: Ids of the cases that were left out, since their explanation is all alike: it says nothing.
        missing: Ids of the cases that are not (yet) explained.
        stale: Those of them that are explained with other settings.
        absent: Names of the classes that no listed case is of; a network that trained on them would never find these.
        partly_seen: Ids of the listed cases of which the classifiers saw less than the whole image.
        recognised: Of each classifier, in how many of the listed images it sees the right class, by a probability
            above one half. It was trained on them: few say that it has learnt nothing, many do not say that it has.
    """

    path: Path
    listed: list[str]
    unexplained: list[str]
    missing: list[str]
    stale: list[str]
    absent: list[str]
    partly_seen: list[str]
    recognised: list[int]

    @property
    def is_written(self) -> bool:
        """Whether there is a new list to train on."""
        return bool(self.listed) and not self.stale and not self.absent


def write_explained_list(job: ExplainJob, studies: Sequence[Study]) -> ExplainedList:
    """List what a folder holds of explained studies, Decathlon-style, for `rankseg-med train`.

    Everything is read from the sidecars, so the list is right whoever explained the studies. It is written anew each
    time, whole or not at all, with paths relative to it. Studies keep their folds.

    Args:
        job: That explained them.
        studies: All of them, not only a shard's.

    Returns:
        What is in the list and what is not. Where studies are stale, a list that is there is left as it is. One in
        which a class would be absent is not written, and one that was there is removed.

    Raises:
        OSError: The list cannot be written.
    """
    path = data_list_path(job.output)
    entries, unexplained, missing, partly_seen = list[LabelledEntry](), list[str](), list[str](), list[str]()
    recognised, stale, classes = list[list[bool]](), list[str](), set[int | None]()
    for study in studies:
        found = state_of(job, study)
        if found.state != "done":
            missing.append(study.case_id)
            if found.state == "stale":
                stale.append(study.case_id)
        elif study.image_class and not any(found.details["voxels"].values()):
            unexplained.append(study.case_id)
        else:
            label, weight, _ = job.outputs_of(study)
            entries.append(listed_entry(study, label, path.parent, weight=relative_path(weight, path.parent)))
            classes.add(study.image_class)
            if found.details["seen"] < 1:
                partly_seen.append(study.case_id)
            recognised.append([probability > 0.5 for probability in found.details["class_probabilities"]])
    remove_unfinished([path])
    absent = [name for label, name in enumerate(job.label_names) if label and label not in classes] if entries else []
    if entries and not absent and not stale:
        labels = {str(label): name for label, name in enumerate(job.label_names)}
        Manifest(name="explained", labels=labels, training=entries).write(path)
    elif not stale:
        path.unlink(missing_ok=True)
    return ExplainedList(
        path,
        [entry.id for entry in entries],
        unexplained,
        missing,
        stale,
        absent,
        partly_seen,
        [sum(right) for right in zip(*recognised, strict=True)],
    )
