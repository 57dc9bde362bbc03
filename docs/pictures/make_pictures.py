"""The documentation's pictures: of the demo, and of a report, made anew of phantoms and photographed in Chromium.

    python docs/pictures/make_pictures.py docs/images

Needs Playwright (extra ``dev``) and a Chromium of the system: ``apt-get install chromium``.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageChops, ImageOps
from playwright.sync_api import FloatRect, Locator, Page, ViewportSize, sync_playwright

from rankseg_med.demo import make_phantom, write_phantom

STUDIES = 8
# WebGL 2 without a graphics card; and root, as in a container, has no sandbox.
SWITCHES = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox")
# All columns of the table fit in.
WINDOW = ViewportSize(width=1480, height=900)
# Of the worst studies the one that is opened: the first two have next to no tumour.
OPENED = 2
WHITE = (255, 255, 255)
FIGURES = {
    "demo_overlay.png": "demo/overlays/oblique.png",
    "report_box_plot.png": "figures/box-dice.png",
    "report_risk_coverage.png": "figures/risk-coverage-dice.png",
}


def main() -> None:
    """Make all pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="folder of the pictures")
    output = parser.parse_args().output
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        parser.error("needs Chromium, such as Debian's: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        work = Path(folder)
        run("demo --device cpu --output demo", work)
        make_report(work)
        for name, figure in FIGURES.items():
            picture = Image.open(work / figure)
            picture.thumbnail((700, 700))
            save(picture, output / name)
        browser = driver.chromium.launch(executable_path=chromium, args=SWITCHES)
        page = browser.new_page(viewport=WINDOW, color_scheme="light")
        photograph(page, work / "labels" / "report.html", output)
        browser.close()


def make_report(work: Path) -> None:
    """What a user does: predict, evaluate, report. One study is damaged, and so the first ends with exit code 1."""
    images, labels = work / "images", work / "references"
    for number in range(STUDIES):
        phantom = make_phantom(500 + number, shape=(112, 112, 72), spacing_mm=(2.6, 2.6, 3.6))
        write_phantom(phantom, images / f"case_{number}.nii.gz", labels / f"case_{number}.nii.gz")
    whole = (images / "case_0.nii.gz").read_bytes()
    (images / f"case_{STUDIES}.nii.gz").write_bytes(whole[: len(whole) // 2])
    run("predict images --config demo --checkpoint demo --device cpu --output labels", work, code=1)
    run("evaluate labels references --metrics dice --output scores", work)
    run("report labels --scores scores --figures figures", work)


def run(command: str, work: Path, *, code: int = 0) -> None:
    """A command of ours, in a folder."""
    ended = subprocess.run([sys.executable, "-m", "rankseg_med", *command.split()], cwd=work)
    if ended.returncode != code:
        sys.exit(f"rankseg-med {command}: must end with exit code {code}, got {ended.returncode}")


def photograph(page: Page, report: Path, output: Path) -> None:
    """The page's beginning, the table, and a study's slices and 3-D view."""
    page.goto(report.as_uri())
    page.wait_for_selector("#studies tbody tr")
    page.evaluate("() => Promise.all([...document.images].map(image => image.decode()))")
    # Rows that would show this machine.
    for fact in ("run (run.json)", "folder"):
        page.locator(f"main dt:text-is('{fact}')").evaluate("row => { row.nextSibling.remove(); row.remove(); }")
    worst = page.locator(".gallery").first
    save(trimmed(up_to(page, worst.locator("figure").first)), output / "report_top.png")
    save(trimmed(page.locator("#studies").screenshot()), output / "report_table.png")
    worst.locator("button").nth(OPENED).click()
    page.wait_for_selector("canvas[data-ready]")
    save(trimmed(page.locator("dialog .gallery").screenshot()), output / "report_slices.png")
    save(trimmed(page.locator("#viewer").screenshot()), output / "report_viewer.png")


def up_to(page: Page, last: Locator) -> bytes:
    """The page from its top, and a little beyond an element."""
    box = last.bounding_box()
    assert box is not None, "it is shown"
    area = FloatRect(x=0, y=0, width=WINDOW["width"], height=box["y"] + box["height"] + 10)
    return page.screenshot(full_page=True, clip=area)


def trimmed(screenshot: bytes) -> Image.Image:
    """With narrow margins, whatever white was around it."""
    picture = Image.open(io.BytesIO(screenshot)).convert("RGB")
    inked = ImageChops.difference(picture, Image.new("RGB", picture.size, WHITE)).getbbox()
    return ImageOps.expand(picture.crop(inked), border=8, fill=WHITE)


def save(picture: Image.Image, path: Path) -> None:
    """As PNG of 256 colours, a third as large."""
    picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main()
