"""Verdicts on changes whose meaning is plain."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankseg_med.evaluation import decide
from rankseg_med.metrics import compare_paired

WORDS = {"RankSEG": "RankSEG", "coherent": "the coherent rule", "tuned": "the tuned setting"}


def change(*gains, patients=None, resamples=1000):
    before = {f"case_{index:03d}": 0.5 for index in range(len(gains))}
    after = {case_id: 0.5 + gain for case_id, gain in zip(before, gains, strict=True)}
    of = None if patients is None else dict(zip(before, patients, strict=True))
    return compare_paired(before, after, thresholds=(0.0, 0.01, 0.05), patients=of, resamples=resamples)


def verdict(**changes):
    return decide(changes, WORDS, "Dice")


def test_decoding_pays():
    found = verdict(RankSEG=change(*[0.02] * 8), coherent=change(*[0.0] * 8))
    assert found.setting == "RankSEG"
    assert found.sentence == (
        "Use RankSEG: it changes the mean Dice against argmax by +2.00 points (95% interval +2.00 to +2.00, 8 cases); "
        "worse by more than a point: none."
    )


def test_decoding_hurts():
    found = verdict(RankSEG=change(*[-0.05] * 8), coherent=change(*[-0.03] * 8))
    assert (found.setting, found.rests_on) == (None, "coherent")
    assert found.sentence == (
        "Do not decode: every setting lowers the mean Dice against argmax, the coherent rule least, by -3.00 points "
        "(95% interval -3.00 to -3.00, 8 cases)."
    )


def test_undecided_says_how_many_patients_it_takes():
    gains = [0.1, -0.08] * 5
    found = verdict(RankSEG=change(*gains), coherent=change(*[0.0] * 10))
    assert found.setting is None
    assert "can be told from none; the largest change, with RankSEG, is +1.00 points (95% interval -" in found.sentence
    # A mean of 0.01 and a standard deviation of 0.09: its interval of 1.96 errors ends at 0 with so many.
    needed = int(found.sentence.split("about ")[1].split()[0])
    assert needed == pytest.approx((1.96 * 0.09 / 0.01) ** 2, rel=0.15)


def test_nothing_changes():
    found = verdict(coherent=change(*[0.0] * 9))
    assert found.setting is None
    assert found.sentence.endswith("is +0.00 points (95% interval +0.00 to +0.00, 9 cases).")


def test_the_fewest_losses_win_over_the_largest_gain():
    large = change(*[0.2] * 9, -0.02)
    small = change(*[0.05] * 10)
    assert verdict(RankSEG=large, coherent=small).setting == "coherent"
    assert verdict(RankSEG=change(*[0.2] * 9, -0.009), coherent=small).setting == "RankSEG"
    assert "worse by more than a point: 1." in verdict(RankSEG=large, coherent=change(*[0.0] * 10)).sentence


def test_too_few_patients():
    found = verdict(RankSEG=change(*[0.2] * 10, patients=list("aabbccddee")))
    assert found.setting is None
    assert found.sentence.startswith("Do not decode on this evidence: 5 of the at least 6 patients that it takes;")
    assert "10 cases of 5 patients" in found.sentence
    assert verdict(RankSEG=change(*[0.2] * 10, patients=list("aabbccddef"))).setting == "RankSEG"
    assert "is +20.00 points (no interval, 1 case)." in verdict(RankSEG=change(0.2)).sentence
    assert verdict(RankSEG=change(), coherent=change()).sentence.endswith("with RankSEG, is undefined.")


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(-0.5, 0.5), min_size=1, max_size=12), st.integers(0, 3))
def test_never_on_an_interval_that_holds_zero(gains, seed):
    noise = np.random.default_rng(seed).normal(0, 0.1, len(gains))
    changes = {"RankSEG": change(*gains, resamples=200), "coherent": change(*noise, resamples=200)}
    found = decide(changes, WORDS, "Dice")
    if found.setting is not None:
        assert changes[found.setting].interval[0] > 0
        assert len(gains) >= 6
