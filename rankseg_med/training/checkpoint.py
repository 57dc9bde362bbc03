"""What a training leaves to go on from: ``last.pt``, and ``best.pt`` to predict with."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.handlers import Checkpoint

from rankseg_med.studies import StudyError, atomic_write
from rankseg_med.training.processes import is_first_process
from rankseg_med.training.schedule import go_on

LAST = "last.pt"
BEST = "best.pt"


def write_states(parts: Mapping[str, Any], path: Path) -> None:
    """Write the states of a training's parts, whole or not at all; only the first process does."""
    if is_first_process():
        _save({name: part.state_dict() for name, part in parts.items()}, path)


def best_checkpoint(parts: Mapping[str, Any], path: Path, metric: str) -> Checkpoint:
    """Handler that writes parts whenever a metric of its engine is higher than ever."""

    # A function: before an object with `remove`, Ignite has the old file removed, and writes then.
    def save(checkpoint: Mapping[str, Any], filename: str, metadata: Mapping[str, Any]) -> None:
        if is_first_process():
            _save(checkpoint, path)

    score = Checkpoint.get_default_score_fn(metric)
    return Checkpoint(parts, save, filename_pattern=path.name, n_saved=1, score_function=score)


def read_states(path: Path) -> dict[str, Any]:
    """The states in a file, on the CPU.

    Raises:
        StudyError: It cannot be read, is damaged, or holds other things than the tensors and numbers of a training.
    """
    hint = "put a whole copy in its place, or train anew in another folder"
    try:
        # PyTorch itself does not look at the checksums.
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise StudyError(f"{path}: is damaged ({damaged} has another checksum); {hint}")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise StudyError(
            f"{path}: must hold tensors and numbers only, since other pickled objects can run code; {hint} "
            f"({str(error).splitlines()[0]})"
        ) from error
    except OSError as error:
        raise StudyError(f"{path}: cannot be read ({error.strerror or error}); {hint}") from error
    except (zipfile.BadZipFile, RuntimeError, EOFError, LookupError) as error:
        raise StudyError(f"{path}: is damaged or no checkpoint ({error}); {hint}") from error
    try:
        finished_epochs(content)
    except (LookupError, TypeError, ZeroDivisionError) as error:
        raise StudyError(f"{path}: is not the checkpoint of a training; {hint}") from error
    return dict(content)


def finished_iterations(content: Mapping[str, Any]) -> int:
    """How many iterations a checkpoint's training has behind it."""
    return int(content["trainer"]["iteration"])


def finished_epochs(content: Mapping[str, Any]) -> int:
    """How many whole epochs a checkpoint's training has behind it."""
    return finished_iterations(content) // int(content["trainer"]["epoch_length"])


def restore(parts: Mapping[str, Any], content: Mapping[str, Any], path: Path) -> None:
    """Bring the parts of a training to where a checkpoint has them, the learning rate as `go_on` says.

    Args:
        parts: As the config makes them.
        content: Content of the checkpoint.
        path: Where it comes from.

    Raises:
        StudyError: It lacks a part, or has one of another kind or shape.
    """
    lacking = sorted(parts.keys() - content.keys())
    if lacking:
        raise StudyError(f"{path}: cannot be resumed, since it lacks {', '.join(lacking)}; was it replaced by another?")
    for name, part in parts.items():
        try:
            if name == "optimizer":
                go_on(part, parts["lr_scheduler"], content[name], finished_epochs(content))
            elif name != "lr_scheduler":
                part.load_state_dict(content[name])
        except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
            reason = " ".join(str(error).split())
            raise StudyError(
                f"{path}: cannot be resumed, since its {name} does not fit ({reason}); was it replaced by another?"
            ) from error


def _save(content: Mapping[str, Any], path: Path) -> None:
    with atomic_write(path) as temporary:
        torch.save(dict(content), temporary)
