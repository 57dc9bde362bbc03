"""Recipes run in this process, so that their commands need not load everything anew."""

import runpy
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import yaml

from rankseg_med.cli.main import main

PIPELINES = Path(__file__).parents[2] / "pipelines"


@pytest.fixture
def run_recipe(monkeypatch, tmp_path) -> Callable[..., list[list[str]]]:
    """Runs a recipe with tiny configs, option to what each extends; returns its `rankseg-med` commands."""
    monkeypatch.syspath_prepend(str(PIPELINES))
    commands: list[list[str]] = []

    def run_command(command: list[str], *, check: bool) -> None:
        assert check
        assert command[:3] == [sys.executable, "-m", "rankseg_med"]
        commands.append(command[3:])
        monkeypatch.setattr(sys, "argv", ["rankseg-med", *command[3:]])
        with pytest.raises(SystemExit) as stopped:
            main()
        assert not stopped.value.code, command

    def run(script: str, *options: object, configs: Mapping[str, str]) -> list[list[str]]:
        tiny = {
            **{"roi_size": [16, 16, 16], "spacing_mm": [12.0, 12.0, 12.0], "batch_size": 2, "num_workers": 0},
            **{"epochs": 2, "iterations_per_epoch": 2, "validate_every": 2, "device": "$torch.device('cpu')"},
            "network_def::channels": [4, 8],
            "network_def::strides": [2],
        }
        for extended in configs.values():
            schedule = {"method::pretraining_iterations": 2} if extended.startswith("bcp") else {}
            (tmp_path / f"{extended}.yaml").write_text(yaml.safe_dump({"extends": extended, **tiny, **schedule}))
        chosen = [f"{option}={tmp_path / extended}.yaml" for option, extended in configs.items()]
        monkeypatch.setattr(sys, "argv", [script, *map(str, options), *chosen])
        with monkeypatch.context() as patched:
            patched.setattr(subprocess, "run", run_command)
            commands.clear()
            runpy.run_path(str(PIPELINES / script), run_name="__main__")
        return list(commands)

    return run


def semisupervised(config: str) -> dict[str, str]:
    """Options of a semi-supervised recipe to the shipped configs that are made tiny."""
    return {"--supervised-config": config, "--bcp-config": f"bcp_{config}"}
