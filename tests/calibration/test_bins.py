import numpy as np
import pytest
import torch

from rankseg_med.calibration.bins import BINS, bin_of


def test_from_the_first_to_the_last():
    assert bin_of(torch.tensor([0.0, 2.0**-31, -1e-9])).tolist() == [0, 0, 0]
    assert bin_of(torch.tensor([1.0, 1 + 1e-6])).tolist() == [BINS - 1, BINS - 1]
    assert int(bin_of(torch.tensor(2.0**-30))) == 1
    assert int(bin_of(torch.tensor(1 - 2.0**-24))) < BINS - 1


def test_they_ascend_and_none_is_empty():
    edges = np.concatenate([[0], 2.0 ** -np.arange(30, 1, -1.0 / 64), 1 - 2.0 ** -np.arange(1, 24, 1.0 / 64), [0.5, 1]])
    found = bin_of(torch.tensor(np.sort(edges), dtype=torch.float32)).tolist()
    assert found == sorted(found)
    # Bins of an octave are of equal width and those of the sample of equal ratio, so not every bin is met.
    assert len(set(found)) > 0.9 * BINS


@pytest.mark.parametrize("side", [1, -1])
def test_at_most_three_percent_wide(side):
    small = torch.logspace(-8.9, np.log10(0.49), 200_000, dtype=torch.float64).float()
    small = small if side == 1 else 1 - (1 - small[small > 1e-6])
    bins = bin_of(small if side == 1 else 1 - small)
    for some in (bins[1000], bins[50_000], bins[-50_000]):
        within = small[bins == some]
        assert float(within.max() / within.min()) <= 1 + 1 / 32 + 1e-6


def test_multiples_of_a_sixty_fourth_are_edges():
    edges = torch.arange(1, 64) / 64
    below, above = torch.nextafter(edges, torch.zeros(())), torch.nextafter(edges, torch.ones(()))
    assert (bin_of(below) < bin_of(edges)).all()
    one_half = edges == 0.5
    assert torch.equal(bin_of(edges)[~one_half], bin_of(above)[~one_half])
