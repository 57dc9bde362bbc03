"""Tables as LaTeX."""

from __future__ import annotations

from collections.abc import Iterable

from rankseg_med.report.document import TextTable

_SIGNS = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    # A bracket or an asterisk at the beginning of a row would belong to the line break above it.
    **{"[": "{[}", "*": "{*}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"},
}


def as_latex(tables: Iterable[TextTable]) -> str:
    """Tables for a paper, each a ``table`` with a caption; names of cases and regions cannot become commands.

    They need the package ``booktabs``, and UTF-8, which LaTeX reads unasked.

    Args:
        tables: What they say; titles and notes become captions.
    """
    return "\n\n".join("\n".join(_table(table)) for table in tables) + "\n"


def _table(table: TextTable) -> Iterable[str]:
    columns = "".join("l" if column < table.numbers_from else "r" for column in range(len(table.headings)))
    caption = ". ".join(_plain(text).removesuffix(".") for text in (table.title, table.note) if text)
    yield r"\begin{table}"
    yield r"\centering"
    yield rf"\caption{{{caption}.}}"
    yield rf"\begin{{tabular}}{{{columns}}}"
    yield r"\toprule"
    yield _row(table.headings)
    yield r"\midrule"
    yield from map(_row, table.rows)
    yield r"\bottomrule"
    yield r"\end{tabular}"
    yield r"\end{table}"


def _row(cells: Iterable[str]) -> str:
    return rf"{' & '.join(map(_plain, cells))} \\"


def _plain(text: str) -> str:
    return "".join(_SIGNS.get(sign, sign) for sign in " ".join(text.split()))
