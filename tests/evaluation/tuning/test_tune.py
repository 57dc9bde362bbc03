"""Populations whose best setting is known; what is kept in memory; what must not be decided."""

import gc
import weakref
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch

from rankseg_med.calibration import BinnedVoxels, IsotonicCalibration, ReliabilityCounts
from rankseg_med.decode import RankSEGDecoder, RegionChannels
from rankseg_med.evaluation.tuning.settings import ARGMAX, Setting
from rankseg_med.evaluation.tuning.task import Task
from rankseg_med.evaluation.tuning.tune import tune
from rankseg_med.metrics import dice, jaccard
from rankseg_med.studies import NnunetLabels, StudyError
from tests.evaluation.tuning.labelled_cases import ONE, MadeCase, calibrated_core, coherent, made, overconfident


@pytest.fixture(scope="module")
def tuned_overconfident():
    return tune(made(overconfident, 12), ONE)


def mean_of(tuning, **wanted):
    (found,) = [tried for tried in tuning.tried if tried.setting == Setting(**wanted)]
    return found.mean


def test_overconfident_probabilities_are_calibrated(tuned_overconfident):
    tuning = tuned_overconfident
    assert tuning.chosen.calibration in ("isotonic by cases", "isotonic by voxels")
    maps = tuning.calibration.probabilities(made(overconfident, 1)[0].probabilities())[1].unique()
    assert maps[maps > 0.01].tolist() == pytest.approx([0.1, 0.6], abs=0.03)
    # The core alone: 2 * 0.6 / 1.6 of expected Dice with the rim's share of the truth, as every case comes out.
    assert tuning.choice.mean[tuning.choice.chosen] == pytest.approx(2 * 0.6 * 200 / (200 + 0.6 * 200 + 50), abs=0.03)
    assert tuning.tried[tuning.choice.chosen].worse == 0
    before, after = (tuning.reliability("voxels")[name] for name in ("none", tuning.chosen.calibration))
    assert float(before.volume_ratio) == pytest.approx((0.99 * 200 + 0.6 * 500) / (0.6 * 200 + 0.1 * 500), rel=0.03)
    assert float(after.volume_ratio) == pytest.approx(1, abs=0.03)
    assert float(after.ece) < 0.01 < 0.1 < float(before.ece)
    assert float(after.brier) < float(before.brier)
    assert float(after.nll) < float(before.nll)


def test_the_record_is_that_of_the_arrays(tuned_overconfident):
    """One setting done by hand, with the calibration of the case's own fold."""
    tuning = tuned_overconfident
    cases = made(overconfident, 12)
    fold = next(f for f, some in enumerate(tuning.folds) if cases[3].patient in some)
    others = [case for case in cases if case.patient not in tuning.folds[fold]]
    assert 0 < len(others) < 12
    calibration = IsotonicCalibration(2)
    calibration.fit(
        ReliabilityCounts.joined(
            [
                ReliabilityCounts.of_case(BinnedVoxels.of_classes(case.probabilities(), case.reference()))
                for case in others
            ]
        )
    )
    probabilities = calibration.probabilities(cases[3].probabilities())
    decoder = RankSEGDecoder("iou", coherence=0.5, presence="always")
    decoded = decoder.decode(probabilities)
    mask, truth = decoded.label_map.numpy() == 1, cases[3].truth
    setting = Setting("iou", "isotonic by cases", 0.5)
    at = tuning.settings.index(setting)
    np.testing.assert_allclose(tuning.scores.by_setting[:, at, 0, 3], [dice(mask, truth), jaccard(mask, truth)])
    row = tuning.scores.expected[tuning.scores.decodings.index(setting), :, 0, 3]
    decision = decoded.decisions[0]
    soft = 2 * float(probabilities[1][decoded.label_map == 1].sum()) / (float(probabilities[1].sum()) + mask.sum())
    np.testing.assert_allclose(
        row, [decision.independent_score, decision.coherent_score, decision.expected_score, soft], rtol=1e-5
    )
    argmax = cases[3].foreground > 0.5
    np.testing.assert_allclose(tuning.scores.by_setting[0, 0, 0, 3], dice(argmax, truth))
    np.testing.assert_allclose(
        tuning.scores.expected[0, :2, 0, 3],
        [
            RankSEGDecoder(coherence=c, presence="always")
            .decode(cases[3].probabilities())
            .decisions[0]
            .argmax_expected_score
            for c in (0, 1)
        ],
    )


@pytest.mark.slow
def test_a_coherent_population_is_decoded_coherently():
    tuning = tune(made(coherent, 16), ONE)
    assert tuning.chosen.coherence == 1
    assert tuning.chosen.calibration in ("none", "isotonic by voxels")
    best = mean_of(tuning, decoder="dice", coherence=1.0)
    assert best > mean_of(tuning, decoder="dice", coherence=0.0)
    # Maps for which small cases weigh more do what the coherent posterior does itself.
    assert mean_of(tuning, decoder="dice", calibration="isotonic by cases", coherence=1.0) < best - 0.1


def test_argmax_is_left_where_nothing_is_better():
    tuning = tune(made(calibrated_core, 8), ONE)
    assert tuning.chosen == ARGMAX
    assert tuning.presence == (True,)
    assert {s.min_peak for s in tuning.settings} == {None}
    assert (tuning.calibration, tuning.cleanup) == (None, None)
    assert tuning.decoder == {"_target_": "rankseg_med.decode.make_decoder", "name": "argmax"}
    assert tuning.held_out_gain == (0, 0, 0)
    assert set(tuning.quality()["lesion"]) == {"independent", "coherent", "soft Dice", "constant"}


@pytest.mark.slow
def test_an_island_is_cleaned_away():
    def with_island(rng, even):
        probabilities, truth = calibrated_core(rng, even)
        probabilities[-1, :4, :4] = 0.97
        return probabilities, truth

    tuning = tune(made(with_island, 8), ONE)
    assert tuning.chosen.cleanup == "largest foreground"
    assert tuning.cleanup == {"_target_": "rankseg_med.transforms.KeepLargestComponent", "labels": [[1]]}


def some_absent(rng, even):
    """Every third case has nothing, and the network says 0.4 there; where there is something, 0.95."""
    absent = even < 1 / 3
    probabilities = np.zeros((20, 10, 10))
    probabilities[2:8, 2:8, 2:8] = 0.4 if absent else 0.95
    return probabilities, (probabilities > 0) & ~absent


@pytest.mark.slow
def test_presence_is_learnt_and_peaks_are_tried():
    cases = made(some_absent, 6)
    tuning = tune(cases, ONE)
    assert tuning.presence == (False,)
    assert {s.min_peak for s in tuning.settings} == {None, 0.0, 0.5, 0.9}
    assert mean_of(tuning, decoder="dice", coherence=0.0, min_peak=0.0) == pytest.approx(2 / 3)
    assert mean_of(tuning, decoder="dice", coherence=0.0, min_peak=0.5) == 1
    as_if = replace(
        tuning, choice=replace(tuning.choice, chosen=tuning.settings.index(Setting("iou", "none", 0.5, 0.9)))
    )
    options = {"coherence": 0.5, "presence": "maybe", "min_peak": 0.9, "empty_score": 1.0}
    assert as_if.decoder == {"_target_": "rankseg_med.decode.make_decoder", "name": "iou", **options}
    # What a structure scores that is neither there nor found is for the benchmark to say.
    at_0 = tune(cases, replace(ONE, empty_score=0.0))
    assert at_0.tried[0].mean == pytest.approx(tuning.tried[0].mean - 1 / 3)


def test_a_better_fixed_threshold_is_said(tuned_overconfident):
    fixed = tuned_overconfident.thresholds
    # From 0.6 on the rim is left out, which is what was chosen does.
    assert tuned_overconfident.best_threshold == 0.6
    assert fixed[0.5] == pytest.approx(tuned_overconfident.tried[0].mean)
    assert not [note for note in tuned_overconfident.all_notes if "fixed threshold" in note]
    assert not [note for note in tuned_overconfident.all_notes if "noise alone" in note]
    worse = replace(tuned_overconfident, choice=replace(tuned_overconfident.choice, chosen=0))
    assert "the fixed threshold 0.6 has a higher mean" in worse.all_notes[-1]


@pytest.mark.slow
def test_folds_share_no_patient_and_results_do_not_depend_on_workers():
    cases = made(overconfident, 10, per_patient=2)
    alone, spread = tune(cases, ONE, folds=3), tune(cases, ONE, folds=3, workers=2)
    assert [len(some) for some in alone.folds] == [2, 2, 1]
    np.testing.assert_array_equal(alone.scores.by_setting, spread.scores.by_setting)
    np.testing.assert_array_equal(alone.scores.expected, spread.scores.expected)
    assert alone.tried == spread.tried
    assert torch.equal(alone.counts["none"].every.voxels, spread.counts["none"].every.voxels)


class CountedCase(MadeCase):
    """One that knows how many volumes are alive whenever it is read."""

    alive: ClassVar = weakref.WeakSet()
    most: ClassVar = 0
    read: ClassVar = 0

    def probabilities(self):
        gc.collect()
        found = super().probabilities()
        CountedCase.alive.add(found)
        CountedCase.most = max(CountedCase.most, len(CountedCase.alive))
        CountedCase.read += 1
        return found


@pytest.mark.slow
def test_no_case_is_kept_and_each_is_read_twice():
    cases = [CountedCase(**vars(case)) for case in made(overconfident, 6)]
    tune(cases, ONE)
    assert (CountedCase.most, CountedCase.read) == (1, 12)
    gc.collect()
    assert not len(CountedCase.alive)


def two_classes(rng, even):
    organ = np.zeros((20, 10, 10))
    organ[2:12, 2:8, 2:8] = 0.9
    tumour = np.zeros_like(organ)
    tumour[4:7, 3:6, 3:6] = 0.8
    organ = np.where(tumour > 0, 0.15, organ)
    draw = rng.random(organ.shape)
    return np.stack([organ, tumour]), np.where(draw < tumour, 2, np.where(draw < tumour + organ, 1, 0))


class TwoClasses(MadeCase):
    def probabilities(self):
        foreground = torch.from_numpy(self.foreground.astype(np.float32))
        return torch.cat([1 - foreground.sum(0, keepdim=True), foreground])


class TwoChannels(MadeCase):
    def probabilities(self):
        organ, tumour = torch.from_numpy(self.foreground.astype(np.float32))
        return torch.stack([organ + tumour, tumour])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "structures", "regions"),
    [
        (TwoClasses, NnunetLabels({"organ": (1,), "tumour": (2,)}, 3, None), None),
        (TwoClasses, NnunetLabels({"both": (1, 2), "tumour": (2,)}, 3, None), [[1, 2], [2]]),
        (TwoChannels, NnunetLabels({"both": (1, 2), "tumour": (2,)}, 2, RegionChannels.of([(1, 2), (2,)])), None),
    ],
)
def test_classes_nested_regions_and_channels(kind, structures, regions):
    cases = [kind(**vars(case)) for case in made(two_classes, 6)]
    tuning = tune(cases, Task(structures), folds=3)
    assert not np.isnan(tuning.scores.by_setting).any()
    assert not np.isnan(tuning.scores.by_threshold).any()
    assert len({s.cleanup for s in tuning.settings}) == 3
    assert tuning.tried[0].mean > 0.8
    has_temperature = kind is TwoClasses
    assert any("temperature calibration was left out" in note for note in tuning.notes) != has_temperature
    as_if = replace(tuning, choice=replace(tuning.choice, chosen=tuning.settings.index(Setting("dice", coherence=1.0))))
    assert as_if.decoder.get("regions") == regions
    assert as_if.decoder["presence"] == "always"
    assert as_if.calibration is None
    assert set(as_if.quality()) == set(structures.names)
    isotonic = tuning.calibrations["isotonic by cases"]
    isotonic.probabilities(cases[0].probabilities())
    # At one half a fixed threshold of a channel is argmax's counterpart.
    if structures.regions is not None:
        at_half = tuning.scores.by_threshold[:, list(tuning.thresholds).index(0.5)]
        np.testing.assert_array_equal(at_half, tuning.scores.by_setting[:, 0])


def test_few_patients():
    notes = tune(made(overconfident, 5), ONE).notes
    assert "5 patients are few, at least 20 are better: each weighs 20 % of every mean" in notes[0]
    assert "only 5 of 5 cases have lesion, at least 10 are better" in notes[1]


def test_too_few_patients():
    with pytest.raises(ValueError, match=r"needs at least 5 patients.*got 4 in 8 cases"):
        tune(made(overconfident, 8, per_patient=2), ONE)


def test_a_structure_that_no_case_has():
    task = Task(NnunetLabels({"lesion": (1,), "ghost": (2,)}, 3, None))
    cases = [
        TwoClasses(case.case_id, case.patient, np.stack([case.foreground] * 2) / 2, case.truth)
        for case in made(calibrated_core, 6)
    ]
    with pytest.raises(ValueError, match="no case has ghost"):
        tune(cases, task)


def test_a_structure_of_one_fold_alone_leaves_calibrations_out():
    cases = made(calibrated_core, 6)
    cases = [replace(case, truth=case.truth & (number == 0)) for number, case in enumerate(cases)]
    tuning = tune(cases, ONE)
    assert {s.calibration for s in tuning.settings} == {"none"}
    assert sum("calibration was left out" in note for note in tuning.notes) == 3


def test_a_case_that_cannot_be_read_is_named():
    cases = made(calibrated_core, 6)
    cases[4] = replace(cases[4], foreground=cases[4].foreground * 3)
    with pytest.raises(StudyError, match=r"case004 cannot be tuned on: .*were logits passed"):
        tune(cases, ONE)


@pytest.mark.parametrize("changes", [{"empty_score": 1.5}, {"structures": NnunetLabels({"far": (7,)}, 2, None)}])
def test_tasks_that_cannot_be(changes):
    with pytest.raises(ValueError, match=r"must lie in|a region is a set of foreground labels"):
        replace(ONE, **changes)
