import json
import math
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given

from rankseg_med.metrics import (
    DEFAULT_EMPTY_POLICY,
    EMPTY_POLICIES,
    METRICS,
    EmptyPolicy,
    EmptyRule,
    Scoring,
    score_masks,
)
from tests.metrics.shapes import SETTINGS, SPACING_MM, box, masks

OVERLAPS = ("dice", "jaccard", "sensitivity", "precision")
DISTANCES = tuple(name for name in METRICS if name.endswith("_mm"))
STRUCTURE = box((4, 5, 3), (1, 3), (2, 4), (0, 2))
NOTHING = np.zeros_like(STRUCTURE)
# From the first voxel of the image to the last: 3, 4 and 2 steps.
DIAGONAL_MM = math.hypot(3 * 0.5, 4 * 2.0, 2 * 3.0)

# Both empty, prediction empty, reference empty; for overlap, distances, surface Dice and volume. As the scripts of the
# challenges have it; what they do not score is that of the default, which leads.
WORST = (math.nan, 0.0, 0.0)
FARTHEST = (math.nan, DIAGONAL_MM, DIAGONAL_MM)
VOLUME = (math.nan, -1.0, math.nan)
EXPECTED = {
    "default": (WORST, FARTHEST, WORST, VOLUME),
    "nnunet": ((math.nan, 0.0, 0.0), FARTHEST, WORST, VOLUME),
    "kits": ((1.0, 0.0, 0.0), FARTHEST, (1.0, 0.0, 0.0), VOLUME),
    "lits": ((1.0, 0.0, 0.0), FARTHEST, WORST, VOLUME),
    "brats": ((1.0, 0.0, 0.0), (0.0, 374.0, 374.0), (1.0, 0.0, 0.0), VOLUME),
}


def score(prediction, reference, policy, **options):
    return score_masks(prediction, reference, SPACING_MM, Scoring(empty_policy=policy, **options))


@pytest.mark.parametrize("name", EMPTY_POLICIES)
@pytest.mark.parametrize("case", [0, 1, 2], ids=["both", "prediction", "reference"])
def test_every_metric_of_every_policy(name, case):
    overlap, distance, surface_dice, volume = (kind[case] for kind in EXPECTED[name])
    expected = dict.fromkeys(OVERLAPS, overlap) | dict.fromkeys(DISTANCES, distance)
    expected |= {"surface_dice": surface_dice, "relative_volume_difference": volume}
    pair = [(NOTHING, NOTHING), (NOTHING, STRUCTURE), (STRUCTURE, NOTHING)][case]
    for surface in ("voxels", "voxels18", "surfels"):
        scores = score(*pair, EMPTY_POLICIES[name], surface=surface)
        assert scores == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("kind", ["overlap", "distance", "surface_dice", "volume"])
def test_every_value_can_be_chosen(kind):
    policy = EmptyPolicy(**{kind: EmptyRule(0.125, 0.25, "skip")})
    names = [name for name, metric in METRICS.items() if metric.kind == kind]
    both, missed, invented = (
        score(*pair, policy) for pair in [(NOTHING, NOTHING), (NOTHING, STRUCTURE), (STRUCTURE, NOTHING)]
    )
    for name in names:
        assert (both[name], missed[name]) == (0.125, 0.25)
        assert math.isnan(invented[name])


def test_masks_that_are_not_empty_are_measured_whatever_the_policy():
    expected = score(STRUCTURE, STRUCTURE, DEFAULT_EMPTY_POLICY)
    assert all(score(STRUCTURE, STRUCTURE, policy) == expected for policy in EMPTY_POLICIES.values())


@pytest.mark.parametrize("surface", ["voxels", "voxels18", "surfels"])
@SETTINGS
@given(pair=masks(2))
def test_by_default_a_missed_or_invented_structure_is_never_better(surface, pair):
    spacing_mm = SPACING_MM[: pair[0].ndim]
    scoring = Scoring(surface=surface)
    found = score_masks(*pair, spacing_mm, scoring)
    nothing = np.zeros_like(pair[0])
    for scores in (
        score_masks(nothing, pair[1], spacing_mm, scoring),
        score_masks(pair[0], nothing, spacing_mm, scoring),
    ):
        for name in (*OVERLAPS, "surface_dice"):
            assert scores[name] <= found[name]
        for name in DISTANCES:
            assert scores[name] >= found[name] - 1e-5


@pytest.mark.parametrize("surface", ["voxels", "voxels18", "surfels"])
def test_the_worst_distance_is_the_longest_that_there_can_be(surface):
    first, last = box(STRUCTURE.shape, (0, 1), (0, 1), (0, 1)), box(STRUCTURE.shape, (3, 4), (4, 5), (2, 3))
    everything = np.ones_like(STRUCTURE)
    farthest = max(
        score(*pair, DEFAULT_EMPTY_POLICY, surface=surface)["hd_mm"] for pair in [(first, last), (everything, last)]
    )
    assert farthest == pytest.approx(DIAGONAL_MM)
    assert score(NOTHING, last, DEFAULT_EMPTY_POLICY, surface=surface)["hd_mm"] == pytest.approx(DIAGONAL_MM)


def test_policies_have_their_names_and_can_be_written():
    for name, policy in EMPTY_POLICIES.items():
        assert policy.name == name
        assert EmptyPolicy.named(name) is policy
        assert json.loads(json.dumps(asdict(policy), allow_nan=False))["name"] == name
    assert EMPTY_POLICIES["default"] == DEFAULT_EMPTY_POLICY == replace(EmptyPolicy(), name="default")


class TestRejections:
    @pytest.mark.parametrize("score", [math.nan, math.inf])
    def test_number(self, score):
        with pytest.raises(ValueError, match=r"finite number, 'skip'"):
            EmptyRule("skip", score, 0.0)

    @pytest.mark.usefixtures("wrong_types")
    def test_word(self):
        with pytest.raises(ValueError, match=r"'worst', got 'best'"):
            EmptyRule("best", 0.0, 0.0)

    def test_worst_volume(self):
        with pytest.raises(ValueError, match="no worst value"):
            EmptyPolicy(volume=EmptyRule("skip", -1.0, "worst"))

    def test_name(self):
        with pytest.raises(ValueError, match=r"default, nnunet, kits, lits, brats, got 'acdc'"):
            EmptyPolicy.named("acdc")
