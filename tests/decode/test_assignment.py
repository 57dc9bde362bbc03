"""Ascent is never below argmax or greedy, and greedy is the published rule; scores from their definitions."""

import nibabel as nib
import numpy as np
import pytest
import torch
from edt import edt
from hypothesis import given, settings
from hypothesis import strategies as st
from rankseg import RankSEG as PublishedRankSEG
from scipy.ndimage import zoom

from rankseg_med.decode import ascent, decoding
from tests.decode.decoders import independent
from tests.decode.oracles import rma_score_of_mask, score_of_every_mask, score_of_mask
from tests.decode.volumes import KINDS, SETTINGS, TOP, adversarial, large_volume, on_levels, slack_of, softmax, volume

METRICS = ("dice", "iou")
DEFAULTS = {"metric": "dice", "solver": "exact", "empty_score": 0.0, "min_peak": 0.5}


cases = st.tuples(
    st.sampled_from(KINDS), st.sampled_from([2, 3, 3, 4, 8, 20]), st.integers(2, 90), st.integers(0, 9999)
)
options = st.fixed_dictionaries(
    {
        "metric": st.sampled_from(METRICS),
        "solver": st.sampled_from(["exact", "rma"]),
        "empty_score": st.sampled_from([0.0, 0.5, 1.0]),
        "min_peak": st.sampled_from([0.0, 0.5]),
    }
)


def assert_never_below(levels: np.ndarray, options: dict, smooth: float = 0.0) -> None:
    probabilities = volume(levels)
    p = probabilities.numpy()
    empty = options["empty_score"]

    def scores(labels: np.ndarray) -> np.ndarray:
        if options["solver"] == "rma":
            each = [rma_score_of_mask(p[c], labels == c, options["metric"], empty, smooth) for c in range(1, len(p))]
        else:
            each = [score_of_mask(p[c], labels == c, options["metric"], empty) for c in range(1, len(p))]
        return np.array(each)

    slack = slack_of(levels)
    by_argmax = scores(p.argmax(0))
    greedy = independent(assignment="greedy", smooth=smooth, **options).decode(probabilities)
    by_greedy = scores(greedy.label_map.numpy())
    climbed = independent(smooth=smooth, **options).decode(probabilities)
    labels = climbed.label_map.numpy()
    by_ascent = scores(labels)
    for decoded, truth in ((greedy, by_greedy), (climbed, by_ascent)):
        np.testing.assert_allclose([d.expected_score for d in decoded.decisions], truth, atol=slack, rtol=0)
        np.testing.assert_allclose([d.argmax_expected_score for d in decoded.decisions], by_argmax, atol=slack, rtol=0)
    assert by_ascent.mean() >= by_argmax.mean() - slack
    assert by_ascent.mean() >= by_greedy.mean() - slack
    for c, decision in enumerate(climbed.decisions, start=1):
        assert decision.labels == (c,)
        assert decision.metric == options["metric"]
        assert decision.voxels == (labels == c).sum()
        assert decision.expected_volume == pytest.approx(p[c].sum(), rel=1e-9, abs=1e-12)
        assert decision.volume_sd == pytest.approx(np.sqrt((p[c] * (1 - p[c])).sum()), rel=1e-6, abs=1e-6)


@settings(max_examples=25, **SETTINGS)
@given(case=cases, options=options)
def test_ascent_is_never_below_argmax_or_greedy(case, options):
    assert_never_below(adversarial(*case, lowest=1), options)


@settings(max_examples=20, **SETTINGS)
@given(case=cases, options=options, smooth=st.sampled_from([0.5, 20.0]))
def test_ascent_is_never_below_with_smoothing(case, options, smooth):
    assert_never_below(adversarial(*case, lowest=1), options | {"solver": "rma"}, smooth)


@pytest.mark.parametrize("metric", METRICS)
def test_ascent_is_never_below_where_contested_voxels_are_sampled(metric, monkeypatch):
    monkeypatch.setattr(ascent, "_MOST_CONTESTED", 50)
    for kind in ("noise", "near ties"):
        assert_never_below(adversarial(kind, 4, 1500, 5, lowest=1), DEFAULTS | {"metric": metric})


# Two classes contest three voxels; two more are possible for inactive classes only, so the greedy rule must give them
# to an active class although their probability is 0 there.
IMPOSSIBLE = [
    [0.017, 0.257, 0.028, 0.400, 0.400],
    [0.807, 0.409, 0.369, 0.000, 0.000],
    [0.176, 0.334, 0.569, 0.000, 0.000],
    [0.000, 0.000, 0.034, 0.300, 0.300],
    [0.000, 0.000, 0.000, 0.300, 0.300],
]


def test_ascent_is_never_below_where_classes_are_impossible():
    assert_never_below(on_levels(np.array(IMPOSSIBLE)), DEFAULTS)


@settings(max_examples=30, **SETTINGS)
@given(case=cases, options=options)
def test_ascent_is_never_below_with_probabilities_of_zero(case, options):
    assert_never_below(adversarial(*case, lowest=0), options)


def published(probabilities: torch.Tensor, metric: str, smooth: float, min_peak: float, **options) -> torch.Tensor:
    name = {"dice": "dice", "iou": "IoU"}[metric]
    return PublishedRankSEG(metric=name, smooth=smooth, pruning_prob=min_peak, **options).predict(probabilities[None])[
        0
    ]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("smooth", [0.0, pytest.param(2.0, marks=pytest.mark.slow), 500.0])
@pytest.mark.parametrize("min_peak", [0.0, pytest.param(0.3, marks=pytest.mark.slow), 0.5])
def test_greedy_is_the_published_rule(metric, smooth, min_peak):
    """Levels are exact in double precision, so that the reference's order is ours."""
    decoder = independent(metric, "rma", "greedy", min_peak=min_peak, smooth=smooth)
    for kind in KINDS:
        for seed, classes in enumerate((2, 3, 7)):
            probabilities = volume(adversarial(kind, classes, 300, seed, lowest=0))
            ours = decoder(probabilities)
            assert torch.equal(ours.long(), published(probabilities, metric, smooth, min_peak)), (kind, classes)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("smooth", [0.0, 30.0])
@pytest.mark.parametrize(("min_peak", "peak"), [(0.0, 0.02), (0.0, 0.4), (0.3, 0.4), (0.5, 1.0)])
def test_greedy_is_the_published_rule_on_large_volumes(metric, smooth, min_peak, peak):
    probabilities = volume(large_volume((37, 43, 29), 4, 1, peak))
    assert probabilities[0].numel() % 4096
    ours = independent(metric, "rma", "greedy", min_peak=min_peak, smooth=smooth)(probabilities)
    theirs = published(probabilities, metric, smooth, min_peak)
    assert torch.equal(ours.long(), theirs)
    if not smooth:
        assert (theirs != probabilities.argmax(0)).any(), "the volume must be one where the rule matters"


@pytest.mark.parametrize("min_peak", [0.0, pytest.param(0.5, marks=pytest.mark.slow)])
def test_greedy_is_the_published_rule_for_256_classes(min_peak):
    """With so many classes a floor of 1/256 would not leave background beyond doubt."""
    probabilities = volume(adversarial("tiny and huge", 256, 5000, 1, lowest=0))
    ours = independent("dice", "rma", "greedy", min_peak=min_peak)(probabilities)
    assert torch.equal(ours.long(), published(probabilities, "dice", 0.0, min_peak))


@pytest.mark.parametrize("metric", METRICS)
def test_a_background_peak_equal_to_min_peak_is_pruned(metric):
    """0.5 lies between two levels: what is compared with min_peak must not be rounded to one."""
    probabilities = torch.tensor([[0.5, 0.2], [0.5, 0.45], [0.0, 0.35]], dtype=torch.float64)
    assert torch.equal(
        independent(metric, "rma", "greedy", min_peak=0.5)(probabilities).long(),
        published(probabilities, metric, 0.0, 0.5),
    )


@pytest.mark.parametrize("metric", METRICS)
@settings(max_examples=60, **SETTINGS)
@given(
    levels=st.lists(st.integers(0, 9000) | st.sampled_from([0, 1, 60, 300, 20000, TOP]), min_size=1, max_size=8),
    empty_score=st.sampled_from([0.25, 0.5, 1.0]),
)
def test_empty_prediction_exactly_when_it_scores_highest(levels, empty_score, metric):
    foreground = np.array(levels) / TOP
    masks, scores = score_of_every_mask(foreground, metric)
    scores[~masks.any(1)] = empty_score * np.prod(1 - foreground)
    decoded = independent(metric, min_peak=0, empty_score=empty_score).decode(
        volume(np.stack([TOP - np.array(levels), levels]))
    )
    chosen = decoded.label_map.numpy() == 1
    slack = slack_of(np.stack([TOP - np.array(levels), levels]))
    score_of_chosen = scores[(masks == chosen).all(1)].item()
    assert score_of_chosen == pytest.approx(scores.max(), abs=slack)
    assert decoded.decisions[0].expected_score == pytest.approx(score_of_chosen, abs=slack)
    (empty,) = scores[~masks.any(1)]
    if abs(empty - scores[masks.any(1)].max()) > slack:
        assert chosen.any() == (empty < scores[masks.any(1)].max())


def network_like(labels: np.ndarray, spacing_mm: tuple[float, ...], seed: int) -> np.ndarray:
    """Levels as a network would give them: logits are distances (mm) to borders bent by smooth noise."""
    rng = np.random.default_rng(seed)
    logits = np.zeros((labels.max() + 1, *labels.shape))
    for c in range(1, len(logits)):
        distance_mm = edt(labels == c, anisotropy=spacing_mm) - edt(labels != c, anisotropy=spacing_mm)
        coarse = rng.standard_normal([max(2, n // 8) for n in labels.shape])
        noise = zoom(coarse, np.array(labels.shape) / coarse.shape, order=1)
        logits[c] = np.clip(0.8 * (distance_mm + 1.5 * noise / noise.std()), -14, 12)
    return on_levels(softmax(logits))


@pytest.mark.real_data
def test_real_anatomy_is_never_below_argmax_or_greedy(shared_data):
    files = sorted((shared_data / "hippocampus" / "labels").glob("*.nii.gz"))[::100]
    gains = []
    for seed, file in enumerate(files):
        image = nib.load(file)
        labels = np.asarray(image.dataobj).astype(np.uint8)
        probabilities = volume(network_like(labels, image.header.get_zooms()[:3], seed))
        for metric in METRICS:
            climbed = independent(metric).decode(probabilities)
            greedy = independent(metric, assignment="greedy").decode(probabilities)
            of = {
                name: np.mean(
                    [score_of_mask(probabilities[c].numpy().ravel(), (mask == c).ravel(), metric) for c in (1, 2)]
                )
                for name, mask in {
                    "ascent": climbed.label_map.numpy(),
                    "greedy": greedy.label_map.numpy(),
                    "argmax": probabilities.argmax(0).numpy(),
                }.items()
            }
            assert of["ascent"] >= max(of["argmax"], of["greedy"]) - 1e-9
            assert np.mean([d.expected_score for d in climbed.decisions]) == pytest.approx(of["ascent"], abs=1e-6)
            assert np.mean([d.argmax_expected_score for d in climbed.decisions]) == pytest.approx(
                of["argmax"], abs=1e-6
            )
            gains.append(of["ascent"] - of["argmax"])
    assert max(gains) > 1e-4, "the volumes must be ones where the metric matters"


@pytest.mark.parametrize(("classes", "seed"), [(8, 12), (3, 14), (8, 21)])
def test_the_ascent_is_followed_below_its_first_limits(classes, seed, monkeypatch):
    """Near ties: what a class loses to others lowers the probability from which on it gains."""
    probabilities = volume(adversarial("near ties", classes, 300, seed, lowest=0))
    shares = []
    limits = decoding._limits

    def recorded(solved, share):
        shares.append(share)
        return limits(solved, share)

    monkeypatch.setattr(decoding, "_limits", recorded)
    decoded = independent(min_peak=0).decode(probabilities)
    assert len(set(shares)) > 1, "the volume must be one that needs it"
    monkeypatch.setattr(decoding, "_FIRST_SHARE", 0)
    assert torch.equal(decoded.label_map, independent(min_peak=0).decode(probabilities).label_map)
