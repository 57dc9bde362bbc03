"""Options that several commands share."""

from __future__ import annotations

import typer


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
            raise typer.BadParameter(f"labels are 1 to 255 (0 is the background), found {value}")
        if int(value) in names or name in names.values():
            raise typer.BadParameter(f"labels and names must differ, {entry.strip()!r} repeats one")
        names[int(value)] = name
    return names
