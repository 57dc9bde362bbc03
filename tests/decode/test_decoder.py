import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rankseg import RankSEG as PublishedRankSEG

from rankseg_med.decode import (
    ArgmaxDecoder,
    Objective,
    ProbabilityHistogram,
    RankSEGDecoder,
    best_threshold,
    make_decoder,
)
from tests.decode.decoders import independent
from tests.decode.oracles import score_of_every_mask

METRICS = ("dice", "iou")


def softmax_volume(*shape: int, seed: int = 0, sharpness: float = 3.0) -> torch.Tensor:
    return torch.softmax(sharpness * torch.randn(shape, generator=torch.Generator().manual_seed(seed)), 0)


def blob_volume(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """Nested organ and tumour with blurred borders, as a network would see them."""
    rng = np.random.default_rng(seed)
    axes = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    centre = [rng.uniform(0.35, 0.65) * n for n in shape]
    distance = np.sqrt(sum((a - c) ** 2 for a, c in zip(axes, centre, strict=True)))
    noise = rng.normal(scale=1.2, size=(2, *shape))
    organ = 0.6 * (0.33 * min(shape) - distance) + noise[0]
    tumour = 0.9 * (0.15 * min(shape) - distance) + noise[1]
    return torch.softmax(torch.from_numpy(np.stack([np.zeros(shape), organ, organ + tumour])), 0)


def published(probabilities: torch.Tensor, metric: str, **options) -> torch.Tensor:
    name = {"dice": "dice", "iou": "IoU"}[metric]
    return PublishedRankSEG(metric=name, **options).predict(probabilities[None])[0]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("classes", [2, 3, 6])
@pytest.mark.parametrize("seed", range(3))
def test_rma_equals_the_reference_package(metric, classes, seed):
    """Probabilities on the levels themselves, so that the reference's order is ours and only true ties may differ."""
    levels = (softmax_volume(classes, 12, 11, 10, seed=seed) * 65535).floor().double()
    levels[0] += 65535 - levels.sum(0)
    probabilities = levels / 65535
    ours = independent(metric, "rma", "greedy")(probabilities)
    assert torch.equal(ours.long(), published(probabilities, metric))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("seed", range(3))
def test_rma_equals_the_reference_package_on_blobs_up_to_ties(metric, seed):
    probabilities = blob_volume((40, 36, 30), seed)
    decoder = independent(metric, "rma", "greedy")
    ours, theirs = decoder(probabilities).long(), published(probabilities, metric)
    histogram = ProbabilityHistogram.of(probabilities)
    thresholds = [
        best_threshold(histogram.distribution(index), 1.0, Objective(metric, "rma")).level / 65535
        for index in range(len(probabilities))
    ]
    different = ours != theirs
    # Voxels within a level of a class's threshold are ties to a histogram; so are float32-equal gains.
    near_threshold = sum((p - t).abs() <= 1 / 65535 for p, t in zip(probabilities, thresholds, strict=True)).bool()
    assert (different & ~near_threshold).sum() == 0
    assert different.sum() <= 5
    assert (ours != probabilities.argmax(0)).sum() > 50, "the volume must be one where the metric matters"


@pytest.mark.parametrize("metric", METRICS)
def test_pruned_classes_equal_the_reference_package(metric):
    probabilities = torch.tensor([[0.40, 0.45, 0.34], [0.35, 0.20, 0.33], [0.25, 0.35, 0.33]])
    assert torch.equal(independent(metric, "rma", "greedy")(probabilities).long(), published(probabilities, metric))
    one_active = torch.tensor([[0.90, 0.45, 0.60], [0.05, 0.20, 0.15], [0.05, 0.35, 0.25]])
    assert torch.equal(independent(metric, "rma", "greedy")(one_active).long(), torch.zeros(3, dtype=torch.long))
    assert torch.equal(published(one_active, metric), torch.zeros(3, dtype=torch.long))


@pytest.mark.parametrize("metric", METRICS)
@settings(max_examples=40, deadline=None)
@given(levels=st.lists(st.integers(1, 65535), min_size=2, max_size=9, unique=True))
def test_exact_threshold_is_the_best_mask_of_all(metric, levels):
    foreground = np.array(levels) / 65535
    probabilities = torch.from_numpy(np.stack([1 - foreground, foreground]))
    decoded = independent(metric, min_peak=0).decode(probabilities)
    (decision,) = decoded.decisions
    masks, scores = score_of_every_mask(foreground, metric)
    assert decision.expected_score == pytest.approx(scores.max(), abs=1e-9)
    chosen = decoded.label_map.numpy() == 1
    assert scores[(masks == chosen).all(1)].item() == pytest.approx(scores.max(), abs=1e-9)
    by_argmax = foreground > 0.5
    assert decision.argmax_expected_score == pytest.approx(scores[(masks == by_argmax).all(1)].item(), abs=1e-9)
    assert decision.voxels == chosen.sum()
    assert decision.expected_volume == pytest.approx(foreground.sum())
    assert decision.volume_sd == pytest.approx(np.sqrt((foreground * (1 - foreground)).sum()))


def test_two_classes_differ_from_argmax_where_dice_gains():
    """An uncertain rim around a small certain core: expected Dice keeps voxels below one half."""
    foreground = torch.cat([torch.full((20,), 0.98), torch.full((10,), 0.45), torch.full((970,), 0.001)])
    probabilities = torch.stack([1 - foreground, foreground])
    labels = independent("dice")(probabilities)
    assert labels[:20].all()
    assert not labels[30:].any()
    assert not probabilities.argmax(0)[20:].any()
    assert independent("dice").decode(probabilities).decisions[0].voxels == 30


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("decoder", [independent("dice"), independent("iou", "rma"), ArgmaxDecoder()])
def test_every_floating_dtype_decodes_alike(dtype, decoder):
    probabilities = blob_volume((20, 20, 20), 1).to(dtype)
    labels = decoder(probabilities)
    assert labels.dtype == torch.uint8
    assert labels.shape == (20, 20, 20)
    assert torch.equal(labels, decoder(probabilities.double()))


@pytest.mark.parametrize("spatial", [(7,), (5, 6), (4, 3, 5), (2, 3, 4, 2)])
def test_any_number_of_spatial_axes(spatial):
    assert independent()(softmax_volume(3, *spatial)).shape == spatial


def test_order_of_voxels_and_memory_layout_do_not_matter():
    probabilities = blob_volume((12, 14, 16), 2)
    labels = independent()(probabilities)
    for order in itertools.permutations(range(3)):
        permuted = probabilities.permute(0, *(axis + 1 for axis in order))
        assert torch.equal(independent()(permuted), labels.permute(order))


def test_input_is_left_as_it_was():
    probabilities = softmax_volume(3, 8, 8, 8)
    before = probabilities.clone()
    independent()(probabilities)
    assert torch.equal(probabilities, before)


@pytest.mark.parametrize("min_peak", [0.3, 0.6])
def test_min_peak_keeps_faint_classes_empty(min_peak):
    probabilities = torch.tensor([[0.9, 0.5, 0.5], [0.1, 0.5, 0.5]])
    assert (independent(min_peak=min_peak)(probabilities).sum() > 0) == (min_peak < 0.5)


def test_peak_equal_to_min_peak_is_pruned():
    distribution = ProbabilityHistogram.of(torch.tensor([[0.5, 0.25]], dtype=torch.float64)).distribution(0)
    assert not best_threshold(distribution, 0.5, Objective(min_peak=0.5)).active
    assert best_threshold(distribution, 0.5, Objective(min_peak=0.49)).active


def test_argmax_is_torch_argmax():
    probabilities = softmax_volume(5, 13, 12, 11)
    assert torch.equal(ArgmaxDecoder()(probabilities).long(), probabilities.argmax(0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "hausdorff"}, "metric must be one of dice, iou, got 'hausdorff'"),
        ({"solver": "newton"}, "solver must be one of exact, rma, ba"),
        ({"assignment": "random"}, "assignment must be one of ascent, greedy"),
        ({"min_peak": 1.5}, r"min_peak must lie in \[0, 1\], got 1.5"),
    ],
)
@pytest.mark.usefixtures("wrong_types")
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        independent(**options)


def test_decoders_by_name():
    assert repr(make_decoder("iou", presence="always")) == repr(RankSEGDecoder("iou", presence="always"))
    assert isinstance(make_decoder("argmax"), ArgmaxDecoder)


@pytest.mark.usefixtures("wrong_types")
def test_a_decoder_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="decoder must be one of dice, iou, argmax"):
        make_decoder("otsu")


def test_a_very_sure_volume_has_a_standard_deviation():
    """Rounded to levels, its variance would be below 0: what is set aside is not one kind of voxels."""
    foreground = torch.full((1000,), 1 - 1e-6)
    foreground[700:] = 1e-6
    (decision,) = independent().decode(torch.stack([1 - foreground, foreground])).decisions
    assert isinstance(decision.volume_sd, float)
    assert 0 <= decision.volume_sd < 0.1


def test_the_background_has_no_least_peak_of_its_own():
    """With that of the first class, all background would have gone to the second, the only active one."""
    probabilities = torch.tensor([0.97, 0.02, 0.01])[:, None].repeat(1, 1000)
    probabilities[:, :50] = torch.tensor([0.05, 0.05, 0.9])[:, None]
    decoded = independent(assignment="greedy", min_peak=[1.0, 0.2]).decode(probabilities)
    assert decoded.label_map.bincount().tolist() == [950, 0, 50]


def test_unions_of_rounded_classes_are_at_most_certain():
    probabilities = torch.tensor([0.0, 0.3, 0.7], dtype=torch.float16)[:, None].repeat(1, 100)
    assert probabilities.double().sum(0).max() > 1
    (decision,) = independent("iou", regions=[[1, 2]]).decode(probabilities).decisions
    assert decision.presence_probability <= 1
    assert decision.expected_score <= 1


def test_logits_of_channels_are_told_another_way_to_probabilities():
    with pytest.raises(ValueError, match=r"apply torch\.sigmoid\(logits\) first"):
        independent(mode="multilabel").decode(torch.tensor([[-3.0, 4.0]]))
