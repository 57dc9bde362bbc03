"""Tables of reports for the terminal."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from rankseg_med.report.document import TextTable


def as_terminal(table: TextTable) -> Table:
    """A table to print with rich; where names fill several columns, those of one first name are a section."""
    shown = Table(title=escape(table.title), caption=escape(table.note) or None)
    for column, heading in enumerate(table.headings):
        shown.add_column(escape(heading), justify="left" if column < table.numbers_from else "right")
    above = None
    for row in table.rows:
        if table.numbers_from > 1 and above not in (None, row[0]):
            shown.add_section()
        shown.add_row(*map(escape, row))
        above = row[0]
    return shown
