"""What is tried: a small space, each setting of which is an entry of a config."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal, TypeAlias

from rankseg_med.decode import Metric

CalibrationName: TypeAlias = Literal["none", "temperature", "isotonic by cases", "isotonic by voxels"]
"""Isotonic maps are fitted with every case counting the same, or every voxel: independent voxels ask for the former,
the coherent posterior, which weighs volumes itself, for the latter."""
CleanupName: TypeAlias = Literal["none", "largest foreground", "largest of each label"]

METRICS: tuple[Metric, ...] = ("dice", "iou")
COHERENCES = (1.0, 0.5, 0.0)
"""Of settings that do the same, the first is chosen."""
MIN_PEAKS = (0.0, 0.5, 0.9)
"""For regions that may be absent."""
THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))
"""Fixed ones, of uncalibrated probabilities: a baseline."""


@dataclass(frozen=True)
class Setting:
    """One way from stored probabilities to a label map.

    Attributes:
        decoder: ``"argmax"`` or the metric that is decoded for.
        calibration: Calibration of the probabilities before; argmax has none.
        coherence: See `RankSEGDecoder`; None for argmax.
        min_peak: Least peak of regions that may be absent; None where there are none, and for argmax.
        cleanup: Cleanup of the label map.
    """

    decoder: Literal["argmax", "dice", "iou"]
    calibration: CalibrationName = "none"
    coherence: float | None = None
    min_peak: float | None = None
    cleanup: CleanupName = "none"

    @property
    def decoding(self) -> Setting:
        """The same without cleanup."""
        return replace(self, cleanup="none")

    def __str__(self) -> str:
        parts = (
            self.decoder,
            "" if self.calibration == "none" else self.calibration,
            "" if self.coherence is None else f"coherence {self.coherence:g}",
            "" if self.min_peak is None else f"min_peak {self.min_peak:g}",
            "" if self.cleanup == "none" else self.cleanup,
        )
        return ", ".join(part for part in parts if part)


ARGMAX = Setting("argmax")
"""The baseline."""


def settings_to_try(
    calibrations: Sequence[CalibrationName], cleanups: Sequence[CleanupName], *, some_absent: bool
) -> list[Setting]:
    """All combinations, each decoding with its cleanups; argmax alone comes first.

    Args:
        calibrations: Such as could be fitted, ``"none"`` among them.
        cleanups: ``"none"`` first.
        some_absent: Whether a region may be absent, so that ``min_peak`` has a meaning.
    """
    peaks: Sequence[float | None] = MIN_PEAKS if some_absent else (None,)
    decodings = [
        ARGMAX,
        *(Setting(*decoding) for decoding in product(METRICS, calibrations, COHERENCES, peaks)),
    ]
    return [replace(decoding, cleanup=cleanup) for decoding in decodings for cleanup in cleanups]


def cleanups_to_try(labels: Sequence[int]) -> Iterator[CleanupName]:
    """None first; bodies of several labels differ from those of each."""
    yield "none"
    yield "largest foreground"
    if len(labels) > 1:
        yield "largest of each label"


def decoder_entry(
    setting: Setting, presence: Sequence[bool], regions: Sequence[Sequence[int]] | None, empty_score: float
) -> dict[str, Any]:
    """The ``decoder`` of a config.

    Args:
        setting: Setting of which the decoder is part.
        presence: Whether each region is always there.
        regions: Label sets, where they are not the classes.
        empty_score: What is given where a region is neither there nor found.
    """
    entry: dict[str, Any] = {"_target_": "rankseg_med.decode.make_decoder", "name": setting.decoder}
    if setting.decoder == "argmax":
        return entry
    words = ["always" if always else "maybe" for always in presence]
    entry |= {"coherence": setting.coherence, "presence": words if len(set(words)) > 1 else words[0]}
    if "maybe" in words:
        entry |= {"min_peak": setting.min_peak, "empty_score": empty_score}
    return entry | ({} if regions is None else {"regions": [list(labels) for labels in regions]})


def cleanup_entry(name: CleanupName, labels: Sequence[int]) -> dict[str, Any] | None:
    """The ``cleanup`` of a config; None for none.

    Args:
        name: Which.
        labels: Labels of the foreground.
    """
    if name == "none":
        return None
    groups = [list(labels)] if name == "largest foreground" else list(labels)
    return {"_target_": "rankseg_med.transforms.KeepLargestComponent", "labels": groups}
