"""Probability volume in, label map out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias, get_args

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from rankseg_med.decode.assignment import assign_greedy
from rankseg_med.decode.decision import Decision, decide
from rankseg_med.decode.expected_score import Metric, Solver
from rankseg_med.decode.histogram import ProbabilityHistogram, voxel_blocks
from rankseg_med.decode.validation import check_probabilities

Assignment = Literal["greedy"]


Decoder: TypeAlias = Callable[[Float[Tensor, "classes *spatial"]], UInt8[Tensor, "*spatial"]]
"""Anything that turns a probability volume ``(classes, *spatial)`` into a uint8 label map ``(*spatial)``."""


class RankSEGDecoder:
    """Label map with the highest expected Dice or IoU (RankSEG).

    Each class keeps its most probable voxels, as many as make the expected score highest (Dai and Li, "RankSEG",
    JMLR 24(224), 2023); voxels that several classes keep, or none, are settled by ``assignment``. The decision reads a
    histogram of the probabilities: nothing is sorted and the volume is not copied.

    Args:
        metric: ``"dice"`` or ``"iou"``: what the label map will be scored by.
        solver: ``"exact"``, the expectation to quadrature precision, or ``"rma"``, the reciprocal moment approximation
            (Wang and Dai, NeurIPS 2025). See [`expected_score`][rankseg_med.decode.expected_score].
        assignment: ``"greedy"``, the published rule.
        min_peak: In [0, 1]. A class whose highest probability does not exceed it stays empty.

    Example:
        >>> import torch
        >>> foreground = torch.tensor([0.98] * 60 + [0.45] * 30 + [0.001] * 900)
        >>> probabilities = torch.stack([1 - foreground, foreground])
        >>> probabilities.argmax(0).sum()  # argmax keeps the certain core only
        tensor(60)
        >>> RankSEGDecoder("dice")(probabilities).sum()  # for Dice the uncertain rim is worth keeping
        tensor(90)
    """

    def __init__(
        self,
        metric: Metric = "dice",
        solver: Solver = "exact",
        assignment: Assignment = "greedy",
        min_peak: float = 0.5,
    ) -> None:
        _check_choice("metric", metric, get_args(Metric))
        _check_choice("solver", solver, get_args(Solver))
        _check_choice("assignment", assignment, get_args(Assignment))
        if not 0 <= min_peak <= 1:
            raise ValueError(f"min_peak is a probability and must lie in [0, 1], found {min_peak}")
        self.metric = metric
        self.solver = solver
        self.assignment = assignment
        self.min_peak = min_peak

    def __repr__(self) -> str:
        return (
            f"RankSEGDecoder(metric={self.metric!r}, solver={self.solver!r}, "
            f"assignment={self.assignment!r}, min_peak={self.min_peak})"
        )

    def decide(self, histogram: ProbabilityHistogram) -> tuple[Decision, ...]:
        """Threshold, volume and expected score of every class."""
        return decide(histogram, metric=self.metric, solver=self.solver, min_peak=self.min_peak)

    @torch.no_grad()
    def __call__(self, probabilities: Float[Tensor, "classes *spatial"]) -> UInt8[Tensor, "*spatial"]:
        """Decode a multiclass probability volume.

        Args:
            probabilities: ``(classes, *spatial)`` float16, bfloat16, float32 or float64, on CPU or CUDA; class 0 is the
                background; values in [0, 1] that sum to one over classes.

        Returns:
            Label map ``(*spatial)`` uint8 on the same device.

        Raises:
            TypeError: Not a floating-point tensor.
            ValueError: Not a probability volume; the message says what was found and what was probably meant.
        """
        check_probabilities(probabilities)
        decisions = self.decide(ProbabilityHistogram.of(probabilities))
        return assign_greedy(probabilities, decisions, self.metric)


class ArgmaxDecoder:
    """The most probable class of every voxel: highest expected voxel accuracy. Ties go to the lowest class."""

    def __repr__(self) -> str:
        return "ArgmaxDecoder()"

    @torch.no_grad()
    def __call__(self, probabilities: Float[Tensor, "classes *spatial"]) -> UInt8[Tensor, "*spatial"]:
        """Decode a multiclass probability volume; input, output and errors as for [`RankSEGDecoder`][]."""
        check_probabilities(probabilities)
        labels = torch.cat([block.argmax(0).to(torch.uint8) for block in voxel_blocks(probabilities)])
        return labels.reshape(probabilities.shape[1:])


def make_decoder(name: Literal["dice", "iou", "argmax"] = "dice", **options: object) -> Decoder:
    """Decoder by the name that configs and the command line use.

    Args:
        name: ``"dice"`` or ``"iou"`` for a [`RankSEGDecoder`][] of that metric, ``"argmax"`` for the usual decoding.
        options: Further arguments of `RankSEGDecoder`; ``"argmax"`` takes none.
    """
    _check_choice("decoder", name, ("dice", "iou", "argmax"))
    if name == "argmax":
        return ArgmaxDecoder(**options)
    return RankSEGDecoder(metric=name, **options)  # type: ignore[arg-type]


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, found {value!r}")
