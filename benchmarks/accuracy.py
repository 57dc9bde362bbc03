"""Dice of every decoder beside argmax, on networks that know their task well and on some that do not.

    python benchmarks/accuracy.py DATA WORK_FOLDER [--seeds 0 1 2] [--per-seed] [--markdown]

DATA holds ``images/`` and ``labels/`` of the Medical Segmentation Decathlon's Task04. Networks are trained with cross
entropy and with Dice plus cross entropy, on 6 and on 40 labelled volumes, from every seed; folds 0 and 1 of 5 (80
volumes) are held out and choose nothing, since the last checkpoint is taken. Their probabilities are kept in
WORK_FOLDER, so that a second call only decodes and scores. No cleanup: decoders alone are compared.

A volume's Dice is the mean over the foreground classes; a class that neither label nor prediction contains is left out.
The interval is a paired bootstrap over volumes, each resampled with its results of all seeds: it holds for these
networks and says nothing about other seeds. Counts, best and worst are over every volume under every seed.
"""

import argparse
import itertools
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rankseg import RankSEG as PublishedRankSEG
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from rankseg_med.decode import ArgmaxDecoder, RankSEGDecoder
from rankseg_med.inference import SegmentationModel
from rankseg_med.metrics import dice
from rankseg_med.studies import Study, atomic_write, find_studies, load_label_map
from rankseg_med.workflows.config import load_config
from rankseg_med.workflows.predict import Prediction
from rankseg_med.workflows.train import LAST, split_studies, train

BASELINE = "argmax"
DECODERS: dict[str, Callable[[Tensor], Tensor]] = {
    BASELINE: ArgmaxDecoder(),
    "rankseg 0.0.8": lambda probabilities: PublishedRankSEG(metric="dice").predict(probabilities[None])[0],
    "ours: greedy, rma": RankSEGDecoder("dice", solver="rma", assignment="greedy"),
    "ours: greedy, exact": RankSEGDecoder("dice", solver="exact", assignment="greedy"),
    "ours: ascent": RankSEGDecoder("dice", assignment="ascent"),
}
DICE_WEIGHTS = {"CE": 0.0, "DiceCE": 1.0}
LABELLED = (6, 40)
HELD_OUT_FOLDS = (0, 1)
FOREGROUND = (1, 2)
MANIFEST = Path(__file__).parents[1] / "data_manifests" / "hippocampus.json"
RESAMPLES = 10_000
HEADINGS = (
    *("loss", "labelled", "seed", "decoder", "argmax", "change", "95% interval"),
    *("better / worse", "by over 1 point", "worst", "best"),
)


@dataclass(frozen=True)
class TrainedNetwork:
    """One training and what it left in the work folder."""

    loss: str
    labelled: int
    seed: int
    work: Path

    @property
    def folder(self) -> Path:
        """Of the finished training."""
        return self.work / f"{self.loss}_{self.labelled}_labelled_seed_{self.seed}"

    def probabilities_of(self, study: Study) -> Path:
        """Where a held-out study's probabilities are kept."""
        return self.folder / "probabilities" / f"{study.case_id}.npy"

    def train(self, studies: Sequence[Study]) -> None:
        """Train on the labelled studies that the seed chooses; nothing is done where that has happened."""
        if self.folder.exists():
            return
        config = load_config("train", "hippocampus")
        config["loss::lambda_dice"] = DICE_WEIGHTS[self.loss]
        training, _ = split_studies(studies, fold=None, labelled=self.labelled, seed=self.seed)
        unfinished = self.folder.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        train(config, training, [], unfinished, seed=self.seed)
        unfinished.rename(self.folder)

    def predict(self, studies: Sequence[Study]) -> None:
        """Keep the probabilities of the studies that have none yet."""
        missing = [study for study in studies if not self.probabilities_of(study).exists()]
        if missing:
            model = self._model()
            for study in missing:
                with atomic_write(self.probabilities_of(study)) as temporary:
                    np.save(temporary, model.probabilities(study.image).numpy(), allow_pickle=False)

    def _model(self) -> SegmentationModel:
        config = load_config("inference", "hippocampus")
        return Prediction.from_config(config, [self.folder / LAST], self.folder).model


def dice_by_decoder(network: TrainedNetwork, held_out: Sequence[Study]) -> dict[str, NDArray[np.float64]]:
    """Decoder to the foreground Dice of every volume, in points."""
    scores: dict[str, list[float]] = {name: [] for name in DECODERS}
    for study in track(held_out, description=network.folder.name, console=Console(stderr=True)):
        assert study.label is not None, "held-out studies have labels"
        reference = load_label_map(study.label)[0].numpy()
        probabilities = torch.from_numpy(np.load(network.probabilities_of(study), allow_pickle=False))
        for name, decoder in DECODERS.items():
            labels = decoder(probabilities).numpy()
            by_class = [dice(labels == label, reference == label) for label in FOREGROUND]
            scores[name].append(100 * float(np.nanmean(by_class)))
    return {name: np.array(values) for name, values in scores.items()}


def comparison(baseline: NDArray[np.float64], other: NDArray[np.float64]) -> list[str]:
    """Cells from the baseline's mean on, of Dice ``(seeds, volumes)`` in points."""
    change = other - baseline
    by_volume = change.mean(0)
    drawn = np.random.default_rng(0).integers(0, by_volume.size, (RESAMPLES, by_volume.size))
    low, high = np.percentile(by_volume[drawn].mean(1), [2.5, 97.5])
    return [
        *(f"{baseline.mean():.2f}", f"{change.mean():+.3f}", f"{low:+.3f} to {high:+.3f}"),
        *(f"{(change > 0).sum()} / {(change < 0).sum()}", f"{(change > 1).sum()} / {(change < -1).sum()}"),
        *(f"{change.min():+.2f}", f"{change.max():+.2f}"),
    ]


def rows(work: Path, seeds: Sequence[int], held_out: Sequence[Study], per_seed: bool) -> Iterator[list[str]]:
    """One row per loss, number of labelled volumes, decoder other than the baseline and, if wanted, seed."""
    for loss, labelled in itertools.product(DICE_WEIGHTS, LABELLED):
        results = {seed: dice_by_decoder(TrainedNetwork(loss, labelled, seed, work), held_out) for seed in seeds}
        for group in [[seed] for seed in seeds] if per_seed else [seeds]:
            named = " ".join(map(str, group))
            dice_of = {name: np.stack([results[seed][name] for seed in group]) for name in DECODERS}
            for name, dice_values in dice_of.items():
                if name != BASELINE:
                    yield [loss, str(labelled), named, name, *comparison(dice_of[BASELINE], dice_values)]


def main() -> None:
    """Train and predict what is missing, decode, score, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--per-seed", action="store_true", help="a row per seed in place of all seeds together")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    arguments = parser.parse_args()

    studies = find_studies(MANIFEST, data_root=arguments.data)
    held_out = [study for study in studies if study.fold in HELD_OUT_FOLDS]
    for seed, loss, labelled in itertools.product(arguments.seeds, DICE_WEIGHTS, LABELLED):
        network = TrainedNetwork(loss, labelled, seed, arguments.work)
        network.train([study for study in studies if study not in held_out])
        network.predict(held_out)

    body = list(rows(arguments.work, arguments.seeds, held_out, arguments.per_seed))
    if arguments.markdown:
        rule = ["---"] * 4 + ["---:"] * (len(HEADINGS) - 4)
        print("\n".join(f"| {' | '.join(cells)} |" for cells in [HEADINGS, rule, *body]))
    else:
        table = Table(*HEADINGS, title=f"Foreground Dice in points, {len(held_out)} held-out volumes")
        for cells in body:
            table.add_row(*cells)
        Console(width=180).print(table)


if __name__ == "__main__":
    main()
