"""Fenced blocks of the README and of the pages under docs/."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.conftest import REPOSITORY

_LINE = re.compile(r"^(?P<fence>`{3,})(?P<language>\w*).*$|^#+ (?P<heading>.+)$")


@dataclass(frozen=True)
class Block:
    """What stands between two fences.

    Attributes:
        page: path from docs/, or ``README.md``.
        heading: the one that it stands below.
        language: empty, if the fence names none.
        text: with the newline at its end.
    """

    page: str
    heading: str
    language: str
    text: str

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.page}, {self.heading}: {self.text.splitlines()[0]}"


def text_of(page: str) -> str:
    folder = REPOSITORY if page == "README.md" else REPOSITORY / "docs"
    return (folder / page).read_text(encoding="utf-8")


def pages() -> list[str]:
    docs = REPOSITORY / "docs"
    return ["README.md", *sorted(path.relative_to(docs).as_posix() for path in docs.rglob("*.md"))]


def blocks_of(page: str) -> Iterator[Block]:
    """In their order on the page."""
    heading = language = ""
    fence, inside = None, []
    for line in text_of(page).splitlines():
        found = _LINE.match(line)
        if fence is not None and line == fence:
            yield Block(page, heading, language, "".join(inside))
            fence = None
        elif fence is not None:
            inside.append(f"{line}\n")
        elif found and found["fence"]:
            fence, language, inside = found["fence"], found["language"], []
        elif found:
            heading = found["heading"]
    assert fence is None, f"{page}: a block is not closed"
