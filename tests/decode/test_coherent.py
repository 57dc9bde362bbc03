"""The coherent posterior, against its definition: one u for the case, and the truth is where p exceeds it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rankseg_med.decode import Objective, ProbabilityHistogram, RankSEGDecoder, decode_ensemble
from rankseg_med.decode.coherent_score import coherent_score_of_mask
from rankseg_med.decode.expected_score import expected_scores
from tests.decode.decoders import independent
from tests.decode.oracles import score_of_every_mask, score_of_level_sets, score_of_mask, score_on_levels
from tests.decode.volumes import KINDS, TOP, adversarial, volume

METRICS = ("dice", "iou")
FEW = st.lists(st.integers(1, TOP), min_size=1, max_size=7).map(lambda levels: np.array(levels) / TOP)


def two_classes(foreground: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack([1 - foreground, foreground]))


def mixed(probabilities: np.ndarray, metric: str, coherence: float) -> tuple[np.ndarray, np.ndarray]:
    """All masks but the empty one, and what each scores."""
    masks, independently = score_of_every_mask(probabilities, metric)
    scores = (1 - coherence) * independently + coherence * score_of_level_sets(probabilities, masks, metric)
    return masks[masks.any(1)], scores[masks.any(1)]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("coherence", [1.0, 0.5, 0.1])
@settings(max_examples=30, deadline=None)
@given(probabilities=FEW)
def test_no_mask_is_better_than_the_level_set(probabilities, coherence, metric):
    masks, scores = mixed(probabilities, metric, coherence)
    decoder = RankSEGDecoder(metric, coherence=coherence, presence="always")
    decoded = decoder.decode(two_classes(probabilities))
    (decision,) = decoded.decisions
    kept = decoded.label_map.numpy() == 1
    assert decision.expected_score == pytest.approx(scores.max(), abs=1e-9)
    assert scores[(masks == kept).all(1)].item() == pytest.approx(scores.max(), abs=1e-9)
    assert probabilities[kept].min() > probabilities[~kept].max(initial=0), "a level set"


@pytest.mark.parametrize("metric", METRICS)
@settings(max_examples=60, deadline=None)
@given(probabilities=FEW, data=st.data())
def test_any_mask_agrees_with_the_definition(probabilities, metric, data):
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=len(probabilities), max_size=len(probabilities))))
    distribution = ProbabilityHistogram.of(torch.from_numpy(probabilities)[None]).distribution(0)
    counts = torch.from_numpy(np.bincount(np.rint(probabilities[kept] * TOP).astype(int), minlength=TOP + 1))
    truth = score_of_level_sets(probabilities, kept[None], metric)[0] if kept.any() else 0
    assert coherent_score_of_mask(distribution, counts, metric) == pytest.approx(truth, abs=1e-12)


def drawn(kind: str, voxels: int) -> np.ndarray:
    rng = np.random.default_rng(voxels)
    p = {
        "uniform": lambda: rng.random(voxels),
        "network": lambda: 1 / (1 + np.exp(-rng.normal(0, 4, voxels))),
        "few values": lambda: rng.choice(rng.random(6), voxels),
        "confident": lambda: rng.beta(0.1, 0.3, voxels),
        # Where volumes jump, the score has a local maximum between two thresholds that are both poor.
        "jumps": lambda: np.repeat(rng.random(9), np.geomspace(1, voxels, 9).astype(int))[:voxels],
    }[kind]()
    return np.rint(p * TOP) / TOP


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("coherence", [1.0, 0.4])
@pytest.mark.parametrize("voxels", [40, 700, pytest.param(20_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["uniform", "network", "few values", "confident", "jumps"])
def test_the_search_finds_the_best_of_all_thresholds(kind, voxels, coherence, metric):
    p = drawn(kind, voxels)
    objective = Objective(metric, coherence=coherence)
    distribution = ProbabilityHistogram.of(torch.from_numpy(p)[None]).distribution(0)
    found = objective.scores_of_thresholds(distribution).numpy()
    edges, counts = np.unique(p[p > 0], return_counts=True)
    volumes = counts[::-1].cumsum()
    weights = np.diff(np.r_[0, edges])[::-1]
    every = np.array([weights @ score(kept, volumes, metric) for kept in volumes])
    if coherence < 1:
        independently = expected_scores(distribution, metric, "exact", torch.arange(len(volumes))).numpy()
        every = coherence * every + (1 - coherence) * independently
    assert found.max() == pytest.approx(every.max(), abs=1e-12)
    np.testing.assert_allclose(found[np.isfinite(found)], every[np.isfinite(found)], rtol=0, atol=1e-12)


def score(kept: float, volumes: np.ndarray, metric: str) -> np.ndarray:
    smaller, larger = np.minimum(kept, volumes), np.maximum(kept, volumes)
    return 2 * smaller / (smaller + larger) if metric == "dice" else smaller / larger


def test_a_sphere_that_may_be_large_or_small_by_hand():
    """10 voxels for sure, 90 more with 40 %: 100 voxels score 0.4 + 0.6 * 20 / 110, 10 score 0.6 + 0.4 * 20 / 110."""
    p = np.repeat([1.0, np.rint(0.4 * TOP) / TOP, 0.0], [10, 90, 50])
    (decision,) = RankSEGDecoder().decode(two_classes(p)).decisions
    assert decision.voxels == 10
    assert decision.coherent_score == decision.expected_score == pytest.approx(0.6 + 0.4 * 20 / 110, abs=1e-5)
    assert decision.volume_interval == (10, 100)
    assert decision.presence_probability == 1
    (apart,) = independent().decode(two_classes(p)).decisions
    assert apart.voxels == 100
    # Independent voxels make the volume 46 all but surely.
    assert apart.expected_score == pytest.approx(2 * 46 / 146, abs=0.01)
    assert apart.coherent_score == pytest.approx(0.4 + 0.6 * 20 / 110, abs=1e-5)


def test_volume_interval_is_that_of_draws():
    p = drawn("network", 5000)
    (decision,) = RankSEGDecoder().decode(two_classes(p)).decisions
    volumes = [(p > u).sum() for u in np.random.default_rng(0).random(4000)]
    np.testing.assert_allclose(decision.volume_interval, np.quantile(volumes, [0.05, 0.95]), rtol=0.03)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("peak", "painted"), [(0.45, False), (0.55, True)])
def test_what_may_be_absent_is_left_empty_where_that_is_likelier(peak, painted, metric):
    p = np.r_[np.full(20, peak), np.zeros(200)]
    decoded = RankSEGDecoder(metric, presence="maybe").decode(two_classes(p))
    (decision,) = decoded.decisions
    assert bool(decoded.label_map.any()) == painted
    assert decision.expected_score == pytest.approx(max(peak, 1 - peak), abs=1e-5)
    assert decision.presence_probability == peak
    always = RankSEGDecoder(metric, presence="always").decode(two_classes(p))
    assert always.label_map.sum() == 20


def test_presence_is_said_for_each_region():
    p = np.stack([np.full(300, 0.2), np.full(300, 0.45), np.full(300, 0.35)])
    p[:, 100:] = [[1], [0], [0]]
    decoder = RankSEGDecoder(presence=["maybe", "always"], regions=[[1], [2]])
    assert [decision.voxels for decision in decoder.decode(torch.from_numpy(p)).decisions] == [0, 100]


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    classes=st.sampled_from([2, 3, 4, 8]),
    voxels=st.integers(2, 40),
    seed=st.integers(0, 9999),
    metric=st.sampled_from(METRICS),
    coherence=st.sampled_from([0.3, 1.0]),
    presence=st.sampled_from(["always", "maybe"]),
)
def test_never_below_argmax_or_greedy(kind, classes, voxels, seed, metric, coherence, presence):
    probabilities = volume(adversarial(kind, classes, voxels, seed, lowest=0))
    p = probabilities.numpy()

    def scores(labels: np.ndarray) -> np.ndarray:
        return np.array([of_region(p[c], labels == c, metric, coherence, presence) for c in range(1, classes)])

    decoded = RankSEGDecoder(metric, coherence=coherence, presence=presence).decode(probabilities)
    ours = scores(decoded.label_map.numpy())
    np.testing.assert_allclose([d.expected_score for d in decoded.decisions], ours, rtol=0, atol=1e-9)
    by_argmax = scores(p.argmax(0))
    np.testing.assert_allclose([d.argmax_expected_score for d in decoded.decisions], by_argmax, rtol=0, atol=1e-9)
    greedy = independent(metric, assignment="greedy", min_peak=0 if presence == "always" else 0.5)
    assert ours.mean() >= by_argmax.mean() - 1e-9
    assert ours.mean() >= scores(greedy(probabilities).numpy()).mean() - 1e-9


def of_region(p: np.ndarray, kept: np.ndarray, metric: str, coherence: float, presence: str) -> float:
    if not kept.any():
        empty = presence == "maybe"
        return empty * ((1 - coherence) * np.prod(1 - p) + coherence * (1 - p.max()))
    independently = score_of_mask(p, kept, metric)
    return (1 - coherence) * independently + coherence * score_of_level_sets(p, kept[None], metric)[0]


def nested_volume() -> torch.Tensor:
    """Organ, tumour and vein that compete, large enough for voxels to be set aside."""
    grid = torch.stack(torch.meshgrid(*(torch.linspace(-1, 1, 40) for _ in range(3)), indexing="ij"))
    radius = grid.square().sum(0).sqrt()
    noise = torch.nn.functional.interpolate(
        torch.randn(1, 3, 8, 8, 8, generator=torch.Generator().manual_seed(0)), (40, 40, 40), mode="trilinear"
    )[0]
    logits = torch.stack([torch.full_like(radius, 3), 12 * (0.7 - radius), 10 * (0.4 - radius), 9 * (0.45 - radius)])
    logits[1:] += 2 * noise
    return torch.softmax(logits.double(), 0)


MODES = [
    {},
    {"metric": "iou"},
    {"coherence": 0.5},
    {"coherence": [1.0, 0.0, 0.5]},
    {"regions": [[1, 2], [2]], "metric": ["dice", "iou"]},
    {"mode": "multilabel"},
]


@pytest.mark.parametrize("options", MODES, ids=str)
def test_every_mode_reports_what_it_scores(options):
    probabilities = nested_volume()
    decoder = RankSEGDecoder(presence="always", **options)
    decoded = decoder.decode(probabilities)
    regions = options.get("regions", [[c] for c in range(0 if "mode" in options else 1, 4)])
    for index, (decision, region) in enumerate(zip(decoded.decisions, regions, strict=True)):
        p = probabilities[region].sum(0).flatten().numpy()
        kept = np.isin(decoded.label_map, region) if "mode" not in options else decoded.label_map[region[0]].numpy()
        objective = decoder.objectives(len(regions))[index]
        by_definition = score_on_levels(np.rint(p * TOP).astype(int), kept.flatten() == 1, objective.metric)
        # Faint background is known tile by tile.
        assert decision.coherent_score == pytest.approx(by_definition, abs=2e-4)
        mixture = objective.coherence * decision.coherent_score
        mixture += (1 - objective.coherence) * decision.independent_score
        assert decision.expected_score == pytest.approx(mixture, abs=1e-12)
    ours, argmax = (
        [getattr(d, name) for d in decoded.decisions] for name in ("expected_score", "argmax_expected_score")
    )
    assert sum(ours) > sum(argmax)


@pytest.mark.parametrize("options", MODES, ids=str)
def test_slab_by_slab_is_the_whole(options):
    probabilities = nested_volume().float()
    levels = (probabilities * TOP).round()
    levels[0] = TOP - levels[1:].sum(0)
    probabilities = levels / TOP
    decoder = RankSEGDecoder(**options)
    with decoder.open(4, (40, 40, 40)) as session:
        session.update(slice(25, 40), probabilities[:, 25:])
        session.update(slice(0, 25), probabilities[:, :25])
        decoded = session.finalize()
    whole = decoder.decode(probabilities)
    assert torch.equal(decoded.label_map, whole.label_map)
    for one, other in zip(decoded.decisions, whole.decisions, strict=True):
        assert one.expected_score == pytest.approx(other.expected_score, abs=1e-6)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("coherence", [1.0, 0.5])
@pytest.mark.parametrize("seed", range(4))
def test_no_mask_is_better_for_an_ensemble(seed, coherence, metric):
    rng = np.random.default_rng(seed)
    members = np.rint(rng.random((3, 8)) ** np.array([[0.3], [1], [4]]) * TOP) / TOP
    masks, scores = mixed(members[0], metric, coherence)
    scores = np.mean([scores, *(mixed(p, metric, coherence)[1] for p in members[1:])], axis=0)
    volumes = torch.stack([two_classes(p) for p in members])
    decoded = decode_ensemble(volumes, RankSEGDecoder(metric, coherence=coherence, presence="always"))
    (decision,) = decoded.decisions
    kept = decoded.label_map.numpy() == 1
    assert decision.expected_score == pytest.approx(scores[(masks == kept).all(1)].item(), abs=1e-9)
    assert decision.expected_score == pytest.approx(scores.max(), abs=1e-9)
    assert decision.presence_probability == pytest.approx(members.max(1).mean())
    draws = [(p > u).sum() for p in members for u in np.linspace(0, 1, 2001)]
    np.testing.assert_allclose(decision.volume_interval, np.quantile(draws, [0.05, 0.95]), atol=1)


def test_large_ensembles_are_never_below_the_mean_or_a_member():
    generator = torch.Generator().manual_seed(1)
    volumes = torch.softmax(torch.log(nested_volume()) + torch.randn(3, 4, 1, 1, 1, generator=generator), 1)
    decoder = RankSEGDecoder(presence="always")
    decoded = decode_ensemble(volumes, decoder)

    def mean_score(label_map: torch.Tensor) -> float:
        labels, levels = label_map.flatten().numpy(), np.rint(volumes.flatten(2).numpy() * TOP).astype(int)
        return np.mean([score_on_levels(member[c], labels == c, "dice") for member in levels for c in (1, 2, 3)])

    ours = mean_score(decoded.label_map)
    assert np.mean([d.expected_score for d in decoded.decisions]) == pytest.approx(ours, abs=2e-4)
    for other in (decoder(volumes.mean(0)), *map(decoder, volumes)):
        assert ours >= mean_score(other) - 2e-4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"coherence": 1.2}, r"coherence must lie in \[0, 1\], got 1.2"),
        ({"presence": "sometimes"}, "presence must be one of always, maybe, got 'sometimes'"),
        ({"assignment": "greedy"}, "give coherence=0"),
        ({"solver": "rma", "smooth": 1.0, "coherence": 0.5}, "give coherence=0"),
        ({"solver": "rma"}, "give a coherence below 1"),
        ({"presence": "always", "min_peak": 0.3}, "use presence='maybe', or leave them out"),
        ({"presence": "always", "empty_score": 1.0}, "use presence='maybe', or leave them out"),
    ],
)
@pytest.mark.usefixtures("wrong_types")
def test_what_does_not_go_together_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        RankSEGDecoder(**options)
