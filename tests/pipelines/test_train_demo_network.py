"""The script that makes the demonstration's network again."""

import sys

import pytest
import train_demo_network
from safetensors.torch import load_file

from rankseg_med.configuration import load_config
from rankseg_med.networks import load_weights


@pytest.mark.slow
def test_what_it_writes_fits_the_shipped_config(tmp_path, monkeypatch):
    weights = tmp_path / "demo.safetensors"
    options = [tmp_path / "work", "--phantoms", 6, "--epochs", 1, "--output", weights]
    monkeypatch.setattr(sys, "argv", ["train_demo_network.py", *map(str, options)])
    train_demo_network.main()
    network = load_config("inference", "demo", device="cpu").get_parsed_content("network_def")
    load_weights(network, weights)
    found = network.state_dict()
    assert all(found[name].equal(value) for name, value in load_file(weights).items())
