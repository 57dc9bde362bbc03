"""The program as it is started, and Ctrl-C before it has got to anything."""

import os
import signal
import subprocess
import sys
import time

import pytest

from rankseg_med.cli.main import main
from tests.conftest import REPOSITORY

PROGRAM = "from rankseg_med.cli.main import {}; {}()"
ENTRIES = {
    "module": [sys.executable, "-m", "rankseg_med"],
    "script": [sys.executable, "-c", PROGRAM.format("program", "program")],
    "older script": [sys.executable, "-c", PROGRAM.format("main", "main")],
}


@pytest.mark.parametrize("seconds", [0, 0.4, 1.0])
@pytest.mark.parametrize("entry", ENTRIES)
def test_an_interrupt_during_imports_is_quiet(entry, seconds, tmp_path):
    # Imports that take as long as they do on a slow machine; before the first of them the interpreter is in charge.
    begun = tmp_path / "begun"
    (tmp_path / "sitecustomize.py").write_text(
        "import pathlib, sys, time\n"
        "class Slow:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == 'rankseg_med.cli.app': pathlib.Path({str(begun)!r}).touch()\n"
        "        if name == 'torch': time.sleep(2)\n"
        "sys.meta_path.insert(0, Slow())\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(REPOSITORY)])}
    process = subprocess.Popen(
        [*ENTRIES[entry], "status", "nowhere"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    while not begun.exists():
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    printed, messages = process.communicate(timeout=60)
    assert (process.returncode, printed, messages) == (130, "", "")


def interrupted_in_a_destructor() -> None:
    class Last:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    Last()
    time.sleep(10)


def interrupted() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(10)


@pytest.mark.parametrize("app", [interrupted, interrupted_in_a_destructor])
def test_an_interrupt_ends_any_command_with_130_and_no_traceback(app, monkeypatch, capsys):
    monkeypatch.setattr("rankseg_med.cli.app.app", app)
    hook, handler = sys.unraisablehook, signal.getsignal(signal.SIGINT)
    start = time.monotonic()
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 130
    assert time.monotonic() - start < 5
    assert capsys.readouterr() == ("", "")
    assert (sys.unraisablehook, signal.getsignal(signal.SIGINT)) == (hook, handler)


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["predict", "--help"], ["tune", "--help"]])
def test_help_needs_nothing_that_is_slow_to_import(arguments):
    code = f"import sys; sys.argv[1:] = {arguments}; from rankseg_med.cli.app import app; app(standalone_mode=False)"
    check = "; assert not {'torch', 'monai', 'numpy'} & sys.modules.keys()"
    process = subprocess.run([sys.executable, "-c", code + check], capture_output=True, encoding="utf-8", check=False)
    assert process.returncode == 0, process.stderr


def test_a_programming_error_shows_as_one(monkeypatch):
    def fail() -> None:
        raise ValueError("not the user's fault")

    monkeypatch.setattr("rankseg_med.cli.app.app", fail)
    with pytest.raises(ValueError, match="not the user's fault"):
        main()
