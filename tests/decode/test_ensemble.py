import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rankseg_med.decode.ensemble import decode_ensemble
from tests.decode.decoders import independent
from tests.decode.oracles import score_of_every_mask, score_of_mask, volume_distribution

METRICS = ("dice", "iou")


def two_classes(foreground: np.ndarray) -> torch.Tensor:
    """Members ``(members, voxels)`` of foreground probabilities as volumes of two classes."""
    return torch.from_numpy(np.stack([1 - foreground, foreground], 1))


def on_levels(probabilities: np.ndarray) -> np.ndarray:
    return np.round(probabilities * 65535) / 65535


def every_mask(members: np.ndarray, metric: str, empty_score: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """All masks and their mean expected scores over members, by enumerating masks and references."""
    masks, scores = score_of_every_mask(members[0], metric)
    scores = np.mean([scores, *(score_of_every_mask(p, metric)[1] for p in members[1:])], axis=0)
    scores[~masks.any(1)] = empty_score * np.prod(1 - members, axis=1).mean()
    return masks, scores


def score_of(members: np.ndarray, mask: np.ndarray, metric: str, solver: str = "exact") -> float:
    """Mean expected score of one mask, by its definition or the formula of the approximation."""
    kept, mass, total = mask.sum(), members[:, mask].sum(1), members.sum(1)
    if solver == "rma":
        return float((2 * mass / (kept + total + 1) if metric == "dice" else mass / (kept + total - mass)).mean())
    return float(np.mean([score_of_mask(p, mask, metric) for p in members]))


def disagreeing(kind: str, members: int, voxels: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    uniform = rng.random((members, voxels))
    return on_levels(
        {
            "independent": lambda: uniform,
            "volume": lambda: uniform ** np.geomspace(0.15, 8, members)[:, None],
            "nested": lambda: (rng.random(voxels) < np.linspace(0.05, 0.9, members)[:, None]) * 0.96 + 0.02,
            "blind": lambda: uniform * (np.arange(members) == 0)[:, None],
            "opposed": lambda: np.where(np.arange(members)[:, None] % 2 == rng.integers(0, 2, voxels), 0.95, 0.001),
            "few values": lambda: rng.choice([0, 1e-3, 0.1, 0.5, 0.9, 1.0], (members, voxels)),
        }[kind]()
    )


KINDS = ("independent", "volume", "nested", "blind", "opposed", "few values")
small_ensembles = st.tuples(st.integers(2, 3), st.integers(1, 7)).flatmap(
    lambda shape: st.lists(
        st.lists(st.integers(0, 65535), min_size=shape[1], max_size=shape[1]), min_size=shape[0], max_size=shape[0]
    )
)


@pytest.mark.parametrize("metric", METRICS)
@settings(max_examples=15, deadline=None)
@given(levels=small_ensembles)
def test_no_mask_is_better(metric, levels):
    members = np.array(levels) / 65535
    masks, scores = every_mask(members, metric)
    decoded = decode_ensemble(two_classes(members), independent(metric, min_peak=0))
    (decision,) = decoded.decisions
    assert decision.expected_score == pytest.approx(scores.max(), abs=1e-9)
    assert scores[(masks == (decoded.label_map.numpy() == 1)).all(1)].item() == pytest.approx(scores.max(), abs=1e-9)
    by_argmax = members.mean(0) > 0.5
    assert decision.argmax_expected_score == pytest.approx(scores[(masks == by_argmax).all(1)].item(), abs=1e-9)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
def test_no_mask_of_ten_voxels_is_better(metric, kind):
    members = disagreeing(kind, 3, 10, seed=1)
    _, scores = every_mask(members, metric)
    (decision,) = decode_ensemble(two_classes(members), independent(metric, min_peak=0)).decisions
    assert decision.expected_score == pytest.approx(scores.max(), abs=1e-9)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("empty_score", [0.7, 1.0])
def test_the_empty_map_is_among_all_masks(metric, empty_score):
    empty = set()
    for seed, faint in enumerate([1, 0.05, 1, 0.3]):
        members = on_levels(disagreeing("volume", 3, 6, seed) * [[1], [faint], [faint]])
        _, scores = every_mask(members, metric, empty_score)
        decoder = independent(metric, min_peak=0, empty_score=empty_score)
        decoded = decode_ensemble(two_classes(members), decoder)
        assert decoded.decisions[0].expected_score == pytest.approx(scores.max(), abs=1e-9)
        empty.add(not decoded.label_map.any())
    assert empty == {True, False}


def test_one_model_that_sees_a_phantom():
    """One of three models sees 1000 voxels around a lesion of 100: to the mean probability they are worth keeping."""
    members = on_levels(np.hstack([np.ones((3, 100)), np.outer([0.9, 0, 0], np.ones(1000)), np.zeros((3, 900))]))
    decoder = independent("dice", "rma")
    decoded = decode_ensemble(two_classes(members), decoder)
    (decision,) = decoded.decisions
    assert decoder(two_classes(members).mean(0)).sum() == 1100
    assert decoded.label_map.sum() == decision.voxels == 100
    # Worked by hand: 2 S / (t + m + 1) with t = 100 and S = 100, or t = 1100 and S = 1000, 100, 100.
    assert decision.expected_score == pytest.approx((200 / 1101 + 2 * 200 / 201) / 3, abs=1e-4)
    of_mean = score_of(members, np.arange(2000) < 1100, "dice", "rma")
    assert of_mean == pytest.approx((2000 / 2101 + 2 * 200 / 1201) / 3, abs=1e-4)
    assert decision.expected_score > of_mean + 0.29


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("solver", "voxels"), [("exact", 50), ("exact", 150), ("rma", 250)])
@pytest.mark.parametrize("kind", KINDS)
def test_never_below_the_mean_or_a_member(metric, solver, kind, voxels):
    members = disagreeing(kind, 3, voxels, voxels)
    volumes = two_classes(members)
    decoder = independent(metric, solver, min_peak=0)
    decoded = decode_ensemble(volumes, decoder)
    (decision,) = decoded.decisions
    mask = decoded.label_map.numpy() == 1
    assert decision.expected_score == pytest.approx(score_of(members, mask, metric, solver), abs=1e-9)
    for other in (decoder(volumes.mean(0)), *map(decoder, volumes), volumes.mean(0).argmax(0)):
        if other.any():
            assert decision.expected_score >= score_of(members, other.numpy() == 1, metric, solver) - 1e-12
    assert decision.voxels == mask.sum()


def test_volume_is_that_of_the_mixture():
    members = disagreeing("volume", 3, 40, 0)
    (decision,) = decode_ensemble(two_classes(members), independent()).decisions
    mixture = np.mean([volume_distribution(p) for p in members], axis=0)
    volume = np.arange(len(mixture))
    assert decision.expected_volume == pytest.approx(mixture @ volume)
    assert decision.volume_sd == pytest.approx(np.sqrt(mixture @ volume**2 - (mixture @ volume) ** 2))


def softmax_members(*shape: int, seed: int = 0, sharpness: float = 3.0) -> torch.Tensor:
    """``(members, classes, *spatial)`` on the levels, with volumes that differ by member."""
    logits = sharpness * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    logits[:, 0] += torch.linspace(-1, 3, shape[0]).reshape(-1, *[1] * (len(shape) - 2)) * sharpness / 2
    levels = (torch.softmax(logits, 1) * 65535).floor()
    levels[:, 0] += 65535 - levels.sum(1)
    return levels / 65535


@pytest.mark.parametrize("regions", [None, [[1, 2], [2]], [[1, 3], [3], [2]]])
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_regions_are_scored_as_they_are_and_never_below_the_mean(regions, metric, seed):
    volumes = softmax_members(3, 4, 60, seed=seed)
    decoder = independent(metric, min_peak=0.3, regions=regions)
    decoded = decode_ensemble(volumes, decoder)

    def scores(label_map: torch.Tensor) -> list[float]:
        return [
            score_of(volumes[:, region].sum(1).numpy(), np.isin(label_map.numpy(), region), metric)
            for region in regions or [[1], [2], [3]]
        ]

    found = [decision.expected_score for decision in decoded.decisions]
    assert found == pytest.approx(scores(decoded.label_map), abs=1e-9)
    mean = volumes.mean(0)
    assert sum(found) >= sum(scores(decoder(mean))) - 1e-12
    by_argmax = [decision.argmax_expected_score for decision in decoded.decisions]
    assert by_argmax == pytest.approx(scores(mean.argmax(0)), abs=1e-9)


def test_classes_gain_where_members_disagree():
    volumes = softmax_members(3, 4, 24, 24, 24, sharpness=4.0)
    decoder = independent("iou")
    found = sum(decision.expected_score for decision in decode_ensemble(volumes, decoder).decisions)
    label_map = decoder(volumes.mean(0)).flatten().numpy()
    flat = volumes.flatten(2).numpy()
    of_mean = sum(score_of(flat[:, label], label_map == label, "iou", "rma") for label in (1, 2, 3))
    assert found > of_mean + 0.005


def test_faint_members_are_read_without_a_floor():
    """Every voxel is below the level at which it counts as background beyond doubt."""
    members = on_levels(np.random.default_rng(0).random((2, 1500)) * [[0.003], [0.001]])
    decoded = decode_ensemble(two_classes(members), independent("iou", min_peak=0))
    mask = decoded.label_map.numpy() == 1
    assert mask.any()
    assert decoded.decisions[0].expected_score == pytest.approx(score_of(members, mask, "iou"), abs=1e-9)


@pytest.mark.parametrize("options", [{}, {"metric": "iou", "solver": "rma"}, {"regions": [[1, 2], [2]]}])
def test_one_member_or_equal_members_decode_like_the_decoder(options):
    volume = softmax_members(1, 3, 12, 13, 14)[0]
    decoder = independent(**options)
    alone = decoder.decode(volume)
    one = decode_ensemble([volume], decoder)
    assert torch.equal(one.label_map, alone.label_map)
    assert one.decisions == alone.decisions
    twins = decode_ensemble([volume, volume], decoder).decisions
    assert sum(d.expected_score for d in twins) >= sum(d.expected_score for d in alone.decisions) - 1e-12
    assert [d.volume_sd for d in twins] == pytest.approx([d.volume_sd for d in alone.decisions])
    if decoder.regions is None and decoder.metric == "dice":
        assert torch.equal(decode_ensemble([volume, volume], decoder).label_map, alone.label_map)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_a_tensor_a_list_and_any_layout_decode_alike(dtype):
    volumes = softmax_members(3, 3, 10, 11, 12).to(dtype)
    before = volumes.clone()
    decoder = independent()
    label_map = decode_ensemble(volumes, decoder).label_map
    assert label_map.dtype == torch.uint8
    assert label_map.any()
    assert torch.equal(decode_ensemble(list(volumes), decoder).label_map, label_map)
    channels_last = [volume.permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2) for volume in volumes]
    assert torch.equal(decode_ensemble(channels_last, decoder).label_map, label_map)
    transposed = decode_ensemble(volumes.transpose(2, 4), decoder).label_map
    assert torch.equal(transposed.transpose(0, 2), label_map)
    assert torch.equal(volumes, before)


def test_regions_that_nobody_predicts_stay_empty():
    volumes = softmax_members(2, 3, 300)
    volumes[:, 1] += volumes[:, 2] * 0.7
    volumes[:, 2] *= 0.3
    decoded = decode_ensemble(volumes, independent(min_peak=0.5))
    assert (decoded.label_map == 1).any()
    assert not (decoded.label_map == 2).any()
    assert decoded.decisions[1].expected_score == 0


@pytest.mark.parametrize(
    ("members", "options", "message"),
    [
        ([], {}, "at least one member, got none"),
        ([(3, 5), (3, 6)], {}, r"agree in shape, dtype and device, got \(3, 5\) torch.float64 .*, \(3, 6\)"),
        ([(3, 5), (2, 5)], {}, "agree in shape"),
        ([(3,), (3,)], {}, "needs a class axis and at least one spatial axis"),
        ([(3, 5)], {"mode": "multilabel"}, "mode='multiclass' and assignment='ascent', got mode='multilabel'"),
        ([(3, 5)], {"assignment": "greedy"}, "got mode='multiclass' and assignment='greedy'"),
    ],
)
@pytest.mark.usefixtures("wrong_types")
def test_wrong_ensembles_are_named(members, options, message):
    volumes = [torch.full(shape, 1 / shape[0], dtype=torch.float64) for shape in members]
    with pytest.raises(ValueError, match=message):
        decode_ensemble(volumes, independent(**options))


@pytest.mark.usefixtures("wrong_types")
def test_every_member_is_checked():
    good = softmax_members(1, 3, 5)[0]
    with pytest.raises(ValueError, match="agree in shape, dtype and device"):
        decode_ensemble([good, good.float()], independent())
    with pytest.raises(TypeError, match="must be a floating-point tensor"):
        decode_ensemble([good, good.argmax(0)[None]], independent())
    # Their mean would be a probability volume.
    for bad, message in ((good + 0.2, "must lie in|must sum to one"), (good * torch.nan, "must be finite")):
        with pytest.raises(ValueError, match=message):
            decode_ensemble([good, bad], independent())
