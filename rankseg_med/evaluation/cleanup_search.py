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
from rankseg_med.configuration import (
    Config,
    ConfigError,
    extended_config,
    find_config,
    load_config,
    read_config_file,
    shipped_configs,
)
from rankseg_med.evaluation.cleanup_trials import CleanupSearch, Step, try_all
from rankseg_med.executors import map_items, open_pool
from rankseg_med.masks import bounding_box
from rankseg_med.metrics import dice, summarise
from rankseg_med.studies import (
    StudyError,
    atomic_write,
    check_same_grid,
    find_predictions,
    find_references,
    load_label_map,
)

MINIMUM_VOLUMES_ML = (0.03, 0.1, 0.5, 2.0, 10.0)
"""Spheres of about 4, 6, 10, 16 and 27 mm in diameter."""


def search_cleanup(
    predictions: Path,
    references: Path,
    overlay: str | Path,
    output: Path,
    *,
    data_root: Path | None = None,
    fold: int | None = None,
    minimum_volumes_ml: Sequence[float] = MINIMUM_VOLUMES_ML,
    workers: int = 1,
) -> CleanupSearch:
    """Find the cleanup steps that raise the mean Dice and lower no class, and write them into a config.

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
        overlay: config overlay of the inference job that made the predictions, a YAML or JSON file or the name of a
            shipped config; names the classes.
        output: YAML file to write: ``overlay`` with its ``cleanup`` replaced. Comments are not carried over. A shipped
            config cannot be written over.
        data_root: what a data list's paths are relative to; by default the list's own folder.
        fold: only the cases of a data list that are held out in this fold.
        minimum_volumes_ml: what to try as smallest volume of a component, in millilitres.
        workers: number of processes that clean and score cases; 1 works in this one.

    Raises:
        ConfigError: the overlay cannot be used.
        StudyError: a case lacks its prediction, cannot be read, or has prediction and reference on different grids: a
            choice on part of the cases would be another one.
        ValueError: ``workers`` is not positive.
        OSError: ``output`` cannot be written.
    """
    source = find_config(overlay)
    if source != Path(overlay) and output.resolve() == source.resolve():
        raise ConfigError(f"{output}: is the shipped config {overlay}; write the copy to a file of your own")
    names = load_config("inference", overlay, device="cpu").get_parsed_content("label_names")
    labels = dict(enumerate(names))
    del labels[0]
    cases = _pair(predictions, references, data_root, fold)
    with open_pool(workers) if workers > 1 else nullcontext() as pool:
        score = partial(_mean_dice, cases=cases, labels=tuple(labels), workers=workers, pool=pool)
        trials = try_all(_stages(labels, minimum_volumes_ml), score)
    search = CleanupSearch(labels, len(cases), trials)
    _write(search, source, output)
    return search


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


def _write(search: CleanupSearch, overlay: Path, output: Path) -> None:
    content = read_config_file(overlay)
    kept = {key: value for key, value in content.items() if key.split("::")[0] != "cleanup"}
    base = extended_config(overlay)
    if base is not None and kept["extends"] not in shipped_configs():
        # What was relative to the overlay's folder need not be there from the output's.
        kept["extends"] = str(base.resolve())
    head = f"# {overlay.name} with the cleanup that rankseg-med {__version__} chose on {search.n_cases} cases.\n"
    with atomic_write(output) as temporary:
        text = yaml.safe_dump({**kept, "cleanup": search.cleanup}, sort_keys=False, allow_unicode=True, width=120)
        temporary.write_text(head + text, encoding="utf-8")
