"""A job of files in, files out, whose every step a test can see."""

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from rankseg_med.runs import CaseOutcome
from rankseg_med.runs.job import Written
from rankseg_med.studies import atomic_write


def statuses(outcomes: Iterable[CaseOutcome]) -> dict[str, str]:
    return {outcome.case.case_id: outcome.status for outcome in outcomes}


@dataclass(frozen=True)
class File:
    case_id: str
    path: Path


@dataclass(frozen=True)
class Doubling:
    """Writes the double of the number in a case's file.

    A file's text may say what goes wrong: ``raise``, ``hang``, ``die``, or ``first`` to fail the first time only.
    """

    output: Path
    digest: str = "settings"
    seconds: float = 0.0
    name = "double"
    results_version = 1
    stage_names = ("read", "write")

    @property
    def records(self) -> Path:
        return self.output

    @property
    def settings(self) -> dict[str, str]:
        return {"factor": "2", "whole": self.digest}

    def build(self) -> tuple[Callable, ...]:
        return (_read, partial(_write, self.output, self.seconds))

    def inputs_of(self, case: File) -> tuple[Path, ...]:
        return (case.path,)

    def kept_of(self, case: File) -> tuple[Path, ...]:
        return (case.path,)

    def outputs_of(self, case: File) -> tuple[Path, ...]:
        return (self.output / f"{case.case_id}.txt",)

    def memory_needed(self, case: File) -> int:
        return len(case.path.read_bytes())


def _read(case: File) -> tuple[File, int]:
    text = case.path.read_text()
    if text == "raise":
        raise ValueError(f"{case.case_id} holds no number")
    if text == "hang":
        time.sleep(600)
    if text == "die":
        os.kill(os.getpid(), 9)
    if text == "first":
        marker = case.path.with_suffix(".tried")
        if not marker.exists():
            marker.touch()
            raise ValueError("not yet")
        text = "5"
    return case, int(text)


def _write(output: Path, seconds: float, read: tuple[File, int]) -> Written:
    case, number = read
    path = output / f"{case.case_id}.txt"
    with atomic_write(path) as temporary:
        temporary.write_text(str(2 * number))
        time.sleep(seconds)
    return Written((path,), {"number": number})


@pytest.fixture
def files(tmp_path) -> Callable[..., list[File]]:
    """Cases of given texts: ``files("3", "raise")`` are ``case_0`` and ``case_1``."""

    def write(*texts: str) -> list[File]:
        folder = tmp_path / "in"
        folder.mkdir(exist_ok=True)
        cases = [File(f"case_{index}", folder / f"{index}.txt") for index in range(len(texts))]
        for case, text in zip(cases, texts, strict=True):
            case.path.write_text(text)
        return cases

    return write


@pytest.fixture
def doubling(tmp_path) -> Doubling:
    return Doubling(tmp_path / "out")
