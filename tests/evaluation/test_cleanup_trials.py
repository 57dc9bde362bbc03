import math

from rankseg_med.evaluation.cleanup_trials import CleanupSearch, Step, Trial, try_all


def test_a_gain_at_the_cost_of_a_class_is_none():
    step = Step("step", {})
    assert Trial(step, {1: 0.5, 2: 0.5}, {1: 0.6, 2: 0.5}).is_better
    assert not Trial(step, {1: 0.5, 2: 0.5}, {1: 0.9, 2: 0.49}).is_better
    assert not Trial(step, {1: 0.5, 2: 0.5}, {1: 0.5, 2: 0.5}).is_better
    # A class that no case has takes no part.
    assert Trial(step, {1: 0.5, 2: math.nan}, {1: 0.6, 2: math.nan}).is_better
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
