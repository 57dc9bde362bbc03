"""Voxels that are settled at sight get the label that every rule gives them, and are counted as if it had."""

import pytest
import torch

from rankseg_med.decode import RankSEGDecoder, blocks, decoding
from rankseg_med.decode.blocks import TensorBlocks
from rankseg_med.decode.regions import Regions
from rankseg_med.decode.scan import Scan
from rankseg_med.decode.settled import Settled
from rankseg_med.decode.wanted import WantedVoxels
from tests.decode.decoders import assert_alike, independent

DECODERS = [
    RankSEGDecoder(),
    RankSEGDecoder("iou", coherence=0.5),
    RankSEGDecoder(presence="always"),
    independent(),
    independent("iou", "rma", "greedy"),
    independent("dice", "rma", smooth=5.0),
]


def blobs(seed: int, classes: int, sharpness: float, background: float) -> torch.Tensor:
    """Smooth structures beside each other, in more than one tile."""
    rng = torch.Generator().manual_seed(seed)
    coarse = torch.randn((1, classes, 4, 5, 6), generator=rng)
    logits = sharpness * torch.nn.functional.interpolate(coarse, size=(27, 31, 35), mode="trilinear")[0]
    logits += 0.3 * torch.randn(logits.shape, generator=rng)
    logits[0] += background
    return torch.softmax(logits.double(), 0)


def settling(monkeypatch, *, is_on: bool) -> list[Settled]:
    """Those that decoders make from now on; without settling no class is ever sure."""
    made: list[Settled] = []

    def make(classes: Regions, sure: torch.Tensor, label_map: torch.Tensor) -> Settled:
        made.append(Settled(classes, sure if is_on else torch.full_like(sure, torch.inf), label_map))
        return made[-1]

    monkeypatch.setattr(decoding, "Settled", make)
    return made


@pytest.mark.parametrize("decoder", DECODERS, ids=repr)
@pytest.mark.parametrize("classes", [pytest.param(2, marks=pytest.mark.slow), 4])
@pytest.mark.parametrize(("sharpness", "background"), [(1, 0), (4, 3)])
@pytest.mark.parametrize("is_read_again", [False, True])
def test_settling_changes_no_decision(decoder, classes, sharpness, background, is_read_again, monkeypatch):
    """Whether uncertain voxels are kept or their tiles are read again."""
    if is_read_again:
        monkeypatch.setattr(blocks, "_LEAST_ROOM", 0)
    probabilities = blobs(0, classes, sharpness, background)
    settled = settling(monkeypatch, is_on=True)
    decoded = decoder.decode(probabilities)
    if sharpness > 1:
        assert sum(float(some.kept.volume.sum()) for some in settled) > 0
    settling(monkeypatch, is_on=False)
    assert_alike(decoded, decoder.decode(probabilities), 1e-9)


def test_what_is_settled_is_painted_and_counted():
    """By hand: one class alone at its limit and sure of the voxel; others as they are wanted."""
    voxels = torch.tensor(
        [
            [0.29, 0.71, 0.00],  # class 1, sure
            [0.10, 0.00, 0.90],  # class 2, sure
            [0.55, 0.45, 0.00],  # class 1 wants it, but is not sure
            [0.05, 0.70, 0.25],  # class 2 wants it as well
            [0.90, 0.05, 0.05],  # nobody
            [0.25, 0.05, 0.70],  # class 2, but it needs more to be sure
        ],
        dtype=torch.float64,
    ).T
    regions, label_map = Regions.of(3, None), torch.zeros(6, dtype=torch.uint8)
    settled = Settled(regions, torch.tensor([0.6, 0.8], dtype=torch.float64), label_map)
    wanted = WantedVoxels(Scan(TensorBlocks(voxels), regions, 0), torch.tensor([0.2, 0.2]), settled=settled)
    for _ in range(2):  # ... and once only
        (positions,) = wanted.visit(lambda part: torch.cat([index for index, _ in part]))
        assert positions.tolist() == [2, 3, 5]
        assert label_map.tolist() == [1, 2, 0, 0, 0, 0]
        assert settled.kept.volume.tolist() == [1, 1]
        assert settled.kept.mass.tolist() == pytest.approx([0.71, 0.9])
        levels = [int(row.argmax()) for row in settled.kept.counts]
        assert levels == [round(0.71 * 65535), round(0.9 * 65535)]
        first = settled.first_round
        assert (first.voxels, first.kept.tolist()) == (2, [0, 1, 1])
        assert first.kept_mass.tolist() == pytest.approx([0, 0.71, 0.9])
        assert float(first.background) == pytest.approx(0.39)


def test_a_rule_that_is_less_sure_takes_settled_voxels_up_again(monkeypatch):
    """The ascent may want more of a voxel than any threshold: then nothing stays settled for it."""
    for seed in range(3):
        probabilities = blobs(seed, 3, 3, 2)
        decoded = RankSEGDecoder().decode(probabilities)
        with monkeypatch.context() as patch:
            patch.setattr("rankseg_med.decode.rules.GainRule.gains_from", lambda rule, limits: False)
            assert_alike(decoded, RankSEGDecoder().decode(probabilities), 1e-9)
