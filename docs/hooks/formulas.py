"""Formulas as MathML, which browsers draw by themselves: no script is needed to read them."""

from __future__ import annotations

import re
from html import unescape

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

# What pymdownx.arithmatex makes of $...$ and $$...$$.
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\(?:\((.*?)\\\)|\[(.*?)\\\])</\1>', re.DOTALL)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Draw every formula."""
    return _FORMULA.sub(
        lambda formula: convert(unescape(formula[2] or formula[3]), "inline" if formula[2] else "block"), html
    )
