"""Independent channels, and options that do not go together."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rankseg import RankSEG as PublishedRankSEG

from tests.decode.decoders import independent
from tests.decode.oracles import score_of_every_mask
from tests.decode.volumes import SETTINGS, TOP

METRICS = ("dice", "iou")


def channels(*shape: int, seed: int = 0) -> torch.Tensor:
    """Levels of independent channels: sums are anything."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=shape) + rng.uniform(-2, 2, (shape[0],) + (1,) * (len(shape) - 1))
    return torch.from_numpy(np.rint(TOP / (1 + np.exp(-logits))) / TOP)


@pytest.mark.parametrize("metric", METRICS)
@settings(max_examples=30, **SETTINGS)
@given(levels=st.lists(st.lists(st.integers(1, TOP), min_size=7, max_size=7, unique=True), min_size=1, max_size=4))
def test_every_channel_is_the_best_mask_of_all(metric, levels):
    p = np.array(levels) / TOP
    decoded = independent(metric, mode="multilabel", min_peak=0).decode(torch.from_numpy(p))
    assert decoded.label_map.shape == p.shape
    assert decoded.label_map.dtype == torch.uint8
    for channel, (mask, decision) in enumerate(zip(decoded.label_map.numpy(), decoded.decisions, strict=True)):
        masks, scores = score_of_every_mask(p[channel], metric)
        assert scores[(masks == (mask == 1)).all(1)].item() == pytest.approx(scores.max(), abs=1e-6)
        assert decision.expected_score == pytest.approx(scores.max(), abs=1e-6)
        by_argmax = scores[(masks == (p[channel] > 0.5)).all(1)].item()
        assert decision.argmax_expected_score == pytest.approx(by_argmax, abs=1e-6)
        assert decision.labels == (channel,)
        assert decision.voxels == mask.sum()
        assert decision.expected_volume == pytest.approx(p[channel].sum(), rel=1e-9)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("smooth", [0.0, 3.0])
@pytest.mark.parametrize("min_peak", [0.0, 0.5, 0.95])
@pytest.mark.parametrize("shape", [(1, 5000), (3, 17, 19, 23), (5, 40, 30)])
def test_channels_equal_the_reference_package(metric, smooth, min_peak, shape):
    probabilities = channels(*shape)
    theirs = PublishedRankSEG(
        metric={"dice": "dice", "iou": "IoU"}[metric],
        output_mode="multilabel",
        solver="RMA",
        smooth=smooth,
        pruning_prob=min_peak,
    ).predict(probabilities[None])[0]
    ours = independent(metric, "rma", mode="multilabel", smooth=smooth, min_peak=min_peak)(probabilities)
    assert torch.equal(ours.bool(), theirs)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_channel_is_a_volume_of_two_classes(dtype):
    probabilities = channels(3, 20, 21, 22, seed=1).to(dtype)
    decoded = independent(["dice", "iou", "dice"], mode="multilabel", min_peak=[0.5, 0, 0.9]).decode(probabilities)
    for channel, (metric, min_peak) in enumerate([("dice", 0.5), ("iou", 0.0), ("dice", 0.9)]):
        p = probabilities[channel].double()
        alone = independent(metric, min_peak=min_peak).decode(torch.stack([1 - p, p]))
        assert torch.equal(decoded.label_map[channel], alone.label_map)
        assert decoded.decisions[channel].metric == metric
        assert decoded.decisions[channel].expected_score == pytest.approx(alone.decisions[0].expected_score, abs=1e-6)


def test_sums_need_not_be_one():
    probabilities = torch.tensor([[0.9, 0.8, 0.0], [0.9, 0.0, 0.0], [0.9, 1.0, 0.0]])
    assert independent(mode="multilabel")(probabilities).tolist() == [[1, 1, 0], [1, 0, 0], [1, 1, 0]]
    with pytest.raises(ValueError, match="must sum to one"):
        independent()(probabilities)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_values_that_are_no_numbers_are_found(value):
    probabilities = channels(2, 9000)
    probabilities[1, 6000] = value
    with pytest.raises(ValueError, match="got NaN or infinite"):
        independent(mode="multilabel")(probabilities)


@pytest.mark.parametrize("value", [-0.5, 1.5])
def test_values_that_are_no_probabilities_are_found(value):
    with pytest.raises(ValueError, match="these look like logits"):
        independent(mode="multilabel")(torch.tensor([[0.25, value]]))


@pytest.mark.parametrize(("value", "message"), [(1.5, "from 0.25 to 1.5"), (-0.5, "from -0.5 to 0.25")])
def test_the_values_found_are_the_channels(value, message):
    with pytest.raises(ValueError, match=message):
        independent(mode="multilabel")(torch.tensor([[0.25, value]]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"smooth": 1.0}, "smooth is defined for solver='rma', got smooth=1.0 with solver='exact'"),
        ({"smooth": 1.0, "solver": "ba"}, "smooth is defined for solver='rma'"),
        ({"smooth": -1.0, "solver": "rma"}, "smooth must be at least 0 and finite, got -1.0"),
        ({"smooth": float("inf"), "solver": "rma"}, "smooth must be at least 0 and finite, got inf"),
        ({"smooth": float("nan"), "solver": "rma"}, "smooth must be at least 0 and finite, got nan"),
        ({"solver": "ba", "metric": "iou"}, "solver 'ba' is defined for Dice, got metric='iou'"),
        ({"solver": "ba", "metric": ["dice", "iou"]}, "solver 'ba' is defined for Dice"),
        ({"mode": "multilabel", "regions": [[1, 2], [2]]}, "multilabel channels are regions already"),
        ({"empty_score": 1.1}, r"empty_score must lie in \[0, 1\], got 1.1"),
        ({"empty_score": float("nan")}, r"empty_score must lie in \[0, 1\], got nan"),
        ({"min_peak": [0.5, -0.1]}, r"min_peak must lie in \[0, 1\], got -0.1"),
        ({"metric": ["dice", "jaccard"]}, "metric must be one of dice, iou, got 'jaccard'"),
        ({"mode": "binary"}, "mode must be one of multiclass, multilabel, got 'binary'"),
    ],
)
@pytest.mark.usefixtures("wrong_types")
def test_options_that_do_not_go_together_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        independent(**options)


def test_blind_approximation_takes_dice_for_every_class():
    probabilities = torch.softmax(torch.randn(3, 400, generator=torch.Generator().manual_seed(0)), 0)
    decoder = independent(["dice", "dice"], "ba")
    assert torch.equal(decoder(probabilities), independent("dice", "ba")(probabilities))


@pytest.mark.parametrize("mode", ["multiclass", "multilabel"])
@pytest.mark.parametrize("option", ["metric", "min_peak"])
def test_lists_of_another_length_than_regions_are_named(mode, option):
    wrong = {"metric": ["dice"] * 5, "min_peak": [0.5] * 5}[option]
    regions = {"multiclass": 2, "multilabel": 3}[mode]
    with pytest.raises(ValueError, match=rf"{option} must be one for all or one per region \({regions}\), got 5"):
        independent(mode=mode, **{option: wrong})(torch.full((3, 10), 1 / 3))
