"""Sessions of the documentation: blocks of a page, one after the other, in the current folder, as a reader runs them.

Python, YAML files that begin with their name, commands of ours. A block ``text`` is what the block before it printed;
``...`` stands for anything. A command may say that it fails: ``# exit code 1``. A training that the page leaves at its
full length is cut to an iteration.
"""

import doctest
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from rankseg_med.cli.main import main
from tests.conftest import REPOSITORY
from tests.docs.blocks import Block, blocks_of
from tests.docs.exceptions import reasons_not_to_run

_SHORT = ("--epochs", "1", "--set", "iterations_per_epoch=1", "--set", "validate_every=1")


def session_of(page: str, headings: Sequence[str] = ()) -> list[Block]:
    """The blocks of a page, or of sections of it, that are run; sections in the order in which they are named."""
    blocks = [block for block in blocks_of(page) if not reasons_not_to_run(block)]
    missing = set(headings) - {block.heading for block in blocks}
    assert not missing, f"{page} has no section with blocks to run that is headed {missing}"
    return [block for heading in headings for block in blocks if block.heading == heading] if headings else blocks


def run_session(blocks: Iterable[Block], names: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run blocks; ``names`` are those that Python has at the start, and at the end."""
    printed = ""
    for block in blocks:
        if block.language == "text":
            matches = doctest.OutputChecker().check_output(block.text, printed, doctest.ELLIPSIS)
            assert matches, f"{block.name}\nThe page says\n{block.text}and it is\n{printed}"
            continue
        with redirect_stdout(StringIO()) as stream:
            if block.language == "python":
                exec(compile(block.text, block.name, "exec"), names)
            elif block.language == "sh":
                for command in commands_in(block.text):
                    run_command(command, monkeypatch)
            elif block.language == "yaml":
                write_file(block)
            elif block.language == "json":
                json.loads(block.text)
            else:
                raise AssertionError(f"nothing runs {block.name}, a block of the language {block.language!r}")
        printed = stream.getvalue()


def write_file(block: Block) -> None:
    """A config that the page tells to write; what shows an entry of one alone is checked in test_blocks.py."""
    if (named := re.match(r"# (\S+\.yaml)\n", block.text)) is not None:
        Path(named[1]).write_text(block.text)


def commands_in(block: str) -> Iterator[str]:
    """A command a line, but where a line ends in a backslash."""
    yield from block.replace("\\\n", " ").splitlines()


def run_command(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a command: ours in this process, a module of Python's in one of its own."""
    arguments = shlex.split(command, comments=True)
    if not arguments:
        return
    if arguments[:2] == ["python", "-m"]:
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        subprocess.run([sys.executable, *arguments[1:]], check=True, env=environment)
        return
    assert arguments[0] == "rankseg-med", f"no test runs {command!r}"
    if arguments[1] in ("train", "explain") and "--epochs" not in arguments:
        arguments += _SHORT
    said = re.search(r"# exit code (\d+)", command)
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as stopped:
        main()
    assert (stopped.value.code or 0) == (int(said[1]) if said else 0), command
