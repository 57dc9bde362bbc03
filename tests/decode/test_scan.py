"""Setting certain background aside, tile by tile and block by block, changes nothing but the time it takes."""

import numpy as np
import pytest
import torch

from rankseg_med.decode import blocks, decoding, wanted
from rankseg_med.decode import scan as scan_module
from rankseg_med.decode.blocks import TensorBlocks
from rankseg_med.decode.regions import Regions
from rankseg_med.decode.scan import Scan
from rankseg_med.decode.wanted import WantedVoxels
from tests.decode.decoders import assert_alike, independent
from tests.decode.oracles import rma_score_of_mask, score_of_mask
from tests.decode.volumes import TOP, large_volume

METRICS = ("dice", "iou")
NESTED = [[1, 2, 3], [2, 3], [2]]
FLOOR = 256


def sparse_volume(voxels: int = 30_001, lowest: int = 1, seed: int = 0, classes: int = 4) -> torch.Tensor:
    """Certain background with a few uncertain runs: whole tiles, parts of tiles, and the tail behind the last tile."""
    rng = np.random.default_rng(seed)
    levels = rng.integers(lowest, 60, (classes, voxels))
    for start, length in ((100, 37), (4000, 300), (12288, 4096), (20000, 1), (voxels - 9, 9)):
        odds = rng.dirichlet(np.full(classes, 0.7), length).T
        levels[:, start : start + length] = np.maximum(lowest, 0.98 * TOP * odds)
    levels[0] = TOP - levels[1:].sum(0)
    return torch.from_numpy(levels / TOP)


def scan(probabilities: torch.Tensor, regions=None, floor: int = FLOOR) -> Scan:
    return Scan(TensorBlocks(probabilities), Regions.of(len(probabilities), regions), floor)


def region_levels(probabilities: torch.Tensor, regions) -> np.ndarray:
    levels = np.rint(probabilities.double().numpy() * TOP).astype(int)
    return np.stack([levels[list(region)].sum(0) for region in regions or [[c] for c in range(1, len(levels))]])


@pytest.fixture(params=[(1 << 11, 1 << 20), (1 << 11, 1 << 15), (1 << 6, 1 << 13), (7, 1 << 13)], ids=str)
def tile(request, monkeypatch) -> int:
    """Voxels a tile, with more or fewer tiles a run."""
    voxels, run_values = request.param
    monkeypatch.setattr(blocks, "TILE_VOXELS", voxels)
    monkeypatch.setattr(blocks, "_RUN_VALUES", run_values)
    return voxels


@pytest.mark.parametrize("regions", [None, NESTED, [[1, 3], [2]]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_set_aside_is_accounted_for(regions, tile, dtype):
    probabilities = sparse_volume().to(dtype)
    levels = region_levels(probabilities, regions)
    p = levels / TOP
    precise = {torch.float32: 1e-5, torch.float64: 1e-9}[dtype]
    found = scan(probabilities, regions)
    certain = (levels <= FLOOR).all(0)
    assert 0 < certain.sum() < len(certain)
    assert found.certain_voxels == certain.sum()
    background = probabilities[0].double().numpy()
    assert found.certain_background == pytest.approx(background[certain].sum(), rel=precise)
    assert found.background.mass.item() == pytest.approx(background.sum(), rel=precise)
    assert found.background.peak.item() == background.max()
    histogram = found.histogram
    for index in range(len(levels)):
        counts = np.bincount(levels[index][~certain], minlength=TOP + 1)
        np.testing.assert_array_equal(histogram.counts[index].numpy(), counts)
        assert histogram.mass[index].item() == pytest.approx(p[index].sum(), rel=min(precise, 1e-7))
        assert histogram.peak[index].item() == pytest.approx(p[index].max(), rel=precise)
        assert histogram.uncounted_mass[index].sum().item() == pytest.approx(p[index][certain].sum(), rel=precise)
        squares = histogram.uncounted_squares[index].sum().item()
        assert squares == pytest.approx((p[index][certain] ** 2).sum(), rel=precise)
        distribution = histogram.distribution(index)
        assert distribution.mean_volume == pytest.approx(p[index].sum(), rel=precise)
        assert distribution.volume_variance == pytest.approx((p[index] * (1 - p[index])).sum(), rel=precise)


@pytest.mark.parametrize("regions", [None, NESTED])
@pytest.mark.parametrize("background_limit", [-np.inf, 0.3, 0.9999, np.inf])
@pytest.mark.parametrize("share", [0, 0.002, 100])
@pytest.mark.parametrize("uncertain_share", [0, 100])
@pytest.mark.parametrize("batch", [5_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_wanted_voxels_are_those_at_their_limits(
    regions, background_limit, share, uncertain_share, batch, tile, monkeypatch
):
    """Whether they are kept, kept in part, or read again."""
    monkeypatch.setattr(wanted, "_KEPT_SHARE", share)
    monkeypatch.setattr(scan_module, "_KEPT_SHARE", uncertain_share)
    monkeypatch.setattr(blocks, "_LEAST_ROOM", 0)
    monkeypatch.setattr(blocks, "_BATCH_VALUES", batch)
    probabilities = sparse_volume()
    limits = torch.tensor([0.2, 0.4, 0.8], dtype=torch.float64)
    region = region_levels(probabilities, regions) / TOP
    reached = region >= limits.numpy()[:, None]
    expected = np.flatnonzero(reached.any(0) | (probabilities[0].numpy() < background_limit))
    voxels = WantedVoxels(scan(probabilities, regions), limits, background_limit)
    for _ in range(3):
        positions, classes = zip(*voxels, strict=True)
        np.testing.assert_array_equal(torch.cat(positions).numpy(), expected)
        assert torch.equal(torch.cat(classes, 1), probabilities[:, expected])
        contested = torch.cat([voxels.contested(voxels.regions.probabilities(some)) for some in classes])
        np.testing.assert_array_equal(contested.numpy(), reached[:, expected].sum(0) > 1)


def test_without_a_floor_every_voxel_is_counted():
    probabilities = sparse_volume(lowest=0)
    found = scan(probabilities, floor=0)
    assert found.certain_voxels == 0
    for index, levels in enumerate(region_levels(probabilities, None)):
        np.testing.assert_array_equal(found.histogram.counts[index].numpy(), np.bincount(levels, minlength=TOP + 1))


def test_variance_where_uncertain_voxels_round_to_zero():
    """Two voxels at level 0, uncertain for another class's sake, say nothing of 20,000 that were set aside."""
    foreground = torch.full((2, 20_000), 20, dtype=torch.float64)
    foreground[:, :9] = torch.tensor([[59_000], [3000]])
    foreground[:, 9:11] = torch.tensor([[0], [52_000]])
    foreground /= TOP
    probabilities = torch.cat([1 - foreground.sum(0, keepdim=True), foreground])
    distribution = scan(probabilities).histogram.distribution(0)
    p = foreground[0].numpy()
    assert distribution.mean_volume == pytest.approx(p.sum(), rel=1e-9)
    assert distribution.volume_variance == pytest.approx((p * (1 - p)).sum(), rel=1e-6)


@pytest.mark.parametrize("lowest", [0, 1])
def test_background_keeps_its_mass(lowest):
    probabilities = sparse_volume(lowest=lowest)
    background = scan(probabilities).background_distribution()
    assert background.mean_volume == pytest.approx(probabilities[0].sum().item(), rel=1e-10)
    assert (background.probabilities.diff() <= 0).all()


DECODERS = [
    independent("dice"),
    independent("iou"),
    independent("dice", "ba"),
    independent("dice", min_peak=0, empty_score=1),
    independent("iou", "rma", "greedy"),
    independent("dice", "rma", smooth=5.0),
    independent(["iou", "dice", "dice"], regions=NESTED),
]


@pytest.mark.parametrize("decoder", DECODERS, ids=repr)
@pytest.mark.parametrize("voxels", [30_001, 28_672])
def test_a_floor_changes_no_decision(decoder, voxels, monkeypatch):
    probabilities = sparse_volume(voxels)
    decoded = decoder.decode(probabilities)
    monkeypatch.setattr(decoding, "floor_for", lambda classes: 0)
    assert_alike(decoded, decoder.decode(probabilities))


@pytest.mark.parametrize("metric", METRICS)
def test_a_floor_changes_no_decision_on_blobs(metric, monkeypatch):
    probabilities = torch.from_numpy(large_volume((33, 41, 27), 3, 5) / TOP)
    decoded = independent(metric).decode(probabilities)
    monkeypatch.setattr(decoding, "floor_for", lambda classes: 0)
    assert_alike(decoded, independent(metric).decode(probabilities))


@pytest.mark.parametrize("decoder", DECODERS, ids=repr)
def test_keeping_the_wanted_voxels_or_reading_them_again_is_the_same(decoder, monkeypatch):
    monkeypatch.setattr(blocks, "_RUN_VALUES", 1 << 15)
    probabilities = sparse_volume(seed=1)
    decoded = decoder.decode(probabilities)
    monkeypatch.setattr(blocks, "_LEAST_ROOM", 0)
    for share in (0, 0.02, 100):
        for uncertain_share in (0, 100):
            monkeypatch.setattr(wanted, "_KEPT_SHARE", share)
            monkeypatch.setattr(scan_module, "_KEPT_SHARE", uncertain_share)
            assert_alike(decoder.decode(probabilities), decoded, 0)


FAINT = np.repeat([320, 250, 200, 90, 2], [40, 3000, 2500, 1500, 2000])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("solver", ["exact", "rma"])
@pytest.mark.parametrize("certain_core", [0, 3])
def test_a_best_threshold_below_the_floor_is_found(metric, solver, certain_core):
    levels = np.random.default_rng(0).permutation(np.r_[FAINT, np.full(certain_core, 700)])
    foreground = levels / TOP
    decoded = independent(metric, solver, min_peak=0).decode(torch.from_numpy(np.stack([1 - foreground, foreground])))

    def score(kept: np.ndarray) -> float:
        if solver == "rma":
            return rma_score_of_mask(foreground, kept, metric, 0.0, 0.0)
        return score_of_mask(foreground, kept, metric)

    of_threshold = {level: score(levels >= level) for level in np.unique(levels)}
    best = max(of_threshold, key=of_threshold.get)
    assert best <= FLOOR, "the volume must be one where the floor is too high"
    np.testing.assert_array_equal(decoded.label_map.numpy() == 1, levels >= best)
    assert decoded.decisions[0].expected_score == pytest.approx(of_threshold[best], abs=1e-9)
    assert decoded.decisions[0].threshold == best / TOP


def test_one_faint_class_among_others_is_found(monkeypatch):
    probabilities = sparse_volume()
    probabilities[3] = (
        torch.from_numpy(np.resize(np.random.default_rng(1).permutation(FAINT), probabilities.shape[1])) / TOP
    )
    probabilities[:3] *= (1 - probabilities[3]) / probabilities[:3].sum(0)
    decoded = independent(min_peak=0).decode(probabilities)
    assert decoded.decisions[2].threshold < FLOOR / TOP
    assert decoded.decisions[2].voxels > 1000
    monkeypatch.setattr(decoding, "floor_for", lambda classes: 0)
    assert_alike(decoded, independent(min_peak=0).decode(probabilities))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("decoder", DECODERS[:1] + DECODERS[4:], ids=repr)
def test_every_floating_dtype_decodes_alike(dtype, decoder):
    probabilities = sparse_volume(seed=2).to(dtype)
    assert_alike(decoder.decode(probabilities), decoder.decode(probabilities.double()))


@pytest.mark.parametrize("decoder", [independent(), independent("iou", regions=NESTED)], ids=repr)
def test_memory_layout_does_not_matter(decoder):
    probabilities = sparse_volume(34 * 33 * 32, seed=3).reshape(4, 34, 33, 32)
    labels = decoder(probabilities)
    assert torch.equal(decoder(probabilities.movedim(0, -1).contiguous().movedim(-1, 0)), labels)
    assert torch.equal(decoder(probabilities.permute(0, 3, 1, 2)), labels.permute(2, 0, 1))
    assert torch.equal(decoder(probabilities.flip(2)), labels.flip(1))
    every_other = probabilities[:, ::2, :, 1:-1]
    assert torch.equal(decoder(every_other), decoder(every_other.contiguous()))
    repeated = probabilities[:, :, None].expand(-1, -1, 2, -1, -1)
    assert torch.equal(decoder(repeated), decoder(repeated.contiguous()))


@pytest.mark.parametrize("decoder", DECODERS, ids=repr)
def test_input_is_left_as_it_was(decoder):
    for dtype in (torch.float16, torch.float32, torch.float64):
        probabilities = sparse_volume().to(dtype)
        before = probabilities.clone()
        decoder(probabilities.requires_grad_())
        assert torch.equal(probabilities, before)


@pytest.mark.parametrize("spatial", [(1,), (1, 1, 1), (9000,), (20, 21, 22)])
@pytest.mark.parametrize("assignment", ["ascent", "greedy"])
@pytest.mark.parametrize("label", [0, 1, 2])
def test_volumes_of_one_label_beyond_doubt(spatial, assignment, label):
    probabilities = torch.zeros((3, *spatial))
    probabilities[label] = 1
    decoded = independent(assignment=assignment).decode(probabilities)
    assert decoded.label_map.shape == spatial
    assert (decoded.label_map == label).all()
    for index, decision in enumerate(decoded.decisions, start=1):
        assert decision.voxels == (probabilities[0].numel() if index == label else 0)
        assert decision.expected_score == pytest.approx(float(index == label), abs=1e-12)
        assert decision.expected_volume == decision.voxels
        assert decision.volume_sd == 0


@pytest.mark.parametrize("empty_score", [0.0, 0.5, 1.0])
def test_certain_background_scores_what_empty_scores(empty_score):
    """Also where each of many voxels is foreground with a probability far below half a level."""
    faint = 1e-7
    probabilities = torch.full((2, 20_000), faint, dtype=torch.float64)
    probabilities[0] = 1 - faint
    (decision,) = independent(min_peak=0, empty_score=empty_score).decode(probabilities).decisions
    assert decision.voxels == 0
    assert decision.expected_score == pytest.approx(empty_score * (1 - faint) ** 20_000, rel=1e-7)
    assert decision.expected_volume == pytest.approx(20_000 * faint, rel=1e-9)


@pytest.mark.parametrize("at", [0, 5000, 9999, 30_000])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.nan, "got NaN or infinite"),
        (torch.inf, "got NaN or infinite"),
        (-torch.inf, "got NaN or infinite"),
        (-0.25, r"got values from -0.25 to [01]"),
        (1.5, r"got values from [0-9e.-]+ to 1.5"),
        (0.5, "must sum to one over its classes in every voxel"),
    ],
)
@pytest.mark.parametrize("channel", [0, 3])
def test_one_wrong_value_is_found_wherever_it_lies(at, dtype, value, message, channel, monkeypatch):
    """In a tile of certain background, in one that is not, in the first and the last voxel."""
    monkeypatch.setattr(blocks, "_RUN_VALUES", 1 << 15)
    probabilities = sparse_volume().to(dtype)
    probabilities[channel, at] = value
    for decoder in (independent(), independent(regions=[[1, 2], [2]])):
        with pytest.raises(ValueError, match=message):
            decoder(probabilities)


def test_a_wrong_sum_where_every_region_is_certain_background_is_found():
    probabilities = sparse_volume()
    probabilities[0, 6000] -= 0.05
    with pytest.raises(ValueError, match=r"got sums from 0\.95"):
        independent()(probabilities)
