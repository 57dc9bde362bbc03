"""What to decode query networks with (Mask2Former and its kin), on synthetic cases whose truth is known.

    python benchmarks/query_networks.py [--cases 40] [--seed 0]

A network sees a smooth field for each of two structures, a larger and a smaller one; the truth is where the field
exceeds a level that varies from case to case and, a little, from place to place. Queries hold masks of these fields:

- pixels: no queries; the probability of each pixel, as a network that classifies pixels well gives it.
- sharp: a query for each class, whose mask is ten times too sure of its boundary.
- faint: the same, but each query leaves 60 to 95 % to "no object", so that votes sum to much less than one.
- many: sharp queries among 100 that find nothing: each gives 1 to 8 % to the classes, over a mask of its own.

Votes become probabilities by `logits_of_queries` and softmax. Argmax: mean Dice in points over cases and both
structures. All else: difference to that, and in brackets the cases that got worse by more than a point. The isotonic
calibration is fitted to as many other cases.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from rankseg_med.calibration import BinnedVoxels, IsotonicCalibration, ReliabilityCounts
from rankseg_med.decode import ArgmaxDecoder, RankSEGDecoder
from rankseg_med.networks import logits_of_queries

SHAPE = (24, 48, 48)
CENTRES = torch.tensor([[12.0, 18.0, 18.0], [12.0, 36.0, 36.0]])
RADII = (11.0, 6.0)
SPREAD = 1.0
"""Standard deviation of a case's level, in voxels of distance; that of a place is a third of it."""
RULES: dict[str, Callable[[Tensor], Tensor]] = {
    "argmax": lambda p: ArgmaxDecoder()(p),
    "independent, maybe": lambda p: RankSEGDecoder(coherence=0.0)(p),
    "independent, always": lambda p: RankSEGDecoder(coherence=0.0, presence="always")(p),
    "coherent, maybe": lambda p: RankSEGDecoder()(p),
    "coherent, always": lambda p: RankSEGDecoder(presence="always")(p),
}


def smooth(generator: torch.Generator, width: float) -> Tensor:
    """A random field of unit variance."""
    field = torch.from_numpy(gaussian_filter(torch.randn(SHAPE, generator=generator).numpy(), width))
    return field / field.std()


def case(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Labels, and fields: signed distance to each structure's boundary as the network sees it."""
    places = torch.stack(torch.meshgrid(*(torch.arange(size) for size in SHAPE), indexing="ij"), -1).float()
    distances = torch.stack([r - (places - c).norm(dim=-1) for c, r in zip(CENTRES, RADII, strict=True)])
    fields = distances + torch.stack([smooth(generator, 4) for _ in RADII])
    level = SPREAD * torch.randn(2, generator=generator)[:, None, None, None]
    truth = fields + level + SPREAD / 3 * torch.stack([smooth(generator, 2) for _ in RADII]) > 0
    return torch.where(truth[1], 2, torch.where(truth[0], 1, 0)), fields


def votes(kind: str, fields: Tensor, generator: torch.Generator) -> Tensor:
    """Probabilities (classes, X, Y, Z) that a network of this kind makes of the fields."""
    calibrated = 1.7 * fields / SPREAD  # the logistic function's nearest to the normal distribution's
    if kind == "pixels":
        inside = calibrated.sigmoid()
        return torch.stack([(1 - inside[0]) * (1 - inside[1]), inside[0] * (1 - inside[1]), inside[1]])
    sharp = 10 * calibrated
    masks = torch.cat([-sharp.amax(0, keepdim=True), sharp])
    nothing = torch.full((3,), 0.02)
    if kind == "faint":
        nothing = 0.6 + 0.35 * torch.rand(3, generator=generator)
    classes = torch.cat([torch.eye(3) * (1 - nothing)[:, None], nothing[:, None]], 1)
    if kind == "many":
        some = 0.01 + 0.07 * torch.rand(100, generator=generator)
        shares = torch.rand(100, 3, generator=generator)
        shares *= some[:, None] / shares.sum(1, keepdim=True)
        classes = torch.cat([classes, torch.cat([shares, 1 - shares.sum(1, keepdim=True)], 1)])
        masks = torch.cat([masks, torch.stack([2 * smooth(generator, 4) for _ in range(100)])])
    logits = logits_of_queries(classes.clamp_min(1e-6).log()[None], masks[None])
    return logits[0].softmax(0)


def dice(found: Tensor, truth: Tensor) -> float:
    """Mean Dice of both structures in points; 100 where both maps lack one."""
    scores = []
    for label in (1, 2):
        a, b = found == label, truth == label
        total = int(a.sum() + b.sum())
        scores.append(100.0 if total == 0 else 200.0 * int((a & b).sum()) / total)
    return sum(scores) / 2


def main() -> None:
    """Print a row of Markdown for each kind of network and calibration."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print("| network | " + " | ".join(RULES) + " |")
    print("| --- |" + " ---: |" * len(RULES))
    generator = torch.Generator().manual_seed(arguments.seed)
    cases = [case(generator) for _ in range(2 * arguments.cases)]
    for kind in ("pixels", "sharp", "faint", "many"):
        made = [
            (votes(kind, fields, torch.Generator().manual_seed(index)), labels)
            for index, (labels, fields) in enumerate(cases)
        ]
        fitting, tested = made[: arguments.cases], made[arguments.cases :]
        calibration = IsotonicCalibration(3)
        calibration.fit(
            ReliabilityCounts.joined([ReliabilityCounts.of_case(BinnedVoxels.of_classes(*one)) for one in fitting])
        )
        plain = torch.tensor([dice(RULES["argmax"](p), t) for p, t in tested])
        print(f"| {kind} | {plain.mean():.2f} | " + " | ".join(_row(tested, plain, list(RULES)[1:])) + " |", flush=True)
        tested = [(calibration.probabilities(p), t) for p, t in tested]
        print(f"| {kind}, isotonic | " + " | ".join(_row(tested, plain, list(RULES))) + " |", flush=True)


def _row(cases: list[tuple[Tensor, Tensor]], plain: Tensor, rules: list[str]) -> Iterator[str]:
    for rule in rules:
        difference = torch.tensor([dice(RULES[rule](p), t) for p, t in cases]) - plain
        yield f"{difference.mean():+.2f} ({100 * (difference < -1).float().mean():.0f} %)"


if __name__ == "__main__":
    main()
