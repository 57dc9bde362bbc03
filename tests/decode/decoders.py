"""Decoders as the papers have them, and what they find, compared."""

from typing import Any

import pytest
import torch

from rankseg_med.decode import Decoded, RankSEGDecoder


def independent(metric: Any = "dice", *args: Any, **options: Any) -> RankSEGDecoder:
    """Voxels being independent, and an empty answer being worth nothing unless it is said."""
    return RankSEGDecoder(metric, *args, **{"coherence": 0.0, "empty_score": 0.0, **options})


def assert_alike(decoded: Decoded, other: Decoded, tolerance: float = 1e-6) -> None:
    assert torch.equal(decoded.label_map, other.label_map)
    for one, two in zip(decoded.decisions, other.decisions, strict=True):
        assert one.voxels == two.voxels
        assert one.threshold == two.threshold
        assert one.expected_score == pytest.approx(two.expected_score, abs=tolerance)
        assert one.argmax_expected_score == pytest.approx(two.argmax_expected_score, abs=tolerance)
        assert one.expected_volume == pytest.approx(two.expected_volume, rel=1e-9)
        assert one.volume_sd == pytest.approx(two.volume_sd, rel=1e-4)
