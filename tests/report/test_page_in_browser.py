"""The page in a real browser, which is told what to do by Playwright; by what is there, not by its pixels."""

import io
import json
import shutil
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from rankseg_med.report import (
    Column,
    PageContent,
    SlicePicture,
    StudyEntry,
    StudyPictures,
    Value,
    telling_slices,
    view_study,
    viewer_volumes,
    write_page,
)
from rankseg_med.report import page as page_module

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, such as Debian's: apt-get install chromium"),
]
# WebGL 2 without a graphics card; and root, as in a container, has no sandbox.
SWITCHES = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox")
SECONDS = 1000

NASTY = "<script>window.wasRun = true</script> \"Läsion\" 'a' & 肿瘤"


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield started
        started.close()


@pytest.fixture
def opened(browser) -> Iterator:
    """Opens a page; whatever goes wrong in it, and any request but for files, fails the test."""
    faults = []
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    page.set_default_timeout(30 * SECONDS)
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: faults.append(request.url) if is_elsewhere(request.url) else None)

    def open_page(path):
        page.goto(path.as_uri())
        page.wait_for_selector("#studies tbody tr")
        return page

    yield open_page
    assert page.evaluate("window.wasRun") is None
    assert not faults
    page.close()


def is_elsewhere(address: str) -> bool:
    return not address.startswith(("file:", "data:", "blob:"))


def ids(page) -> list[str]:
    return page.locator("#studies tbody tr td:first-child").all_inner_texts()


@pytest.fixture
def study() -> StudyPictures:
    """A liver with two lesions, drawn and for the viewer."""
    labels = np.zeros((40, 30, 20), np.uint8)
    labels[5:35, 5:25, 3:17] = 1
    labels[8:10, 8:10, 8:10] = 2
    labels[20:26, 12:18, 9:13] = 2
    image = np.random.default_rng(0).normal(60, 20, labels.shape).astype(np.float32) + 40 * labels
    view = view_study(labels, np.diag([2.0, 2.0, 3.0, 1.0]), image, {"reference": np.roll(labels, 1, 0)})
    names = {1: "Leber", 2: NASTY}
    return StudyPictures(tuple(telling_slices(view, names)), viewer_volumes(view, names))


def write(path, pictures: StudyPictures, numbers=(0.5, None, 0.25, 0.75)) -> None:
    studies = [
        StudyEntry(
            f"case{index}",
            "failed" if number is None else "done",
            "" if number is not None else f"broken: {NASTY}",
            {} if number is None else {"Dice": Value(number, (number - 0.1, number + 0.1))},
            score=number,
            certainty=number,
        )
        for index, number in enumerate(numbers)
    ]
    studies.append(StudyEntry(NASTY, "done", values={"Dice": Value(0.1)}, notes=(NASTY,)))
    content = PageContent(
        NASTY,
        (("studies", "5"),),
        (Column("Dice", 2, True),),
        tuple(studies),
        problems=(NASTY,),
        settings=((NASTY, NASTY),),
        notes=(NASTY,),
    )
    write_page(content, [pictures] * len(studies), path)


def test_the_table_sorts_and_filters(opened, study, tmp_path):
    write(tmp_path / "Bericht ä 'q' #1%20.html", study)
    page = opened(tmp_path / "Bericht ä 'q' #1%20.html")
    assert ids(page) == ["case0", "case1", "case2", "case3", NASTY]
    page.click("th button:has-text('Dice')")
    # What is not known comes last, either way.
    assert ids(page) == [NASTY, "case2", "case0", "case3", "case1"]
    page.click("th button:has-text('Dice')")
    assert ids(page) == ["case3", "case0", "case2", NASTY, "case1"]
    page.select_option("select", "failed")
    assert ids(page) == ["case1"]
    page.select_option("select", "")
    page.fill("input[type=search]", "LÄSION")
    assert ids(page) == [NASTY, "case1"]
    assert page.locator("h1").inner_text() == NASTY
    assert NASTY in page.locator(".problem").first.inner_text()


def test_reasons_have_room_beside_many_columns(opened, tmp_path):
    columns = tuple(Column(f"a structure {number}: expected Dice", 4) for number in range(15))
    values = {column.heading: Value(0.5, (0.4, 0.6)) for column in columns}
    studies = (StudyEntry("a", "done", values=values), StudyEntry("b", "failed", "the reason, in some words " * 5))
    write_page(PageContent("A report", (), columns, studies), [StudyPictures()] * 2, tmp_path / "report.html")
    page = opened(tmp_path / "report.html")
    assert page.locator("#studies td.failed .note").bounding_box()["width"] >= 240


def test_the_worst_come_first_with_their_pictures(opened, study, tmp_path):
    write(tmp_path / "report.html", study)
    page = opened(tmp_path / "report.html")
    worst = page.locator(".gallery").first
    assert worst.locator("figcaption").all_inner_texts() == ["case2: 0.2500", "case0: 0.5000", "case3: 0.7500"]
    widths = worst.locator("img").evaluate_all("images => images.map(image => image.naturalWidth)")
    assert widths
    assert all(widths)
    assert page.locator(".charts svg rect").count() == 20


@pytest.mark.parametrize("most_inline", [10_000_000, pytest.param(0, marks=pytest.mark.slow)])
def test_a_study_opens_in_3d(opened, study, tmp_path, monkeypatch, most_inline):
    monkeypatch.setattr(page_module, "_MOST_INLINE_BYTES", most_inline)
    write(tmp_path / "Läsionen & mehr.html", study)
    assert len(list(tmp_path.glob("*-files-*"))) == (most_inline == 0)
    page = opened(tmp_path / "Läsionen & mehr.html")
    page.click("#studies tbody tr:nth-child(3) button")
    canvas = page.wait_for_selector("canvas[data-ready='3']")
    assert min(canvas.bounding_box()[side] for side in ("width", "height")) > 100
    assert page.locator(".classes").inner_text().count("ml") == 2
    assert NASTY in page.locator(".classes").inner_text()
    page.locator("input[aria-label='label map opacity']").fill("0.8")
    # Grey values and two colours, not one colour all over.
    drawn = Image.open(io.BytesIO(canvas.screenshot())).convert("RGB")
    assert len(drawn.getcolors(maxcolors=drawn.width * drawn.height)) > 100
    for number in range(2):
        page.locator(".classes button").nth(number).click()
    page.locator("input[aria-label='white at']").fill("200")
    page.select_option("select[aria-label=layout]", index=2)
    # Another one, after the first was closed.
    page.click("button.close")
    page.wait_for_selector("canvas", state="detached")
    page.click("#studies tbody tr:nth-child(1) button")
    page.wait_for_selector("canvas[data-ready='3']")


def test_the_largest_lesion_is_gone_to(opened, study, tmp_path):
    write(tmp_path / "report.html", study)
    page = opened(tmp_path / "report.html")
    page.evaluate(
        """() => {
            const attach = niivue.Niivue.prototype.attachToCanvas;
            niivue.Niivue.prototype.attachToCanvas = function (...given) {
                window.viewer = this;
                return attach.apply(this, given);
            };
        }"""
    )
    page.click("#studies tbody tr:first-child button")
    page.wait_for_selector("canvas[data-ready='3']")
    place = page.evaluate("Array.from(viewer.frac2mm(viewer.scene.crosshairPos)).slice(0, 3)")
    # Voxels 20 to 25, 12 to 17 and 9 to 12, of 2 x 2 x 3 mm.
    low, high = np.array([20, 12, 9]) * [2, 2, 3], np.array([25, 17, 12]) * [2, 2, 3]
    assert ((np.array(place) >= low - 0.5) & (np.array(place) <= high + 0.5)).all()


def test_files_that_were_left_behind(browser, study, tmp_path, monkeypatch):
    monkeypatch.setattr(page_module, "_MOST_INLINE_BYTES", 0)
    write(tmp_path / "report.html", study)
    shutil.rmtree(next(tmp_path.glob("report-files-*")))
    page = browser.new_page()
    page.goto((tmp_path / "report.html").as_uri())
    page.click("#studies tbody tr:first-child button")
    page.wait_for_selector("#viewer .problem")
    assert "must lie beside this page; copy both together" in page.locator("#viewer .problem").inner_text()
    page.close()


@pytest.mark.slow
def test_a_thousand_studies(opened, study, tmp_path):
    columns = tuple(Column(f"{name}: {what}", 4) for name in ("organ", "tumour") for what in ("ml", "expected", "Dice"))
    values = {column.heading: Value(0.5, (0.4, 0.6)) for column in columns}
    facts = (("image", "/data/images/some/where/case.nii.gz"), ("recorded", "2026-11-26T23:01:06+00:00 on node7:1"))
    studies = tuple(
        StudyEntry(f"case{n:04}", "done", values=values, score=n / 1000, certainty=n / 1000, facts=facts)
        for n in range(1000)
    )
    noise = np.random.default_rng(0).bytes(12_000)
    pictures = StudyPictures((*study.slices, SlicePicture("noise", noise)), study.volumes)
    write_page(PageContent("Many", (), columns, studies), (pictures for _ in studies), tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size < 15e6
    page = opened(tmp_path / "report.html")
    assert len(ids(page)) == 1000
    # From the first byte to the table, in milliseconds.
    timing = json.loads(page.evaluate("JSON.stringify(performance.getEntriesByType('navigation')[0])"))
    assert timing["loadEventEnd"] < 3 * SECONDS
    page.click("#studies tbody tr:nth-child(999) button")
    page.wait_for_selector("canvas[data-ready='3']")
