"""The documentation's pictures: small, shown somewhere, and made anew by their script."""

import os
import re
import shutil
import subprocess
import sys

import pytest
from PIL import Image

from tests.conftest import REPOSITORY
from tests.docs.blocks import pages, text_of

PICTURES = REPOSITORY / "docs" / "images"


def test_pictures_are_small_and_shown():
    shown = {name for page in pages() for name in re.findall(r"images/(\w+\.png)\)", text_of(page))}
    assert {path.name for path in PICTURES.iterdir()} == shown
    for path in PICTURES.iterdir():
        assert path.stat().st_size < 200_000, path.name


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("chromium") is None, reason="needs Chromium, such as Debian's: apt-get install chromium"
)
def test_they_are_made_anew(tmp_path):
    pytest.importorskip("playwright")
    script = REPOSITORY / "docs" / "pictures" / "make_pictures.py"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    subprocess.run([sys.executable, script, tmp_path], check=True, env=environment)
    made = {path.name: Image.open(path) for path in tmp_path.glob("*.png")}
    assert made.keys() == {path.name for path in PICTURES.iterdir()}
    # The viewer's canvas has grey values and two colours.
    assert len(made["report_viewer.png"].convert("RGB").getcolors()) > 100
