import pytest

from rankseg_med.errors import InputError
from rankseg_med.loss_search import SearchSettings


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"samples": 1}, "samples must be at least 2, since one is no better than their mean, got 1"),
        ({"steps": 0}, "steps must be positive, got 0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"strategy": "ppo"}, "strategy must be ppo2 or random, got 'ppo'"),
        ({"sigma": -0.1}, "sigma must be positive, got -0.1"),
    ],
)
@pytest.mark.usefixtures("wrong_types")
def test_what_is_no_search(wrong, message):
    with pytest.raises(InputError, match=message):
        SearchSettings(**wrong)
