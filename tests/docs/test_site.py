"""The documentation site: built whole, without a warning, its notebooks executed, and nothing fetched to read it."""

import os
import re
import subprocess
import sys

import pytest

import rankseg_med
from tests.conftest import REPOSITORY

# What a page loads by itself; links that a reader may follow are none of it.
_LOADED = re.compile(r"""<(?:script|img|iframe)[^>]+src=["'](?:https?:)?//|<link[^>]+rel=["']stylesheet["'][^>]+//""")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return folder


def test_every_page_is_there(site):
    for path in (REPOSITORY / "docs").rglob("*.md"):
        assert (site / path.relative_to(REPOSITORY / "docs").with_suffix(".html")).is_file(), path


def test_files_that_pages_link_to_come_with_it(site):
    assert 'href="../benchmarks/RESULTS.html"' in (site / "how_to" / "monai.html").read_text()
    assert "Every way to decode, on real images" in (site / "benchmarks" / "RESULTS.html").read_text()
    assert 'href="docs/' not in (site / "CHANGELOG.html").read_text()
    assert "GainRule" in (site / "rankseg_med" / "decode" / "ascent.py.html").read_text()


def test_the_reference_is_made_of_docstrings(site):
    page = (site / "reference" / "decode.html").read_text()
    assert 'id="rankseg_med.decode.RankSEGDecoder.decode"' in page
    assert "Label map with the highest expected Dice or IoU." in page
    commands = (site / "reference" / "commands.html").read_text()
    assert "--study-timeout" in commands


def test_the_page_of_the_package_names_all_that_it_has():
    page = (REPOSITORY / "docs" / "reference" / "package.md").read_text()
    assert set(re.findall(r"\[`(\w+)`\]\[rankseg_med\.", page)) == set(rankseg_med.__all__) - {"__version__"}


def test_every_room_has_a_page():
    rooms = {path.parent.name for path in (REPOSITORY / "rankseg_med").glob("*/__init__.py")} - {"cli"}
    pages = {path.stem for path in (REPOSITORY / "docs" / "reference").glob("*.md")}
    assert pages == rooms | {"mathematics", "package"}


def test_formulas_need_no_script(site):
    page = (site / "reference" / "mathematics.html").read_text()
    assert "<math" in page
    assert not [path for path in site.rglob("*.html") if 'class="arithmatex"' in path.read_text()]


def test_notebooks_were_executed(site):
    compose, tune_and_ab = ((site / "notebooks" / f"{name}.html").read_text() for name in ("compose", "tune_and_ab"))
    assert "RankSEG: Dice of organ and tumour 0.9" in compose
    assert "data:image/png;base64," in compose
    assert re.search(r"(Use the|Do not decode).*?cases", tune_and_ab)


def test_nothing_is_fetched_to_read_it(site):
    pages = [*site.rglob("*.html"), *site.rglob("*.css")]
    assert len(pages) > 60
    assert not [path for path in pages if _LOADED.search(text := path.read_text()) or "@import url" in text]
    assert not [path for path in pages if "fonts.googleapis" in path.read_text()]
