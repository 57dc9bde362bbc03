"""Tables and pictures of results."""

from rankseg_med.report.as_html import as_html
from rankseg_med.report.as_markdown import as_markdown
from rankseg_med.report.as_terminal import as_terminal
from rankseg_med.report.document import Document, Picture, TextTable
from rankseg_med.report.overlay import save_overlay
from rankseg_med.report.reliability_diagram import ReliabilityCurve, save_reliability_diagrams
from rankseg_med.report.tables import comparison_table, evaluation_tables

__all__ = [
    "Document",
    "Picture",
    "ReliabilityCurve",
    "TextTable",
    "as_html",
    "as_markdown",
    "as_terminal",
    "comparison_table",
    "evaluation_tables",
    "save_overlay",
    "save_reliability_diagrams",
]
