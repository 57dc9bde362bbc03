import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from rankseg_med.cli.main import main


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


@pytest.fixture
def rankseg_med(monkeypatch, capsys) -> Callable[..., Result]:
    """Run the program in this process, as its entry point does."""

    def run(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["rankseg-med", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        captured = capsys.readouterr()
        return Result(int(stopped.value.code or 0), captured.out, captured.err)

    return run
