"""The page as a file; what a browser makes of it is in test_page_in_browser."""

import math
import re

import pytest

from rankseg_med.report import Column, PageContent, SlicePicture, StudyEntry, StudyPictures, Value, write_page
from rankseg_med.report import page as page_module
from tests.report.written_page import Scripts, facts_in

NASTY = "</script><script>alert(1)</script><!-- \"'& Läsion 肿瘤 \u2028"


def content(*studies: StudyEntry, **more) -> PageContent:
    return PageContent("A report", (("studies", str(len(studies))),), (Column("Dice", 4, True),), studies, **more)


def test_what_is_given_is_what_the_page_has(tmp_path):
    study = StudyEntry(
        "a", "done", values={"Dice": Value(0.9, (0.8, 0.95))}, score=0.9, facts=(("image", "a.nii"),), notes=("n",)
    )
    write_page(content(study), [StudyPictures(notes=("no picture",))], tmp_path / "report.html")
    facts = facts_in(tmp_path / "report.html")
    (found,) = facts["studies"]
    assert found["values"] == {"Dice": [0.9, 0.8, 0.95]}
    assert (found["score"], found["certainty"], found["volumes"]) == (0.9, None, None)
    assert found["notes"] == ["n", "no picture"]
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_numbers_that_json_has_no_word_for(tmp_path):
    values = {"Dice": Value(math.nan), "other": Value(math.inf, (-math.inf, 1.0))}
    write_page(content(StudyEntry("a", "done", values=values)), [StudyPictures()], tmp_path / "report.html")
    (found,) = facts_in(tmp_path / "report.html")["studies"]
    assert found["values"] == {"Dice": [None], "other": ["∞", "-∞", 1.0]}


def test_no_text_from_outside_can_leave_the_data(tmp_path):
    study = StudyEntry(NASTY, NASTY, NASTY, {"Dice": Value(1.0)}, facts=((NASTY, NASTY),), notes=(NASTY,))
    given = content(study, problems=(NASTY,), settings=((NASTY, NASTY),), notes=(NASTY,))
    drawn = StudyPictures((SlicePicture(NASTY, b"jpeg"),), {"volumes": [], "classes": [{"name": NASTY}]})
    write_page(given, [drawn], tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    clean = tmp_path / "clean.html"
    write_page(content(StudyEntry("a", "done")), [StudyPictures()], clean)
    parsed, expected = Scripts(text), Scripts(clean.read_text(encoding="utf-8"))
    assert [attributes for attributes, _ in parsed.found] == [attributes for attributes, _ in expected.found]
    assert not any("alert(1)" in text for text in parsed.other_text)
    assert facts_in(tmp_path / "report.html")["studies"][0]["id"] == NASTY


def test_a_title_is_text(tmp_path):
    given = PageContent("</title><script>alert(1)</script>", (), (), ())
    write_page(given, [], tmp_path / "report.html")
    assert "</title><script>" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_nothing_is_loaded_from_elsewhere(tmp_path):
    write_page(content(), [], tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    assert "default-src 'none'" in policy
    assert "http" not in policy
    assert not re.findall(r"<(?:link|img|iframe)\b", text.split("<script", 1)[0])
    assert "src" not in {name for attributes, _ in Scripts(text).found for name in attributes}


@pytest.fixture
def few_inline(monkeypatch):
    monkeypatch.setattr(page_module, "_MOST_INLINE_BYTES", 1000)


PICTURES = StudyPictures((SlicePicture("one", b"\xff\xd8one"),), {"volumes": [], "classes": []})


def test_small_pages_are_one_file(tmp_path):
    write_page(content(StudyEntry("a", "done")), [PICTURES], tmp_path / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "data:image/jpeg;base64,/9hvbmU=" in text  # the four bytes above
    assert 'receiveVolumes("00001.js"' in text


def test_large_pages_have_a_folder_beside_them(tmp_path, few_inline):
    studies = [StudyEntry(f"case{number}", "done") for number in range(40)]
    write_page(content(*studies), [PICTURES] * 40, tmp_path / "report.html")
    facts = facts_in(tmp_path / "report.html")
    folder = tmp_path / facts["folder"]
    assert {path.name for path in tmp_path.iterdir()} == {"report.html", folder.name}
    names = [name for study in facts["studies"] for name in (study["slices"][0]["file"], study["volumes"])]
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    assert (folder / names[0]).read_bytes() == b"\xff\xd8one"
    assert (folder / names[1]).read_text() == 'receiveVolumes("00001.js", {"volumes": [], "classes": []});\n'


def test_the_files_of_a_page_that_is_written_meanwhile_stay(tmp_path, few_inline):
    """Two shards that end at the same time: whichever page is there last has its files."""
    studies = [StudyEntry(f"case{number}", "done") for number in range(40)]

    def another_is_written():
        (tmp_path / "report-files-0123abcd").mkdir()
        yield from [PICTURES] * 40

    write_page(content(*studies), another_is_written(), tmp_path / "report.html")
    assert (tmp_path / "report-files-0123abcd").is_dir()


def test_a_new_page_takes_the_old_ones_folder_away_and_no_other(tmp_path, few_inline):
    studies = [StudyEntry(f"case{number}", "done") for number in range(40)]
    others = [tmp_path / "report-files-mine", tmp_path / "other-files-0123abcd", tmp_path / "report-files-0123abcd.bak"]
    for folder in others:
        folder.mkdir()
    for _ in range(2):
        write_page(content(*studies), [PICTURES] * 40, tmp_path / "report.html")
    folder = facts_in(tmp_path / "report.html")["folder"]
    assert {path.name for path in tmp_path.iterdir()} == {"report.html", folder, *(path.name for path in others)}


def test_an_error_leaves_the_old_page_as_it_was(tmp_path, few_inline):
    write_page(content(StudyEntry("a", "done")), [PICTURES], tmp_path / "report.html")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}

    def failing():
        yield PICTURES
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        write_page(content(StudyEntry("a", "done"), StudyEntry("b", "done")), failing(), tmp_path / "report.html")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
