"""What HTML reads in a page that was written."""

import json
from html.parser import HTMLParser


class Scripts(HTMLParser):
    """What HTML takes for scripts, which is where data would break out."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[dict, str]] = []
        self.other_text: list[str] = []
        self.inside = False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.inside = tag == "script"
        if self.inside:
            self.found.append((dict(attributes), ""))

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        if self.inside:
            attributes, before = self.found[-1]
            self.found[-1] = attributes, before + data
        else:
            self.other_text.append(data)


def facts_in(path) -> dict:
    scripts = Scripts(path.read_text(encoding="utf-8")).found
    (facts,) = (text for attributes, text in scripts if attributes.get("id") == "facts")
    return json.loads(facts)
