"""Sessions of the documentation: blocks of a page, one after the other, in the current folder, as a reader runs them.

Python, YAML files that begin with their name, commands of ours. A block ``text`` is what the block before it printed;
``...`` stands for anything. A command may say that it fails: ``# exit code 1``.
"""

import doctest
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from rankseg_med.cli.main import main
from tests.conftest import REPOSITORY

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run_session(page: str, monkeypatch: pytest.MonkeyPatch, *, heading: str | None = None) -> None:
    """Run a page of docs/, or one section of it."""
    text = (REPOSITORY / "docs" / page).read_text()
    if heading is not None:
        (text,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    names: dict = {}
    printed = ""
    for language, block in _BLOCK.findall(text):
        if language == "text":
            matches = doctest.OutputChecker().check_output(block, printed, doctest.ELLIPSIS)
            assert matches, f"{page} says\n{block}and it is\n{printed}"
            continue
        with redirect_stdout(StringIO()) as stream:
            if language == "python":
                exec(compile(block, page, "exec"), names)
            elif language == "yaml":
                Path(block.splitlines()[0].removeprefix("# ")).write_text(block)
            elif language == "sh":
                for command in commands_in(block):
                    run_command(command, monkeypatch)
            else:
                raise AssertionError(f"{page} has a block that nothing runs: {language}")
        printed = stream.getvalue()


def commands_in(block: str) -> Iterator[str]:
    """A command a line, but where a line ends in a backslash."""
    yield from block.replace("\\\n", " ").splitlines()


def run_command(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a command of ours in this process."""
    arguments = shlex.split(command, comments=True)
    if not arguments:
        return
    assert arguments[0] == "rankseg-med", f"no test runs {command!r}"
    said = re.search(r"# exit code (\d+)", command)
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as stopped:
        main()
    assert (stopped.value.code or 0) == (int(said[1]) if said else 0), command
