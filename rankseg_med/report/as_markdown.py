"""Reports as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote

from rankseg_med.report.document import Document, TextTable

_SIGNS = re.compile(r"([\\`*_|<>\[\]#&~])")


def as_markdown(document: Document, folder: Path) -> str:
    """A report as Markdown; names of cases and regions cannot become markup.

    Args:
        document: What it says.
        folder: Folder where it is to lie; pictures are linked from there.
    """
    blocks = [f"# {_plain(document.title)}", f"**{_plain(document.verdict)}**"]
    blocks += map(_section, document.tables)
    if document.pictures:
        blocks.append("## Pictures")
    for picture in document.pictures:
        blocks.append(f"![{_plain(picture.caption)}]({quote(picture.path.relative_to(folder).as_posix())})")
    if document.notes:
        blocks += ["## Notes", "\n".join(f"- {_plain(note)}" for note in document.notes)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def tables_as_markdown(tables: Iterable[TextTable]) -> str:
    """Tables as Markdown, each under a heading and over its note.

    Args:
        tables: What they say.
    """
    return "\n\n".join(map(_section, tables)) + "\n"


def _section(table: TextTable) -> str:
    blocks = (f"## {_plain(table.title)}", "\n".join(_lines(table)), _plain(table.note))
    return "\n\n".join(block for block in blocks if block)


def _lines(table: TextTable) -> Iterator[str]:
    signs = ["---" if column < table.numbers_from else "---:" for column in range(len(table.headings))]
    yield _row(map(_plain, table.headings))
    yield _row(signs)
    for row in table.rows:
        yield _row(map(_plain, row))


def _row(cells: Iterator[str] | list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    return _SIGNS.sub(r"\\\1", " ".join(text.split()))
