import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rankseg_med.decode import ProbabilityHistogram
from rankseg_med.decode.levels import LEVELS, level_of, lowest_probability_of


def softmax_volume(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.softmax(3 * torch.randn(shape, generator=torch.Generator().manual_seed(seed)), 0)


def test_counts_agree_with_numpy():
    probabilities = softmax_volume(3, 20, 30, 10).double()
    histogram = ProbabilityHistogram.of(probabilities)
    for index, values in enumerate(probabilities.numpy().reshape(3, -1)):
        levels = np.floor(values * 65535 + 0.5).astype(int)
        np.testing.assert_array_equal(histogram.counts[index].numpy(), np.bincount(levels, minlength=LEVELS))
        assert histogram.mass[index].item() == pytest.approx(values.sum(), rel=1e-12)
        assert histogram.peak[index].item() == values.max()


def test_slabs_add_up_to_the_volume():
    probabilities = softmax_volume(4, 17, 8, 8)
    whole = ProbabilityHistogram.of(probabilities)
    parts = ProbabilityHistogram.of(probabilities[:, :5]) + ProbabilityHistogram.of(probabilities[:, 5:])
    assert torch.equal(parts.counts, whole.counts)
    assert torch.equal(parts.peak, whole.peak)
    torch.testing.assert_close(parts.mass, whole.mass, rtol=1e-14, atol=0)


def test_adding_other_classes_is_an_error():
    with pytest.raises(ValueError, match="same regions, got 2 and 3"):
        ProbabilityHistogram.of(softmax_volume(2, 4)) + ProbabilityHistogram.of(softmax_volume(3, 4))


def test_faint_background_keeps_its_exact_mass():
    """A million voxels at a hundredth of a level are 0.15 voxels of mass, not 0 and not a million half levels."""
    faint = 0.01 / (LEVELS - 1)
    probabilities = torch.full((2, 1_000_000), faint, dtype=torch.float64)
    probabilities[0] = 1 - faint
    found = ProbabilityHistogram.of(probabilities).distribution(1)
    assert found.levels.tolist() == []
    assert found.rest_counts.tolist() == pytest.approx([1e6])
    assert found.mean_volume == pytest.approx(1e6 * faint, rel=1e-9)
    assert found.volume_variance == pytest.approx(1e6 * faint * (1 - faint), rel=1e-9)


def test_certain_background_is_left_out():
    probabilities = torch.tensor([[1.0, 1.0, 0.2], [0.0, 0.0, 0.8]], dtype=torch.float64)
    found = ProbabilityHistogram.of(probabilities).distribution(1)
    assert found.counts.tolist() == [1]
    assert found.probabilities.item() == pytest.approx(0.8)
    assert found.levels.item() == 0.8 * 65535
    assert found.rest_counts.tolist() == []


@given(level=st.integers(0, LEVELS), dtype=st.sampled_from([torch.float32, torch.float64]))
@settings(deadline=None)
def test_comparing_probabilities_is_comparing_levels(level, dtype):
    edge = torch.tensor(lowest_probability_of(level, dtype), dtype=dtype)
    if level == 0:
        assert edge == -torch.inf
    elif level == LEVELS:
        assert edge == torch.inf
    else:
        assert level_of(edge) >= level
        assert level_of(torch.nextafter(edge, torch.zeros((), dtype=dtype))) < level


def test_levels_are_exact_on_their_own_values():
    levels = torch.arange(LEVELS)
    for dtype in (torch.float32, torch.float64):
        assert torch.equal(level_of(levels.to(dtype) / (LEVELS - 1)).long(), levels)
