"""Names in figures, with and without a font that has their signs."""

import warnings

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import rcParams
from matplotlib.font_manager import fontManager
from matplotlib.image import imread

from rankseg_med.report import save_box_plots
from rankseg_med.report.figure_text import figure_text, legible

SCORES = np.array([0.2, 0.9, 0.8])


@pytest.fixture
def only_dejavu(monkeypatch):
    """Whatever this computer has."""
    monkeypatch.setattr(fontManager, "ttflist", [font for font in fontManager.ttflist if "DejaVu" in font.name])


@pytest.fixture
def with_chinese(only_dejavu, tmp_path):
    """A font by the name of one that has Chinese, with two signs, both filled squares."""
    builder = FontBuilder(1000, isTTF=True)
    names = [".notdef", "one", "two"]
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord("肿"): "one", ord("瘤"): "two"})
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 900), (900, 900), (900, 0)):
        pen.lineTo(corner)
    pen.closePath()
    square = pen.glyph()
    builder.setupGlyf(dict.fromkeys(names, square))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": "Noto Sans CJK SC", "styleName": "Regular", "psName": "Chinese"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(tmp_path / "chinese.ttf")
    fontManager.addfont(tmp_path / "chinese.ttf")
    yield
    # What was found in the font that is gone now.
    fontManager._findfont_cached.cache_clear()


@pytest.mark.usefixtures("only_dejavu")
def test_signs_that_no_font_has_are_escaped(caplog):
    # DejaVu has Latin, Greek, Cyrillic and Arabic.
    for name in ("tumour $x$", "Läsion & <b>", "όγκος", "опухоль", "ورم"):
        assert legible(name) == name
    assert not caplog.records
    assert legible("肿瘤 1") == r"\u80bf\u7624 1"
    assert "Noto Sans CJK" in caplog.text
    assert legible("a\tb\udc80") == r"a\tb\udc80"


@pytest.mark.usefixtures("only_dejavu")
def test_no_name_gives_a_box(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_box_plots(tmp_path / "box.png", {"肿瘤": SCORES, "瘤肿": SCORES}, axis="Dice")


@pytest.mark.usefixtures("with_chinese")
def test_a_font_of_the_system_is_used(tmp_path):
    assert legible("肿瘤 tumour") == "肿瘤 tumour"
    with figure_text():
        assert rcParams["font.family"] == ["DejaVu Sans", "Noto Sans CJK SC"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for ending in ("png", "pdf"):
            save_box_plots(tmp_path / f"box.{ending}", {"肿瘤": SCORES}, axis="Dice")
    # Two squares of 10 points at 200 dots per inch, side by side, are darker than any letter.
    below = imread(tmp_path / "box.png")[-90:, :, 0] < 0.5
    assert below.sum(axis=1).max() > 40
    assert b"Chinese" in (tmp_path / "box.pdf").read_bytes()


@pytest.mark.usefixtures("only_dejavu")
def test_names_are_no_formulas():
    with figure_text():
        assert not rcParams["text.parse_math"]
