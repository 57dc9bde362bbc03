"""Tables and pictures of results."""

from rankseg_med.report.as_csv import as_csv
from rankseg_med.report.as_html import as_html
from rankseg_med.report.as_latex import as_latex
from rankseg_med.report.as_markdown import as_markdown, tables_as_markdown
from rankseg_med.report.as_terminal import as_terminal
from rankseg_med.report.densities import save_densities
from rankseg_med.report.document import Document, Picture, TextTable
from rankseg_med.report.overlay import save_overlay
from rankseg_med.report.page import write_page
from rankseg_med.report.page_content import Column, PageContent, StudyEntry, StudyPictures, Value
from rankseg_med.report.plots import save_agreement, save_box_plots, save_risk_coverage
from rankseg_med.report.reliability_diagram import ReliabilityCurve, save_reliability_diagrams
from rankseg_med.report.slices import SlicePicture, picture_of, telling_slices
from rankseg_med.report.study_overlay import save_study_overlay
from rankseg_med.report.study_view import StudyView, view_study
from rankseg_med.report.tables import comparison_table, evaluation_tables
from rankseg_med.report.viewer_volumes import viewer_volumes

__all__ = [
    "Column",
    "Document",
    "PageContent",
    "Picture",
    "ReliabilityCurve",
    "SlicePicture",
    "StudyEntry",
    "StudyPictures",
    "StudyView",
    "TextTable",
    "Value",
    "as_csv",
    "as_html",
    "as_latex",
    "as_markdown",
    "as_terminal",
    "comparison_table",
    "evaluation_tables",
    "picture_of",
    "save_agreement",
    "save_box_plots",
    "save_densities",
    "save_overlay",
    "save_reliability_diagrams",
    "save_risk_coverage",
    "save_study_overlay",
    "tables_as_markdown",
    "telling_slices",
    "view_study",
    "viewer_volumes",
    "write_page",
]
