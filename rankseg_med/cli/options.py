"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import typer

from rankseg_med.cli.interrupts import ended_at_once_by_interrupts

DECODING, RUNNING, RESUMING = "Decoding", "Running", "Resuming"
"""Panels of help texts."""

CalibrationFileOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--calibration",
        help="File that calibrates probabilities before they are decoded; in place of the config's.",
        rich_help_panel=DECODING,
    ),
]

StoreOption: TypeAlias = Annotated[
    Literal["memory", "disk"] | None,
    typer.Option("--store", help="Where probabilities wait to be decoded.", rich_help_panel=DECODING),
]
ChannelsOption: TypeAlias = Annotated[
    int | None,
    typer.Option("--channels", min=1, help="Images of a study in a folder: liver_0000, liver_0001, ..."),
]
AxesOption: TypeAlias = Annotated[
    Literal["CZYX", "CXYZ"] | None,
    typer.Option(
        "--axes",
        help="Order of the axes of arrays. Default: CZYX for .npz, which is nnU-Net's, and CXYZ for .npy.",
        rich_help_panel=DECODING,
    ),
]
RegionChannelsOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--region-channels",
        metavar="NAME=LABELS,...",
        help="What channels are that are regions by sigmoid, such as whole=1+2+3,core=2+3,enhancing=3. "
        "Default: what nnU-Net's dataset.json says, else exclusive classes by softmax.",
        rich_help_panel=DECODING,
    ),
]
PatientsOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--patients",
        help="Whose cases belong together: CSV with case_id,patient_id, or a regular expression with one group, such "
        "as '(.+)_scan'.",
    ),
]
FoldOption: TypeAlias = Annotated[
    int | None, typer.Option("--fold", help="Only this fold's held-out cases of a data list.")
]
DataRootOption: TypeAlias = Annotated[
    Path | None, typer.Option("--data-root", help="What a data list's paths are relative to.")
]


_CONFIGS = typer.Option(
    "--config",
    help="Config file (trusted: it may hold code) or shipped name, such as lits. Repeatable: later ones come over "
    "earlier ones.",
)
ConfigsOption: TypeAlias = Annotated[list[str], _CONFIGS]
OptionalConfigsOption: TypeAlias = Annotated[list[str] | None, _CONFIGS]
SetOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change one entry of the config, such as inferer::overlap=0.7; the value as YAML has it. Repeatable.",
    ),
]


def known_device(name: str) -> str:
    """The name of a device that is there, or ``auto``.

    Raises:
        typer.BadParameter: Another name; the message says which devices there are.
    """
    if name == "auto":
        return name
    with ended_at_once_by_interrupts():
        from rankseg_med.configuration import ConfigError, usable_device
    try:
        return str(usable_device(name))
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from error


_DEVICE_HELP = "Where networks run: auto, cpu, cuda or cuda:1."
DeviceOption: TypeAlias = Annotated[str, typer.Option("--device", callback=known_device, help=_DEVICE_HELP)]
# Of commands with `JobOptions`, listed beside them.
JobDeviceOption: TypeAlias = Annotated[
    str, typer.Option("--device", callback=known_device, help=_DEVICE_HELP, rich_help_panel=RUNNING)
]


def parse_changes(given: list[str] | None) -> dict[str, Any]:
    """``["inferer::overlap=0.7"]`` to ``{"inferer::overlap": 0.7}``.

    Raises:
        typer.BadParameter: Not of that form, no YAML, or a key twice.
    """
    import yaml

    changes: dict[str, Any] = {}
    for entry in given or []:
        key, separator, value = entry.partition("=")
        if not separator or not key.strip():
            raise typer.BadParameter(f"--set takes KEY=VALUE, such as inferer::overlap=0.7; got {entry!r}")
        if key.strip() in changes:
            raise typer.BadParameter(f"--set {key.strip()} is given twice")
        try:
            changes[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise typer.BadParameter(f"--set {entry}: the value is no YAML ({' '.join(str(error).split())})") from error
    return changes


@contextmanager
def wrong_options() -> Iterator[None]:
    """What the package says of settings that come from options alone is a wrong use of the command: exit code 2."""
    from rankseg_med.studies import StudyError

    try:
        yield
    except StudyError:
        raise  # of a file
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def parse_labels(text: str) -> dict[int, str]:
    """``"1=anterior,2=posterior"`` to ``{1: "anterior", 2: "posterior"}``.

    Raises:
        typer.BadParameter: Not of that form, label 0 (the background), or a label or name twice.
    """
    names: dict[int, str] = {}
    for entry in text.split(","):
        value, separator, name = (part.strip() for part in entry.partition("="))
        if not separator or not value.isdigit() or not name:
            raise typer.BadParameter(f"labels are given as 1=anterior,2=posterior; cannot read {entry.strip()!r}")
        if not 1 <= int(value) <= 255:
            raise typer.BadParameter(f"labels are 1 to 255 (0 is the background), got {value}")
        if int(value) in names or name in names.values():
            raise typer.BadParameter(f"labels and names must differ, {entry.strip()!r} repeats one")
        names[int(value)] = name
    return names


def parse_regions(text: str) -> dict[str, tuple[int, ...]]:
    """``"kidney=1+2,tumour=2"`` to ``{"kidney": (1, 2), "tumour": (2,)}``.

    Raises:
        typer.BadParameter: Not of that form, a label that is not 1 to 255, or a name twice.
    """
    regions: dict[str, tuple[int, ...]] = {}
    for entry in text.split(","):
        name, separator, values = (part.strip() for part in entry.partition("="))
        labels = [value.strip() for value in values.split("+")]
        if not separator or not name or not all(label.isdigit() for label in labels):
            raise typer.BadParameter(f"regions are given as kidney=1+2,tumour=2; cannot read {entry.strip()!r}")
        if not all(1 <= int(label) <= 255 for label in labels):
            raise typer.BadParameter(f"labels are 1 to 255 (0 is the background), got {values}")
        if name in regions:
            raise typer.BadParameter(f"names of regions must differ, {entry.strip()!r} repeats one")
        regions[name] = tuple(map(int, labels))
    return regions
