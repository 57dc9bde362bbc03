"""The documentation site: built whole, without a warning, its notebooks executed, and nothing fetched to read it."""

import os
import re
import subprocess
import sys

import pytest

import rankseg_med
from tests.conftest import REPOSITORY

DOCS = REPOSITORY / "docs"

# What a page loads by itself; links that a reader may follow are none of it.
_LOADED = re.compile(r"""<(?:script|img|iframe)[^>]+src=["'](?:https?:)?//|<link[^>]+rel=["']stylesheet["'][^>]+//""")


def build(site, **environment):
    """The site's pages, path to HTML; a warning, such as of a link that leads nowhere, fails."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", site]
    environment |= {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=REPOSITORY, env={**os.environ, **environment}, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return {str(path.relative_to(site)): path.read_text(encoding="utf-8") for path in site.rglob("*.html")}


def test_the_site(tmp_path):
    """All but the notebooks' outputs; one test, since building takes most of the time, and processes share nothing."""
    pages = build(tmp_path, EXECUTE_NOTEBOOKS="false")
    assert {str(path.relative_to(DOCS).with_suffix(".html")) for path in DOCS.rglob("*.md")} <= pages.keys()
    files_that_pages_link_to_come_with_it(pages)
    the_reference_is_made_of_docstrings_and_help(pages)
    nothing_is_fetched_to_read_it(
        pages | {str(path): path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.css")}
    )


def files_that_pages_link_to_come_with_it(pages):
    assert 'href="../benchmarks/RESULTS.html"' in pages["how_to/monai.html"]
    assert "Every way to decode, on real images" in pages["benchmarks/RESULTS.html"]
    assert "GainRule" in pages["rankseg_med/decode/ascent.py.html"]
    # In the repository it lies beside docs/, on the site where docs/ itself is.
    assert 'href="networks.html"' in pages["CHANGELOG.html"]


def the_reference_is_made_of_docstrings_and_help(pages):
    assert 'id="rankseg_med.decode.RankSEGDecoder.decode"' in pages["reference/decode.html"]
    assert "Label map with the highest expected Dice or IoU." in pages["reference/decode.html"]
    assert "--study-timeout" in pages["reference/commands.html"]
    assert "<math" in pages["reference/mathematics.html"]


@pytest.mark.slow
def test_notebooks_are_executed(tmp_path):
    pages = build(tmp_path)
    assert "RankSEG: Dice of organ and tumour 0.9" in pages["notebooks/compose.html"]
    assert "data:image/png;base64," in pages["notebooks/compose.html"]
    assert re.search(r"(Use the|Do not decode).*?cases", pages["notebooks/tune_and_ab.html"])


def nothing_is_fetched_to_read_it(texts):
    for path, text in texts.items():
        assert not _LOADED.search(text), path
        assert "@import url" not in text, path
        assert "fonts.googleapis" not in text, path
        # A script would have to draw it.
        assert 'class="arithmatex"' not in text, path


def test_the_page_of_the_package_names_all_that_it_has():
    page = (DOCS / "reference" / "package.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\[`(\w+)`\]\[rankseg_med\.", page)) == set(rankseg_med.__all__)


def test_every_room_has_a_page():
    rooms = {path.parent.name for path in (REPOSITORY / "rankseg_med").glob("*/__init__.py")} - {"cli"}
    assert {path.stem for path in (DOCS / "reference").glob("*.md")} == rooms | {"mathematics", "package"}
