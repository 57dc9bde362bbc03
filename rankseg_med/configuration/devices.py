"""Devices by their names, and which there are."""

from __future__ import annotations

import re

import torch

from rankseg_med.configuration.error import ConfigError


def available_devices() -> list[str]:
    """``cpu``, and ``cuda:0``, ... for every CUDA device that PyTorch sees."""
    return ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]


def check_device_name(name: object) -> None:
    """Raise `ConfigError` unless it is ``cpu``, ``cuda``, which is the first CUDA device, or ``cuda:1``, ..."""
    if not isinstance(name, str | torch.device) or not re.fullmatch(r"cpu|cuda(:(0|[1-9]\d*))?", str(name)):
        raise ConfigError(f"device must be cpu, cuda or cuda:N, got {name}; {_there_are()}")


def usable_device(name: object) -> torch.device:
    """The device of a name.

    Raises:
        ConfigError: another name than `check_device_name` allows, or a CUDA device that is not there; the message says
            which there are.
    """
    check_device_name(name)
    kind, _, index = str(name).partition(":")
    if kind == "cuda" and not torch.cuda.is_available():
        fix = f"use --device cpu ({_there_are()})"
        raise ConfigError(f"device {name} was asked for, but PyTorch sees no CUDA device; {fix}")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device {name} was asked for, but PyTorch sees no such device; {_there_are()}")
    return torch.device(str(name))


def _there_are() -> str:
    return f"there are: {', '.join(available_devices())}"
