"""Reports as a page that is one file."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from html import escape

from rankseg_med.report.document import Document, Picture, TextTable

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1f24; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
.verdict { font-size: 1.15rem; padding: .8rem 1rem; background: #eef4fb; border-left: 4px solid #0072b2; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #d9dee4; text-align: left; white-space: nowrap; }
th { vertical-align: bottom; white-space: pre-line; }
.number { text-align: right; }
.wide { overflow-x: auto; }
.note, figcaption, li { color: #57606a; font-size: .9rem; }
figure { margin: 1.5rem 0; }
img { max-width: 100%; }
""".strip()


def as_html(document: Document) -> str:
    """A report as HTML with style and pictures in it: it loads nothing, and runs nothing."""
    return "\n".join(_lines(document)) + "\n"


def _lines(document: Document) -> Iterator[str]:
    yield f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(document.title)}</title>'
    yield f"<style>\n{_STYLE}\n</style>\n</head>\n<body>"
    yield f'<h1>{escape(document.title)}</h1>\n<p class="verdict">{escape(document.verdict)}</p>'
    for table in document.tables:
        yield from _table(table)
    if document.pictures:
        yield "<h2>Pictures</h2>"
    for picture in document.pictures:
        yield _figure(picture)
    if document.notes:
        yield "<h2>Notes</h2>\n<ul>"
        yield from (f"<li>{escape(note)}</li>" for note in document.notes)
        yield "</ul>"
    yield "</body>\n</html>"


def _table(table: TextTable) -> Iterator[str]:
    yield f'<h2>{escape(table.title)}</h2>\n<div class="wide"><table>'
    yield f"<thead>{_row('th', table.headings, table.numbers_from)}</thead>\n<tbody>"
    yield from (_row("td", row, table.numbers_from) for row in table.rows)
    yield "</tbody>\n</table></div>"
    if table.note:
        yield f'<p class="note">{escape(table.note)}</p>'


def _row(tag: str, cells: tuple[str, ...], numbers_from: int) -> str:
    kinds = ["" if column < numbers_from else ' class="number"' for column in range(len(cells))]
    shown = "".join(f"<{tag}{kind}>{escape(cell)}</{tag}>" for kind, cell in zip(kinds, cells, strict=True))
    return f"<tr>{shown}</tr>"


def _figure(picture: Picture) -> str:
    data = base64.b64encode(picture.path.read_bytes()).decode("ascii")
    caption = escape(picture.caption)
    image = f'<img alt="{caption}" src="data:image/png;base64,{data}">'
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"
