"""Probability volume in, label map out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from rankseg_med.decode.blocks import Blocks, ChannelBlocks, TensorBlocks
from rankseg_med.decode.decision import Decoded
from rankseg_med.decode.decoding import Assignment, decode_classes
from rankseg_med.decode.expected_score import Metric, Solver
from rankseg_med.decode.objective import Objective
from rankseg_med.decode.pointwise import ArgmaxDecoder, AtHalfDecoder
from rankseg_med.decode.regions import Regions
from rankseg_med.decode.session import DecodeSession, SlabSession
from rankseg_med.decode.store import Store
from rankseg_med.decode.validation import ValueCheck, check_layout, check_values
from rankseg_med.decode.workers import on_workers
from rankseg_med.errors import InputError

Mode = Literal["multiclass", "multilabel"]
DecoderName = Literal["dice", "iou", "argmax"]
Presence = Literal["always", "maybe"]

_CHOICES = {"metric": Metric, "presence": Presence, "solver": Solver, "assignment": Assignment, "mode": Mode}


@runtime_checkable
class Decoder(Protocol):
    """What turns probabilities into labels: a volume at once, or slab by slab."""

    def decode(self, probabilities: Float[Tensor, "classes *spatial"]) -> Decoded:
        """Decode a probability volume."""
        ...

    def open(
        self,
        num_classes: int,
        spatial_shape: Sequence[int],
        *,
        axis: int = 0,
        store: Store = "memory",
        folder: Path | None = None,
        device: torch.device | str = "cpu",
    ) -> SlabSession:
        """Start a session that takes the volume slab by slab."""
        ...


@dataclass(frozen=True)
class RankSEGDecoder:
    """Label map with the highest expected Dice or IoU.

    Each region keeps its most probable voxels, as many as make the expected score highest; voxels that several regions
    want are settled by ``assignment``. Decisions read histograms of the probabilities: nothing is sorted and the volume
    is not copied.

    How voxels go together is not in the probabilities. ``coherence=0`` takes them for independent (RankSEG; Dai and
    Li, JMLR 24(224), 2023), so that volumes are nearly certain; ``coherence=1`` takes the truth for one of the
    network's own level sets, so that a case is all larger or all smaller than it seems. See
    [`expected_score`][rankseg_med.decode.expected_score] and [`coherent_score`][rankseg_med.decode.coherent_score].

    Args:
        metric: ``"dice"`` or ``"iou"``: what the label map will be scored by; one for all, or one per region.
        solver: Way to compute the independent expectation: ``"exact"``, to quadrature precision; ``"rma"``, the
            reciprocal moment approximation (Wang and Dai, NeurIPS 2025); ``"ba"``, the blind approximation of the JMLR
            paper (Dice only).
        assignment: ``"ascent"`` climbs the mean expected score over regions; on any input it is at least that of
            argmax's label map and of the greedy one. ``"greedy"`` is the published rule, for ``coherence=0``.
        coherence: Weight, in [0, 1], of the coherent expectation against the independent one; one for all, or one per
            region.
        presence: Whether a region is ``"always"`` there (an organ, a crop around a lesion) or ``"maybe"``, so that an
            empty answer can be right; one for all, or one per region.
        min_peak: Least peak, in [0, 1]; one for all, or one per region. A region that may be absent and whose highest
            probability does not exceed it stays empty, unless argmax's or the greedy label map has the highest expected
            score as it is. By default 0.5 for a region that may be absent, 0 for one that is always there.
        regions: What is scored: label sets, nested or disjoint, such as ``[[1, 2], [2]]`` for kidney with tumour and
            tumour. By default every foreground class for itself. The label map keeps nestedness by construction.
        mode: ``"multiclass"``: classes exclude each other and sum to one. ``"multilabel"``: channels are independent.
        smooth: Smoothing, at least 0, of ``"rma"`` as its reference implementation defines it, for ``coherence=0``.
            Above 0, an empty answer scores ``smooth / (mass + smooth)``, whatever ``presence`` and ``empty_score`` say.
        empty_score: Score, in [0, 1]: what the benchmark gives when prediction and reference are both empty. An empty
            prediction is chosen where its expected score is the highest: ``empty_score`` times the probability that
            nothing is there, ``1 - max p`` (coherent) or ``prod(1 - p)`` (independent). By default 1 for a region that
            may be absent, 0 for one that is always there.

    Examples:
        >>> import torch
        >>> foreground = torch.tensor([0.7] * 20 + [0.45] * 60 + [0.001] * 900)
        >>> probabilities = torch.stack([1 - foreground, foreground])
        >>> probabilities.argmax(0).sum()  # argmax keeps the core only
        tensor(20)
        >>> decoded = RankSEGDecoder("dice").decode(probabilities)
        >>> decoded.label_map.sum()  # for Dice the uncertain rim is worth keeping
        tensor(80)
        >>> decision = decoded.decisions[0]
        >>> f"{decision.argmax_expected_score:.3f} -> {decision.expected_score:.3f}"
        '0.430 -> 0.549'
    """

    metric: Metric | Sequence[Metric] = "dice"
    solver: Solver = "exact"
    assignment: Assignment = "ascent"
    _: KW_ONLY
    coherence: float | Sequence[float] = 1.0
    presence: Presence | Sequence[Presence] = "maybe"
    min_peak: float | Sequence[float] | None = None
    regions: Sequence[Sequence[int]] | None = None
    mode: Mode = "multiclass"
    smooth: float = 0.0
    empty_score: float | None = None

    def __post_init__(self) -> None:
        for name, one in (
            *(("metric", one) for one in _each(self.metric)),
            *(("presence", one) for one in _each(self.presence)),
            ("solver", self.solver),
            ("assignment", self.assignment),
            ("mode", self.mode),
        ):
            _check_choice(name, one, get_args(_CHOICES[name]))
        for name in ("coherence", "min_peak", "empty_score"):
            value = getattr(self, name)
            for one in [] if value is None else _each(value):
                _check_probability(name, one)
        if not 0 <= self.smooth < float("inf"):
            raise ValueError(f"smooth must be at least 0 and finite, got {self.smooth}")
        if self.smooth and self.solver != "rma":
            raise ValueError(
                f"smooth is defined for solver='rma', got smooth={self.smooth} with solver={self.solver!r}"
            )
        if self.solver == "ba" and set(_each(self.metric)) != {"dice"}:
            raise ValueError(f"solver 'ba' is defined for Dice, got metric={self.metric!r}; use 'exact' or 'rma'")
        if self.mode == "multilabel" and self.regions is not None:
            raise ValueError("regions are unions of exclusive classes; multilabel channels are regions already")
        _check_independent(self.solver, self.assignment, self.smooth, _each(self.coherence))
        is_always_there = set(_each(self.presence)) == {"always"}
        if is_always_there and (self.min_peak is not None or self.empty_score is not None):
            raise ValueError(
                "min_peak and empty_score say when a region is left empty, which one that is always there is not; "
                "use presence='maybe', or leave them out"
            )

    @property
    def exclusive(self) -> bool:
        """Whether classes exclude each other; else each channel gets a mask of its own."""
        return self.mode == "multiclass"

    def __call__(self, probabilities: Float[Tensor, "classes *spatial"]) -> UInt8[Tensor, "..."]:
        """Label map of a probability volume; see `decode`."""
        return self.decode(probabilities).label_map

    @torch.no_grad()
    def decode(self, probabilities: Float[Tensor, "classes *spatial"]) -> Decoded:
        """Decode a probability volume.

        Args:
            probabilities: ``(classes, *spatial)`` float16, bfloat16, float32 or float64, on CPU or CUDA. Multiclass:
                class 0 is the background; values in [0, 1] that sum to one over classes. Multilabel: values in [0, 1].

        Returns:
            Label map ``(*spatial)`` (multilabel: masks ``(classes, *spatial)``) uint8 on the same device, and the
            decisions behind it.

        Raises:
            TypeError: Not a floating-point tensor.
            ValueError: Not a probability volume, or regions, metrics or peaks that do not fit it; the message says
                what was found and what was probably meant.
        """
        check_layout(probabilities, exclusive=self.exclusive)
        if self.exclusive:
            return self.decode_blocks([TensorBlocks(probabilities)], probabilities.shape[1:], ValueCheck())
        check_values(probabilities, exclusive=False)
        return self.decode_blocks([ChannelBlocks(p) for p in probabilities], probabilities.shape[1:])

    def decode_blocks(
        self, volumes: Sequence[Blocks], spatial_shape: torch.Size, check: ValueCheck | None = None
    ) -> Decoded:
        """Decode volumes that are read in blocks.

        Args:
            volumes: One of exclusive classes (multiclass), or one of two classes per channel (multilabel).
            spatial_shape: Shape of the label map.
            check: Looks for values that are no probabilities on the way (multiclass).
        """
        pieces = len(volumes[0].spans())
        return on_workers(lambda: self._decode_blocks(volumes, spatial_shape, check), volumes[0].device, pieces)

    def _decode_blocks(self, volumes: Sequence[Blocks], spatial_shape: torch.Size, check: ValueCheck | None) -> Decoded:
        if self.mode == "multiclass":
            (blocks,) = volumes
            regions = Regions.of(blocks.num_classes, self.regions)
            objectives = self.objectives(len(regions.labels))
            labels, decisions = decode_classes(blocks, regions, objectives, self.assignment, check)
            return Decoded(labels.reshape(spatial_shape), decisions)
        masks, decisions = [], ()
        for channel, (blocks, objective) in enumerate(zip(volumes, self.objectives(len(volumes)), strict=True)):
            # With one foreground class there is nothing to settle between classes: its threshold is the answer.
            mask, (decision,) = decode_classes(blocks, Regions.of(2, [[1]]), [objective], "ascent")
            masks.append(mask.reshape(spatial_shape))
            decisions = (*decisions, replace(decision, labels=(channel,)))
        return Decoded(torch.stack(masks), decisions)

    def open(
        self,
        num_classes: int,
        spatial_shape: Sequence[int],
        *,
        axis: int = 0,
        store: Store = "memory",
        folder: Path | None = None,
        device: torch.device | str = "cpu",
    ) -> DecodeSession:
        """Start a session that takes the volume slab by slab.

        Args:
            num_classes: Background included (multilabel: channels).
            spatial_shape: Shape of the whole volume.
            axis: Spatial axis along which slabs follow each other.
            store: ``"memory"``: two bytes a voxel and foreground class on ``device``. ``"disk"``: as many in a
                temporary file, for volumes larger than memory.
            folder: Folder of the temporary file; by default the system's.
            device: Device where slabs are kept and decoded.
        """
        return DecodeSession(self, num_classes, spatial_shape, axis=axis, store=store, folder=folder, device=device)

    def objectives(self, regions: int) -> tuple[Objective, ...]:
        """What each of so many regions is decoded for.

        Raises:
            ValueError: As many metrics or peaks as regions were required, others came.
        """
        settings = zip(
            _for_each("metric", self.metric, regions),
            _for_each("coherence", self.coherence, regions),
            _for_each("presence", self.presence, regions),
            _for_each("min_peak", self.min_peak, regions),
            strict=True,
        )
        empty_score = 1.0 if self.empty_score is None else float(self.empty_score)
        return tuple(
            Objective(
                metric=metric,
                coherence=float(coherence),
                solver=self.solver,
                min_peak=0.0 if presence == "always" else 0.5 if min_peak is None else float(min_peak),
                smooth=self.smooth,
                empty_score=0.0 if presence == "always" else empty_score,
            )
            for metric, coherence, presence, min_peak in settings
        )


def make_decoder(
    name: DecoderName | Sequence[Metric] = "dice",
    **options: Any,  # noqa: ANN401
) -> RankSEGDecoder | ArgmaxDecoder:
    """Decoder by the name that configs and the command line use.

    Args:
        name: ``"dice"``, ``"iou"`` or one of them per region for a `RankSEGDecoder` of that metric; ``"argmax"``
            for the usual decoding.
        options: Further arguments of `RankSEGDecoder`; ``"argmax"`` takes none.
    """
    if isinstance(name, str):
        _check_choice("decoder", name, get_args(DecoderName))
    return ArgmaxDecoder(**options) if name == "argmax" else RankSEGDecoder(name, **options)


def for_independent_channels(decoder: RankSEGDecoder | ArgmaxDecoder) -> RankSEGDecoder | AtHalfDecoder:
    """What decodes independent channels as a decoder does exclusive classes: for the same metric, argmax at half.

    Raises:
        ValueError: The decoder has regions, which are unions of exclusive classes.
    """
    if isinstance(decoder, ArgmaxDecoder):
        return AtHalfDecoder()
    if decoder.regions is not None:
        raise InputError(
            "regions of a decoder are unions of exclusive classes; leave them out for channels that are regions already"
        )
    return replace(decoder, mode="multilabel")


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


def _check_probability(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must lie in [0, 1], got {value}")


def _check_independent(solver: Solver, assignment: Assignment, smooth: float, coherences: Sequence[float]) -> None:
    """Raise where the published rules, which are of independent voxels, are asked for and others are."""
    if any(coherences) and (assignment == "greedy" or smooth):
        raise ValueError(
            "assignment='greedy' and smooth are defined for independent voxels, "
            f"got assignment={assignment!r}, smooth={smooth} with coherence={max(coherences)}; give coherence=0"
        )
    if solver != "exact" and all(coherence == 1 for coherence in coherences):
        raise ValueError(
            f"solver={solver!r} approximates what independent voxels score, which coherence=1 does not ask for; "
            "give a coherence below 1, such as coherence=0 for RankSEG as published"
        )


def _each(value: Any) -> list[Any]:  # noqa: ANN401
    """The values, of one for all regions or of one per region."""
    return [value] if isinstance(value, str) or not isinstance(value, Sequence) else [*value]


def _for_each(name: str, value: Any, regions: int) -> list[Any]:  # noqa: ANN401
    values = _each(value)
    if isinstance(value, str) or not isinstance(value, Sequence):
        return values * regions
    if len(values) != regions:
        raise ValueError(f"{name} must be one for all or one per region ({regions}), got {len(values)}")
    return values
