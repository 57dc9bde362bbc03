"""Choose the cleanup that raises Dice on a validation set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import yaml
from jaxtyping import UInt8
from monai.data import MetaTensor
from monai.transforms import Compose

from rankseg_med import __version__
from rankseg_med.configuration import Config
from rankseg_med.errors import InputError
from rankseg_med.evaluation.cleanup_search.trials import CleanupSearch, Step, try_all
from rankseg_med.evaluation.scoring.plan import named_structures
from rankseg_med.executors import map_items, open_pool
from rankseg_med.masks import bounding_box
from rankseg_med.metrics import dice, summarise
from rankseg_med.studies import (
    StudyError,
    check_same_grid,
    find_predictions,
    find_references,
    load_label_map,
    write_text,
)

MINIMUM_VOLUMES_ML = (0.03, 0.1, 0.5, 2.0, 10.0)
"""Spheres of about 4, 6, 10, 16 and 27 mm in diameter."""


def search_cleanup(
    predictions: Path,
    references: Path,
    labels: Mapping[int, str] | None = None,
    *,
    data_root: Path | None = None,
    fold: int | None = None,
    minimum_volumes_ml: Sequence[float] = MINIMUM_VOLUMES_ML,
    least_gain: float = 0.0,
    workers: int = 1,
) -> CleanupSearch:
    """Find the cleanup steps that raise the mean Dice and lower no class.

    As in nnU-Net (Isensee et al., Nature Methods 18, 2021), steps are tried one after the other, each on top of those
    accepted before, and accepted if the mean over the classes of their mean Dice over the cases rises and no class's
    falls: the largest component of all foreground as one body, then the largest component of each class. Beyond
    nnU-Net, then follow for each class the best of several minimum volumes, and filled holes. A class that neither
    prediction nor reference of a case has is left out of the means, as in `evaluate`.

    Cases are read anew for each step (once for all minimum volumes of a class), so that memory is that of one case a
    process.

    Args:
        predictions: folder of label maps, predicted with ``cleanup: null``, of cases that the network was not trained
            on; see `find_predictions`.
        references: folder of label maps, or a data list whose labels are meant, see `find_references`; each needs a
            prediction of its case id. Predictions of other cases are passed over.
        labels: positive value to name of the classes to clean up and score. By default as `named_structures` finds
            them, a label of a union alone without its name; else all that occur in the references.
        data_root: what a data list's paths are relative to; by default the list's own folder.
        fold: only the cases of a data list that are held out in this fold.
        minimum_volumes_ml: what to try as smallest volume of a component, in millilitres.
        least_gain: rise of the mean Dice, from 0 to 1, below which a step is rejected; 0 takes any rise, as nnU-Net.
        workers: number of processes that clean and score cases; 1 works in this one.

    Raises:
        StudyError: a case lacks its prediction, cannot be read, or has prediction and reference on different grids: a
            choice on part of the cases would be another one. Or no reference has a label.
        ValueError: ``workers`` is not positive, there is no class, or two have one name where names were found.
    """
    cases = _pair(predictions, references, data_root, fold)
    classes = dict(_labels_found(predictions, references, cases) if labels is None else labels)
    if not classes or min(classes) < 1:
        raise InputError(f"cleanup needs positive labels and their names, such as {{1: 'liver'}}, got {classes}")
    with open_pool(workers) if workers > 1 else nullcontext() as pool:
        score = partial(_mean_dice, cases=cases, labels=tuple(classes), workers=workers, pool=pool)
        trials = try_all(_stages(classes, minimum_volumes_ml), score, least_gain)
    return CleanupSearch(classes, len(cases), trials)


def write_cleanup(search: CleanupSearch, output: Path) -> None:
    """Write the cleanup as an overlay of its own, to be laid over the config of the job that it is for.

    Args:
        search: What came of it.
        output: YAML file; one that is there is replaced.

    Raises:
        OSError: The file cannot be written.
    """
    head = (
        f"# Chosen by rankseg-med {__version__} on {search.n_cases} cases: "
        f"mean Dice {search.mean_before:.4f} before, {search.mean_after:.4f} after.\n"
    )
    text = yaml.safe_dump({"cleanup": search.cleanup}, sort_keys=False, width=120)
    write_text(head + text, output)


def _pair(predictions: Path, references: Path, data_root: Path | None, fold: int | None) -> list[tuple[Path, Path]]:
    """Prediction and reference of every case, checked to be of one grid."""
    predicted = find_predictions(predictions)
    expected = find_references(references, data_root=data_root, fold=fold)
    missing = sorted(expected.keys() - predicted.keys())
    if missing:
        raise StudyError(f"{predictions}: has no prediction of {', '.join(missing)}; predict every validation case")
    pairs = [(predicted[case_id], reference) for case_id, reference in expected.items()]
    for prediction, reference in pairs:
        check_same_grid(prediction, reference)
    return pairs


def _labels_found(predictions: Path, references: Path, cases: Sequence[tuple[Path, Path]]) -> dict[int, str]:
    """Label to name, from what lies beside the label maps, else from the references' voxels."""
    if structures := named_structures(predictions, references):
        unnamed = {label: f"label {label}" for labels in structures.values() for label in labels}
        named = {labels[0]: name for name, labels in structures.items() if len(labels) == 1}
        return dict(sorted((unnamed | named).items()))
    found = {int(label) for _, reference in cases for label in np.unique(load_label_map(reference))} - {0}
    if not found:
        raise StudyError(f"{references}: has no label in {len(cases)} cases, so there is nothing to clean up for")
    return {label: f"label {label}" for label in sorted(found)}


def _stages(labels: Mapping[int, str], minimum_volumes_ml: Sequence[float]) -> Iterator[list[Step]]:
    """Alternatives to try together, of which the best is accepted; stage after stage."""

    def step(description: str, target: str, **arguments: object) -> Step:
        return Step(description, {"_target_": f"rankseg_med.transforms.{target}", **arguments})

    if len(labels) > 1:
        yield [step("largest component of all foreground", "KeepLargestComponent", labels=[list(labels)])]
    for label, name in labels.items():
        yield [step(f"largest component of {name}", "KeepLargestComponent", labels=[label])]
    for label, name in labels.items():
        yield [
            step(f"{name} of at least {volume:g} ml", "RemoveSmallComponents", minimum_ml=volume, labels=[label])
            for volume in minimum_volumes_ml
        ]
    for label, name in labels.items():
        yield [step(f"holes of {name} filled", "FillLabelHoles", labels=[label])]


def _mean_dice(
    accepted: Sequence[Step],
    alternatives: Sequence[Sequence[Step]],
    *,
    cases: Sequence[tuple[Path, Path]],
    labels: Sequence[int],
    workers: int,
    pool: ProcessPoolExecutor | None,
) -> list[dict[int, float]]:
    """Label to mean Dice over the cases, with each of several additions to the steps accepted so far."""
    score = partial(_dice_of_case, labels=labels, accepted=accepted, alternatives=alternatives)
    scored: list[list[dict[int, float]]] = []
    for case, result in zip(cases, map_items(score, cases, workers, pool), strict=True):
        if isinstance(result, Exception):
            raise StudyError(f"{case[0]} cannot be cleaned and scored: {result}") from result
        scored.append(result)
    return [
        {label: summarise(dices[label] for dices in by_case).mean for label in labels}
        for by_case in zip(*scored, strict=True)
    ]


def _dice_of_case(
    case: tuple[Path, Path],
    labels: Sequence[int],
    accepted: Sequence[Step],
    alternatives: Sequence[Sequence[Step]],
) -> list[dict[int, float]]:
    """Label to Dice of one case with each of the alternatives."""
    prediction, reference = _load_case(*case)
    prediction = _compose(accepted)(prediction)
    cleaned = (_compose(addition)(prediction)[0].numpy() for addition in alternatives)
    return [{label: dice(label_map == label, reference == label) for label in labels} for label_map in cleaned]


def _load_case(
    prediction_file: Path, reference_file: Path
) -> tuple[UInt8[MetaTensor, "1 *box"], UInt8[np.ndarray, "*box"]]:
    """Both label maps, cut to the box around their structures: what lies outside takes no part in any step."""
    prediction, reference = load_label_map(prediction_file), load_label_map(reference_file)[0].numpy()
    box = bounding_box(prediction[0].numpy(), reference)
    return prediction[(slice(None), *box)], reference[box]


def _compose(steps: Sequence[Step]) -> Compose:
    """Built from the very entries that are written, so that what is written is what was tried."""
    return Compose([Config({"step": step.config}).get_parsed_content("step") for step in steps])
