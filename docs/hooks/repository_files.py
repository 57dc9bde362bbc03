"""Files outside docs/ that pages link to come with the site, so that links are right here and on a code host alike."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from posixpath import dirname, normpath, relpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

REPOSITORY = Path(__file__).resolve().parents[2]

_LINK = re.compile(r"(?<=\]\()(?P<path>[^)\s:#]+)(?P<anchor>#[^)\s]*)?(?=\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is linked to: Markdown as pages, in the navigation if it names them, other files as listings."""
    waiting = [f"docs/{file.src_uri}" for file in files.documentation_pages()]
    waiting += [path for path in _named(config.nav) if not (REPOSITORY / "docs" / path).exists()]
    done: set[str] = set()
    while waiting:
        path = waiting.pop()
        if path in done or not (REPOSITORY / path).is_file():
            continue  # a link that leads nowhere is mkdocs' to complain about
        done.add(path)
        text = (REPOSITORY / path).read_text(encoding="utf-8")
        if not path.startswith("docs/"):
            inclusion = InclusionLevel.INCLUDED if path in _named(config.nav) else InclusionLevel.NOT_IN_NAV
            files.append(File.generated(config, uri_of(path), content=_as_page(path, text), inclusion=inclusion))
        if path.endswith(".md"):
            waiting += [
                target for link in _LINK.finditer(text) if not (target := _target(path, link)).startswith("docs/")
            ]
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links lead to where the files lie on the site."""
    uri = page.file.src_uri
    path = uri if page.file.generated_by else f"docs/{uri}"

    def led(link: re.Match[str]) -> str:
        target = _target(path, link)
        if not (REPOSITORY / target).is_file():
            return link[0]
        return relpath(uri_of(target), dirname(uri) or ".") + (link["anchor"] or "")

    return _LINK.sub(led, markdown)


def uri_of(path: str) -> str:
    """Where on the site a file of the repository lies; its path from the root, but for docs/, which is the root."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return path if path.endswith(".md") else f"{path}.md"


def _target(path: str, link: re.Match[str]) -> str:
    return normpath(f"{dirname(path)}/{link['path']}").removeprefix("/")


def _as_page(path: str, text: str) -> str:
    if path.endswith(".md"):
        return text
    return f'# {Path(path).name}\n\n````{Path(path).suffix[1:] or "text"} title="{path}"\n{text}\n````\n'


def _named(nav: object) -> Iterator[str]:
    """Every path that the navigation names."""
    if isinstance(nav, str):
        yield nav
    elif isinstance(nav, dict | list):
        for part in nav.values() if isinstance(nav, dict) else nav:
            yield from _named(part)
