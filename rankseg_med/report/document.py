"""A report before it is Markdown, a page or a terminal's tables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class TextTable:
    """Cells of text under headings.

    Attributes:
        title: Above it.
        headings: One for each column; the first columns are names, and from ``numbers_from`` on they are numbers.
        rows: Rows of as many cells each as there are headings.
        numbers_from: Index of the first column of numbers.
        note: Sentences below it; may be empty. Lines are kept on the terminal alone.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers_from: int = 2
    note: str = ""

    def __post_init__(self) -> None:
        if any(len(row) != len(self.headings) for row in self.rows):
            raise ValueError(f"every row must have {len(self.headings)} cells, one for each of {self.headings}")


@dataclass(frozen=True)
class Picture:
    """A PNG file and what it shows."""

    path: Path
    caption: str


@dataclass(frozen=True)
class Document:
    """What a report says, in this order.

    Attributes:
        title: Its heading.
        verdict: The sentence that matters most.
        tables: What it rests on.
        pictures: Examples, in the folder of the report or below it.
        notes: How it was made, what was left out.
    """

    title: str
    verdict: str
    tables: tuple[TextTable, ...]
    pictures: tuple[Picture, ...] = ()
    notes: tuple[str, ...] = ()
