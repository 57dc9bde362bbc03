import math

import pytest

from rankseg_med.evaluation.cleanup_search.trials import CleanupSearch, Step, Trial, try_all


def test_a_gain_at_the_cost_of_a_class_is_none():
    step = Step("step", {})
    assert Trial(step, {1: 0.5, 2: 0.5}, {1: 0.6, 2: 0.5}).helps()
    assert not Trial(step, {1: 0.5, 2: 0.5}, {1: 0.9, 2: 0.49}).helps()
    assert not Trial(step, {1: 0.5, 2: 0.5}, {1: 0.5, 2: 0.5}).helps()
    # A class that no case has takes no part.
    assert Trial(step, {1: 0.5, 2: math.nan}, {1: 0.6, 2: math.nan}).helps()
    assert CleanupSearch({1: "a"}, 3, [Trial(step, {1: 0.5}, {1: 0.6})]).cleanup is None


def test_the_best_alternative_is_accepted_and_the_next_stage_builds_on_it():
    a, b, c, d = (Step(name, {"_target_": name}) for name in "abcd")
    dices = {(): 0.5, ("a",): 0.6, ("b",): 0.7, ("b", "c"): 0.7, ("b", "d"): 0.8}

    def mean_dice(accepted, alternatives):
        return [{1: dices[tuple(step.description for step in (*accepted, *added))]} for added in alternatives]

    trials = try_all([[a, b], [c], [d]], mean_dice)
    assert [(trial.step.description, trial.accepted) for trial in trials] == [
        ("a", False),
        ("b", True),
        ("c", False),  # changes nothing
        ("d", True),
    ]
    search = CleanupSearch({1: "liver"}, 1, trials)
    assert search.cleanup == {"_target_": "Compose", "transforms": [{"_target_": "b"}, {"_target_": "d"}]}
    assert (search.mean_before, search.mean_after) == (0.5, 0.8)


@pytest.mark.parametrize(("least_gain", "helps"), [(0.0, True), (0.0625, True), (0.063, False), (1.0, False)])
def test_a_gain_counts_from_the_least_on(least_gain, helps):
    """The mean over two classes rises by an eighth of a half, which floating point has exactly."""
    assert Trial(Step("step", {}), {1: 0.5, 2: 0.5}, {1: 0.625, 2: 0.5}).helps(least_gain) == helps


def test_no_gain_is_none_even_where_none_is_asked_for():
    assert not Trial(Step("step", {}), {1: 0.5}, {1: 0.5}).helps(0.0)


def test_steps_that_gain_too_little_are_not_built_upon():
    """One after the other they gain 1/16, 1/4 and 1/8 on 1/2; of these, 1/4 alone is more than 1/8 and a bit."""
    gains = {"a": 1 / 16, "b": 1 / 4, "c": 1 / 8}

    def mean_dice(accepted, alternatives):
        return [{1: 0.5 + sum(gains[step.description] for step in (*accepted, *added))} for added in alternatives]

    stages = [[Step(name, {})] for name in gains]
    assert [trial.accepted for trial in try_all(stages, mean_dice)] == [True, True, True]
    assert [trial.accepted for trial in try_all(stages, mean_dice, 0.125)] == [False, True, True]
    trials = try_all(stages, mean_dice, 0.126)
    assert [(trial.mean_before, trial.accepted) for trial in trials] == [(0.5, False), (0.5, True), (0.75, False)]
    assert CleanupSearch({1: "a"}, 1, trials).mean_after == 0.75


def test_without_a_step_that_helps_dice_stays_what_it_was():
    search = CleanupSearch({1: "a"}, 3, [Trial(Step("step", {}), {1: 0.5}, {1: 0.25})])
    assert (search.mean_before, search.mean_after) == (0.5, 0.5)
