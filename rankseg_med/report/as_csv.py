"""Tables as CSV."""

from __future__ import annotations

import csv
from io import StringIO

from rankseg_med.report.document import TextTable


def as_csv(table: TextTable) -> str:
    """A table's headings and rows, each cell as one line; without its title and note."""
    stream = StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerows([" ".join(cell.split()) for cell in row] for row in (table.headings, *table.rows))
    return stream.getvalue()
