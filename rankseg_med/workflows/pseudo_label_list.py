"""From pseudo-labels in a folder to a data list that one can train on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rankseg_med.errors import InputError
from rankseg_med.runs import state_of
from rankseg_med.studies import LabelledEntry, Manifest, Study, relative_path, remove_unfinished
from rankseg_med.workflows.label_maps import label_map_path
from rankseg_med.workflows.pseudo_label import PseudoLabelJob


@dataclass(frozen=True)
class PseudoLabelList:
    """What became of a data list.

    Attributes:
        path: The file, or where it would be: without a usable pseudo-label, or with absent classes, none is written.
        listed: Ids of the cases in it.
        empty: Ids of the cases that were left out because their pseudo-label has no foreground.
        left_out: Case id to mean expected Dice, below what was asked for.
        missing: Ids of the cases that have no pseudo-label of these settings (yet).
        absent: Names of the classes that none of the listed pseudo-labels has; a network that trained on them would
            learn never to find these.
    """

    path: Path
    listed: list[str]
    empty: list[str]
    left_out: dict[str, float]
    missing: list[str]
    absent: list[str]

    @property
    def is_written(self) -> bool:
        """Whether there is a list to train on."""
        return bool(self.listed) and not self.absent


def data_list_path(output: Path) -> Path:
    """Where a folder's data list lies: in a folder of its own, since beside the sidecars it would pass for one."""
    return output / "data_list" / "pseudo_labels.json"


def write_data_list(
    job: PseudoLabelJob, studies: Sequence[Study], *, min_expected_dice: float = 0.0, keep_empty: bool = False
) -> PseudoLabelList:
    """List the pseudo-labels that a folder holds, Decathlon-style, for `rankseg-med train`.

    Everything is read from the sidecars, so the list is right whoever made the pseudo-labels: this run, earlier ones,
    or other shards. It is written anew each time, whole or not at all, with paths relative to it, the expected Dice of
    each pseudo-label, and what was left out. Studies keep their folds.

    Args:
        job: That made them.
        studies: All of them, not only a shard's.
        min_expected_dice: In [0, 1]; leave out what has foreground and a lower mean expected Dice (see `quality`).
        keep_empty: List pseudo-labels without foreground too, from which a network learns that there is nothing to
            find, whether the teacher was right or missed it.

    Returns:
        What is in the list and what is not. A list in which a class never occurs is not written, and one that was
        there is removed.

    Raises:
        ValueError: ``min_expected_dice`` is out of its range.
        OSError: The list cannot be written.
    """
    if not 0 <= min_expected_dice <= 1:
        raise InputError(f"min_expected_dice must lie in [0, 1], got {min_expected_dice}")
    path = data_list_path(job.output)
    entries, left_out, missing, empty = list[LabelledEntry](), dict[str, float](), list[str](), list[str]()
    voxels = Counter[str]()
    for study in studies:
        details = _details(job, study)
        if details is None:
            missing.append(study.case_id)
            continue
        is_empty = not any(details["voxels"].values())
        if is_empty and not keep_empty:
            empty.append(study.case_id)
        elif not is_empty and details["mean_expected_dice"] < min_expected_dice:
            left_out[study.case_id] = details["mean_expected_dice"]
        else:
            label = label_map_path(job.output, study.case_id)
            entries.append(listed_entry(study, label, path.parent, expected_dice=details["expected_dice"]))
            voxels.update(details["voxels"])
    labels = {str(label): name for label, name in enumerate(job.label_names)}
    labeller = job.labeller()
    if labeller.min_confidence > 0:
        labels[str(labeller.ignore_index)] = "ignored"
    remove_unfinished([path])
    absent = [name for label, name in enumerate(job.label_names) if label and not voxels[str(label)]] if entries else []
    if entries and not absent:
        more = {"min_expected_dice": min_expected_dice, "left_out": left_out, "empty": empty}
        Manifest.model_validate({"name": "pseudo-labels", "labels": labels, "training": entries, **more}).write(path)
    else:
        path.unlink(missing_ok=True)
    return PseudoLabelList(path, [entry.id for entry in entries], empty, left_out, missing, absent)


def _details(job: PseudoLabelJob, study: Study) -> Mapping[str, Any] | None:
    """What the study's sidecar says of its pseudo-label; None if it has none of this job."""
    found = state_of(job, study)
    return found.details if found.state == "done" else None


def listed_entry(study: Study, label: Path, folder: Path, **more: object) -> LabelledEntry:
    """A study with a label map that was made of it, as a data list in a folder has it.

    Args:
        study: Which; it keeps its fold.
        label: The label map.
        folder: Folder of the list.
        more: Further entries.
    """
    images = [relative_path(image, folder) for image in study.images]
    return LabelledEntry.model_validate(
        {
            "id": study.case_id,
            "image": images[0] if len(images) == 1 else images,
            "label": relative_path(label, folder),
            "fold": study.fold,
            **more,
        }
    )
