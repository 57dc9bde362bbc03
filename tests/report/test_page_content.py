import yaml

from rankseg_med.report.page_content import CITATION
from tests.conftest import REPOSITORY


def test_what_the_repository_asks_to_cite_is_cited():
    asked = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))["references"]
    for work in asked:
        (cited,) = (text for text in CITATION if work["title"].rstrip(".") in text)
        assert str(work["year"]) in cited
        assert all(author["family-names"] in cited for author in work["authors"])
