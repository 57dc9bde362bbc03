import base64
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.image import imsave
from rich.console import Console

from rankseg_med.report.as_html import as_html
from rankseg_med.report.as_markdown import as_markdown, tables_as_markdown
from rankseg_med.report.as_terminal import as_terminal
from rankseg_med.report.document import Document, Picture, TextTable

EVIL = "<script>alert(1)</script>|`x`"


@pytest.fixture
def document(tmp_path):
    path = tmp_path / "pictures" / "case 1.png"
    path.parent.mkdir()
    imsave(path, np.eye(3))
    table = TextTable("Scores", ("region", "setting", "Dice\nmean"), (("a", EVIL, "0.5"), ("b", "", "-")), note="n = 2")
    return Document("Title", "Use it.", (table,), (Picture(path, "case 1"),), ("a note",))


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.texts.append(data)


def test_page_is_one_file(document):
    text = as_html(document)
    page = Page(text)
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe"})
    assert "http" not in text
    (source,) = (attributes["src"] for tag, attributes in page.tags if tag == "img")
    kind, data = source.split(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(data) == document.pictures[0].path.read_bytes()


def test_page_says_everything(document):
    page = Page(as_html(document))
    for said in ("Title", "Use it.", "Scores", "region", EVIL, "0.5", "n = 2", "case 1", "a note"):
        assert said in page.texts
    assert [tag for tag, _ in page.tags].count("td") == 6
    assert [attributes.get("class") for tag, attributes in page.tags if tag == "th"] == [None, None, "number"]


def test_markdown(document, tmp_path):
    lines = as_markdown(document, tmp_path).splitlines()
    assert lines[0] == "# Title"
    assert "**Use it.**" in lines
    assert "| region | setting | Dice mean |" in lines
    assert "| --- | --- | ---: |" in lines
    assert r"| a | \<script\>alert(1)\</script\>\|\`x\` | 0.5 |" in lines
    assert "![case 1](pictures/case%201.png)" in lines
    assert lines[-1] == "- a note"


def test_names_are_no_entities_and_not_struck_out():
    table = TextTable("t", ("name", "n"), (("&lt; ~~old~~", "1"),), numbers_from=1)
    assert r"| \&lt; \~\~old\~\~ | 1 |" in tables_as_markdown([table])


def test_tables_alone(document, tmp_path):
    tables = tables_as_markdown([*document.tables, TextTable("More", ("a", "b"), (), numbers_from=1)])
    assert tables.splitlines()[0] == "## Scores"
    assert tables.endswith("\n\nn = 2\n\n## More\n\n| a | b |\n| --- | ---: |\n")
    # As they are in the whole.
    assert tables_as_markdown(document.tables).strip() in as_markdown(document, tmp_path)


def test_terminal(document):
    console = Console(width=80, record=True, quiet=False)
    with console.capture() as captured:
        console.print(as_terminal(document.tables[0]))
    for said in ("Scores", EVIL, "0.5", "n = 2"):
        assert said in captured.get()


def test_rows_of_another_length_are_refused():
    with pytest.raises(ValueError, match="every row must have 2 cells"):
        TextTable("x", ("a", "b"), (("1",),))
