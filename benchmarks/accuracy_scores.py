"""Scores of every way to decode, case by case, for the networks that accuracy_networks.py has stored.

    python benchmarks/accuracy_scores.py WORK_FOLDER [--dataset lung_nodules] [--workers 2]

Test cases are scored once, with what was tuned on the network's tuning cases alone. Rows are written model by model to
``WORK/<dataset>/scores/<model>.json``; those that are there are passed over.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accuracy_data import patient_of
from accuracy_stored import StoredNetwork, stored
from monai.transforms import Compose
from rankseg import RankSEG as PublishedRankSEG
from torch import Tensor

from rankseg_med.configuration import Config
from rankseg_med.decode import ArgmaxDecoder, Decoded, RankSEGDecoder, make_decoder
from rankseg_med.evaluation import Task, Tuning, at_threshold, soft_dice, tune
from rankseg_med.metrics import Scoring, label_regions, score_label_maps
from rankseg_med.studies import NnunetLabels, write_text

ENSEMBLE = (("CE", 0), ("DiceCE", 0), ("DiceCE", 1))
"""Loss and seed of the three members whose mean probability is decoded."""
DECODERS: dict[str, RankSEGDecoder] = {
    "independent, maybe": RankSEGDecoder(coherence=0.0),
    "independent, always": RankSEGDecoder(coherence=0.0, presence="always"),
    "half coherent, maybe": RankSEGDecoder(coherence=0.5),
    "half coherent, always": RankSEGDecoder(coherence=0.5, presence="always"),
    "coherent, maybe": RankSEGDecoder(),
    "coherent, always": RankSEGDecoder(presence="always"),
}
_EXPECTED = ("independent_score", "coherent_score", "expected_score")
_SCORING = Scoring(("dice", "hd95_mm", "surface_dice"))


@dataclass(frozen=True)
class Model:
    """One network, or several whose probabilities are averaged.

    Attributes:
        name: Name of the model, without its fold.
        members: Members, at least one; all were trained, tuned and tested on the same cases.
    """

    name: str
    members: tuple[StoredNetwork, ...]

    @property
    def file_name(self) -> str:
        """Unique within the data set."""
        fold = self.members[0].record.fold
        return self.name if fold is None else f"{self.name}_fold{fold}"

    def probabilities(self, case_id: str) -> Tensor:
        """Mean of the members ``(classes, X, Y, Z)``."""
        return torch.stack([member.probabilities(case_id) for member in self.members]).mean(0)


@dataclass(frozen=True)
class TuningCase:
    """A case as `tune` takes it."""

    model: Model
    case_id: str

    @property
    def patient(self) -> str:
        """Whom it is of."""
        return patient_of(self.case_id)

    @cached_property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Of its voxels."""
        return self.model.members[0].spacing_mm(self.case_id)

    def probabilities(self) -> Tensor:
        """Of the model."""
        return self.model.probabilities(self.case_id)

    def reference(self) -> Tensor:
        """Label map."""
        return self.model.members[0].reference(self.case_id)


def models_of(networks: Sequence[StoredNetwork]) -> Iterator[Model]:
    """Every network by itself, and the ensembles that are complete."""
    groups: dict[tuple[int | None, str], dict[tuple[str, int], StoredNetwork]] = defaultdict(dict)
    for network in networks:
        record = network.record
        kind = record.name.removeprefix(f"{record.loss}_{record.seed}").replace(f"_fold{record.fold}", "")
        groups[record.fold, kind][record.loss, record.seed] = network
        yield Model(f"{record.loss}_{record.seed}{kind}", (network,))
    for (_, kind), members in groups.items():
        if members.keys() >= set(ENSEMBLE):
            yield Model(f"ensemble{kind}", tuple(members[each] for each in ENSEMBLE))


def score_model(model: Model) -> dict[str, Any]:
    """Rows of all test cases and of tissue without the structure, and what tuning chose."""
    torch.set_num_threads(1)
    record = model.members[0].record
    classes = len(model.probabilities(record.tuning[0]))
    structures = NnunetLabels({f"class {label}": (label,) for label in range(1, classes)}, classes, None)
    tuning = tune([TuningCase(model, case_id) for case_id in record.tuning], Task(structures))
    decoders = decoders_of(tuning, classes)
    rows = [row for case_id in record.test for row in score_case(model, case_id, decoders, tuning)]
    painted = [row for case_id in record.without_structure for row in paint_case(model, case_id, decoders)]
    return {
        "model": model.name,
        "fold": record.fold,
        "setting": str(tuning.chosen),
        "threshold": tuning.best_threshold,
        "held_out_gain": tuning.held_out_gain,
        "rows": rows,
        "without_structure": painted,
    }


def decoders_of(tuning: Tuning, classes: int) -> dict[str, Callable[[Tensor], Decoded]]:
    """All ways to decode, argmax first."""
    decoders: dict[str, Callable[[Tensor], Decoded]] = {
        "argmax": ArgmaxDecoder().decode,
        "best fixed threshold": lambda p: Decoded(at_threshold(p, tuning.best_threshold), ()),
        "rankseg 0.0.8": lambda p: Decoded(PublishedRankSEG(metric="dice").predict(p[None])[0].to(torch.uint8), ()),
    }
    decoders |= {name: decoder.decode for name, decoder in DECODERS.items()}
    options = {name: value for name, value in tuning.decoder.items() if name != "_target_"}
    decoder, calibration = make_decoder(**options), tuning.calibration
    cleanup = None if tuning.cleanup is None else Config({"c": tuning.cleanup}).get_parsed_content("c")
    after = Compose([] if cleanup is None else [cleanup])

    def tuned(p: Tensor) -> Decoded:
        decoded = decoder.decode(p if calibration is None else calibration.probabilities(p))
        return Decoded(after(decoded.label_map[None])[0], decoded.decisions)

    return decoders | {"tuned": tuned}


def score_case(
    model: Model, case_id: str, decoders: dict[str, Callable[[Tensor], Decoded]], tuning: Tuning
) -> Iterator[dict[str, Any]]:
    """One row for each way to decode."""
    network = model.members[0]
    probabilities, reference = model.probabilities(case_id), network.reference(case_id).numpy()
    spacing_mm, regions = (
        network.spacing_mm(case_id),
        label_regions({label: str(label) for label in tuning.task.labels}),
    )
    argmax_is_empty = not bool(probabilities.argmax(0).any())
    for name, decode in decoders.items():
        decoded = decode(probabilities)
        labels = decoded.label_map.numpy()
        scores = [scored.values for scored in score_label_maps(labels, reference, regions, spacing_mm, _SCORING)]
        yield {
            "case": case_id,
            "patient": patient_of(case_id),
            "decoder": name,
            "reference_ml": float((reference > 0).sum() * np.prod(spacing_mm) / 1000),
            "argmax_is_empty": argmax_is_empty,
            **{metric: float(np.mean([values[metric] for values in scores])) for metric in _SCORING.metrics},
            "expected": [float(np.mean([getattr(d, kind) for d in decoded.decisions])) for kind in _EXPECTED]
            if decoded.decisions
            else None,
            "soft_dice": soft_dice(probabilities[1:].sum(0).numpy(), labels > 0),
        }


def paint_case(
    model: Model, case_id: str, decoders: dict[str, Callable[[Tensor], Decoded]]
) -> Iterator[dict[str, Any]]:
    """What each way to decode marks where nothing is."""
    probabilities, spacing_mm = model.probabilities(case_id), model.members[0].spacing_mm(case_id)
    for name, decode in decoders.items():
        voxels = int(decode(probabilities).label_map.count_nonzero())
        yield {"case": case_id, "decoder": name, "painted_ml": voxels * float(np.prod(spacing_mm)) / 1000}


def score_and_write(model: Model, path: Path) -> tuple[str, float]:
    """Score a model and write its rows; its name and the seconds that took."""
    start = time.perf_counter()
    content = score_model(model)
    write_text(json.dumps(content), path)
    return f"{model.file_name}: {content['setting']}", time.perf_counter() - start


def main() -> None:
    """Score what is stored and not scored yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--dataset", nargs="+", default=["lung_nodules", "hippocampus", "sarcoma_pet", "left_atrium"])
    parser.add_argument("--workers", type=int, default=2, help="processes, each with one thread")
    arguments = parser.parse_args()
    with ProcessPoolExecutor(arguments.workers) as pool:
        running = []
        for dataset in arguments.dataset:
            models = models_of(stored(arguments.work, dataset))
            for model in sorted(models, key=lambda model: -len(model.members)):
                path = arguments.work / dataset / "scores" / f"{model.file_name}.json"
                if not path.exists():
                    path.parent.mkdir(exist_ok=True)
                    running.append(pool.submit(score_and_write, model, path))
        for scored in running:
            name, seconds = scored.result()
            print(f"{name} ({seconds:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
