"""The search on rewards whose best parameters are known."""

from dataclasses import replace

import numpy as np
import pytest

from rankseg_med.loss_search import SearchSettings, Step, Trial, found, next_step

START = [0.3] * 6


def searched(target, start=START, **options):
    """Parameters that are found where the score is 1 less the mean squared distance from a target."""
    settings, steps = SearchSettings(**{"steps": 6, "samples": 16, "updates": 10, "learning_rate": 0.02, **options}), []
    for _ in range(settings.steps):
        step = next_step(settings, start, steps)
        distances = np.mean((np.array(step.samples) - target) ** 2, axis=1)
        step.trials = {index: Trial(score=1 - distance) for index, distance in enumerate(distances)}
        steps.append(step)
    return np.array(found(settings, steps)[0])


def test_ppo2_gets_near_the_best_and_nearer_than_random_search():
    errors = {"ppo2": [], "random": []}
    for seed in range(4):
        target = np.random.default_rng(seed).uniform(0.2, 0.8, 6)
        for strategy, of_seeds in errors.items():
            of_seeds.append(np.mean((searched(target, strategy=strategy, seed=seed) - target) ** 2))
        at_start = np.mean((np.array(START) - target) ** 2)
        assert errors["ppo2"][-1] < 0.5 * at_start
    assert np.mean(errors["ppo2"]) < 0.01
    assert np.mean(errors["ppo2"]) < 0.6 * np.mean(errors["random"])


@pytest.mark.parametrize("strategy", ["ppo2", "random"])
def test_a_step_follows_from_the_record_alone(strategy):
    settings = SearchSettings(strategy=strategy, samples=4, updates=3)
    first = next_step(settings, START, [])
    assert first.mean == START
    first.trials = {index: Trial(score=0.1 * index) for index in (2, 0, 3, 1)}
    again = Step.model_validate_json(first.model_dump_json())
    assert next_step(settings, START, [first]) == next_step(settings, START, [again])
    assert next_step(settings, START, [first]).samples != first.samples
    assert next_step(replace(settings, seed=1), START, []).samples != first.samples


def test_what_is_found():
    steps = [
        Step(mean=[0.1], samples=[[0.2], [0.3]], trials={0: Trial(score=0.9), 1: Trial(score=0.0, reason="nan")}),
        Step(mean=[0.4], samples=[[0.5], [0.6]], trials={1: Trial(score=0.5), 0: Trial(score=0.6)}),
    ]
    assert found(SearchSettings(), steps) == ([0.4], pytest.approx(0.55))
    assert found(SearchSettings(strategy="random"), steps) == ([0.2], 0.9)
