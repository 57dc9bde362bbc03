"""Names in figures: in a font that has their signs, or else so that nothing of them is lost."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from matplotlib import rc_context
from matplotlib.font_manager import FontProperties, fontManager, get_font

# Matplotlib's own, and those of systems that have Chinese, Japanese and Korean.
_FAMILIES = (
    *("DejaVu Sans", "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans JP", "Noto Sans SC", "Noto Sans KR"),
    *("Source Han Sans", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "Droid Sans Fallback", "IPAGothic", "NanumGothic"),
    *("Hiragino Sans", "PingFang SC", "Apple SD Gothic Neo"),
    *("Microsoft YaHei", "Yu Gothic", "MS Gothic", "Malgun Gothic", "Arial Unicode MS"),
)

_log = logging.getLogger(__name__)


@contextmanager
def figure_text() -> Iterator[None]:
    """While it lasts, text of new figures is in the first font that has its signs, and is no formula."""
    with rc_context({"text.parse_math": False, "font.family": _installed()}):
        yield


def legible(name: str) -> str:
    r"""A name as a figure can show it: signs that no font here has, or that do not print, as Python escapes them.

    Such as ``\u80bf``, where Matplotlib would write a box and names could not be told apart.
    """
    if name.isascii() and name.isprintable():
        return name
    known = _signs(tuple(_installed()))
    shown = "".join(sign if ord(sign) in known else sign.encode("unicode_escape").decode() for sign in name)
    if shown != name:
        _warn(shown)
    return shown


def _installed() -> list[str]:
    there = {font.name for font in fontManager.ttflist}
    return [family for family in _FAMILIES if family in there]


@cache
def _signs(families: tuple[str, ...]) -> frozenset[int]:
    fonts = (get_font(fontManager.findfont(FontProperties(family=family))) for family in families)
    return frozenset(sign for font in fonts for sign in font.get_charmap())


@cache
def _warn(shown: str) -> None:
    """Once a name and process."""
    _log.warning(
        "figures have %s in place of a name with signs that no font here has; install one, such as Noto Sans CJK", shown
    )
