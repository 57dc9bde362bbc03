"""Runs a method of benchmarks/batch.py in a fresh process, and watches its time and memory."""

from __future__ import annotations

import math
import multiprocessing
import os
import re
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
from batch_methods import METHODS, workers_of

from rankseg_med.studies import Study

_SAMPLES = 100
_LOOK_S = 0.5
_LONGEST_S = 3600.0


@dataclass
class Run:
    """What was seen of a method's process.

    Attributes:
        seconds: From the first study's start to the end.
        finished: How often the method said that it had finished a study.
        numbers: What else it told.
        own_bytes: Resident memory of its process, as time goes by.
        workers_bytes: Of its workers together.
        error: What it raised.
        peak_bytes: Of all its processes together.
    """

    seconds: float = 0.0
    finished: int = 0
    numbers: dict[str, int] = field(default_factory=dict)
    own_bytes: list[int] = field(default_factory=list)
    workers_bytes: list[int] = field(default_factory=list)
    error: str = ""
    peak_bytes: int = 0


def measure(method: str, studies: Sequence[Study], weights: Path, output: Path) -> Run:
    """Run a method in a fresh process and watch it.

    Its output folder is made; a log of the same name lies beside it.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(sender, method, studies, weights, output))
    process.start()
    sender.close()
    peak, end = 0, time.monotonic() + _LONGEST_S
    while not receiver.poll(_LOOK_S) and time.monotonic() < end:
        peak = max(peak, _bytes_of_tree(process.pid))
    try:
        run: Run = receiver.recv() if receiver.poll() else Run(error=f"did not end within {_LONGEST_S:g} s")
    except EOFError:
        run = Run(error="its process died")
    run.peak_bytes = peak
    _end(process)
    return run


def _run(sender: Connection, method: str, studies: Sequence[Study], weights: Path, output: Path) -> None:
    """What the fresh process does."""
    output.mkdir()
    with output.with_suffix(".log").open("w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    # A spawned process would spawn as well, where peers count on the system's way to start their workers.
    multiprocessing.set_start_method("fork", force=True)
    run, this = Run(), psutil.Process()
    every = max(1, len(studies) // _SAMPLES)

    def tick() -> None:
        run.finished += 1
        if run.finished % every == 0:
            run.own_bytes.append(this.memory_info().rss)
            run.workers_bytes.append(sum(_resident(workers_of(this))))

    start = time.perf_counter()
    try:
        run.numbers = METHODS[method](studies, weights, output, tick)
    except Exception as error:  # noqa: BLE001 - to be told
        run.error = _brief(error)
    run.seconds = time.perf_counter() - start
    sender.send(run)


def _brief(error: Exception) -> str:
    """In one line; of an error that quotes a worker's traceback, what was raised there."""
    lines = str(error).splitlines() or [""]
    return next((line for line in lines if re.match(r"[\w.]+Error: ", line)), f"{type(error).__name__}: {lines[0]}")


def _resident(processes: Sequence[psutil.Process]) -> Iterator[int]:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            yield process.memory_info().rss


def _bytes_of_tree(pid: int | None) -> int:
    total = 0
    with suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess, psutil.ZombieProcess, psutil.AccessDenied):
                total += process.memory_full_info().pss
    return total


def _end(process: multiprocessing.process.BaseProcess) -> None:
    """Wait for a process to end, or end it with all that it started."""
    process.join(30)
    if process.is_alive():
        root = psutil.Process(process.pid)
        for each in [*root.children(recursive=True), root]:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        process.join()


def growth(samples: Sequence[int]) -> float:
    """Median of the last tenth by that of the second tenth; NaN of fewer than ten samples, or of no memory."""
    tenth = len(samples) // 10
    before = statistics.median(samples[tenth : 2 * tenth]) if tenth else 0
    return statistics.median(samples[-tenth:]) / before if before else math.nan
