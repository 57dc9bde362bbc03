"""Decoders as the papers have them."""

from typing import Any

from rankseg_med.decode import RankSEGDecoder


def independent(metric: Any = "dice", *args: Any, **options: Any) -> RankSEGDecoder:
    """Voxels being independent, and an empty answer being worth nothing unless it is said."""
    return RankSEGDecoder(metric, *args, **{"coherence": 0.0, "empty_score": 0.0, **options})
