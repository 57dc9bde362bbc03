"""A page about many studies that opens from disk: one file, or with files beside it where it would be too large."""

from __future__ import annotations

import base64
import json
import math
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any
from uuid import uuid4

from rankseg_med.report.document import TextTable
from rankseg_med.report.page_content import CITATION, PageContent, StudyEntry, StudyPictures
from rankseg_med.studies import atomic_folder, write_text

# Of pictures and volumes in the page itself: with NiiVue (2.3 MB) and the table of studies it stays under 15 MB.
_MOST_INLINE_BYTES = 10_000_000
_ASSETS = files("rankseg_med.report") / "assets"


def write_page(content: PageContent, pictures: Iterable[StudyPictures], path: Path) -> None:
    """Write a page that needs no network and no server, whole or not at all.

    Pictures and volumes are within the page, or, if they would make it larger than 15 MB, in a folder beside it that
    is named after it: ``report-files-<8 digits>``. It is new each time, so that a page never meets files of another;
    those that were there before are removed once the new page is in place, and none of a page that is being written at
    the same time.

    Args:
        content: What it says.
        pictures: Of each study, in the order of the studies; taken one by one, so that only one is in memory.
        path: Page to write, ending in ``.html``; an existing one is replaced.

    Raises:
        OSError: It cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside, earlier = path.with_name(f"{path.stem}-files-{uuid4().hex[:8]}"), _folders_of(path)
    with _removed_on_error(beside):
        with atomic_folder(beside) as folder:
            studies = [
                _study(entry, drawn, f"{number:05d}", folder)
                for number, (entry, drawn) in enumerate(zip(content.studies, pictures, strict=True), start=1)
            ]
        inline = _inlined(beside)
        if inline is not None:
            shutil.rmtree(beside)
        facts = {**_facts(content), "studies": studies, "folder": beside.name}
        write_text(_page(content.title, facts, inline or {}), path)
    for folder in earlier:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _removed_on_error(folder: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _folders_of(path: Path) -> list[Path]:
    name = re.compile(re.escape(path.stem) + r"-files-[0-9a-f]{8}")
    return [folder for folder in path.parent.iterdir() if name.fullmatch(folder.name) and folder.is_dir()]


def _study(entry: StudyEntry, drawn: StudyPictures, name: str, folder: Path) -> dict[str, Any]:
    """A study as the page's script reads it; pictures and volumes go to files."""
    slices = []
    for number, picture in enumerate(drawn.slices, start=1):
        file = folder / f"{name}-{number}.jpg"
        file.write_bytes(picture.jpeg)
        slices.append({"file": file.name, "caption": picture.caption})
    volumes = None
    if drawn.volumes is not None:
        volumes = f"{name}.js"
        # Scripts may be loaded from disk where nothing else may.
        script = f"receiveVolumes({json.dumps(volumes)}, {_json(drawn.volumes)});\n"
        (folder / volumes).write_text(script, encoding="utf-8")
    return {
        "id": entry.case_id,
        "status": entry.status,
        "reason": entry.reason,
        "values": {
            heading: [_finite(value.value), *map(_finite, value.interval or ())]
            for heading, value in entry.values.items()
        },
        "score": _finite(entry.score),
        "certainty": _finite(entry.certainty),
        "facts": entry.facts,
        "notes": [*entry.notes, *drawn.notes],
        "slices": slices,
        "volumes": volumes,
    }


def _inlined(folder: Path) -> dict[str, str] | None:
    """File name to what the page has in its place; None if that is too much."""
    paths = sorted(folder.iterdir())
    if sum(path.stat().st_size * (4 / 3 if path.suffix == ".jpg" else 1) for path in paths) > _MOST_INLINE_BYTES:
        return None
    return {
        path.name: path.read_text(encoding="utf-8")
        if path.suffix == ".js"
        else f"data:image/jpeg;base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
        for path in paths
    }


def _facts(content: PageContent) -> dict[str, Any]:
    return {
        "title": content.title,
        "summary": content.summary,
        "columns": [
            {"heading": column.heading, "digits": column.digits, "higherIsBetter": column.higher_is_better}
            for column in content.columns
        ],
        "tables": [_table(table) for table in content.tables],
        "problems": content.problems,
        "settings": content.settings,
        "versions": content.versions,
        "ranking": content.ranking,
        "notes": content.notes,
        "citation": CITATION,
    }


def _table(table: TextTable) -> dict[str, Any]:
    return {
        "title": table.title,
        "headings": table.headings,
        "rows": table.rows,
        "numbersFrom": table.numbers_from,
        "note": table.note,
    }


def _page(title: str, facts: Mapping[str, Any], inline: Mapping[str, str]) -> str:
    scripts = {name: value for name, value in inline.items() if name.endswith(".js")}
    images = {name: value for name, value in inline.items() if not name.endswith(".js")}
    parts = {
        "TITLE": title.replace("&", "&amp;").replace("<", "&lt;"),
        "STYLE": _asset("report.css"),
        "FACTS": _json(facts),
        "IMAGES": _json(images),
        "NIIVUE": _asset("niivue.umd.js"),
        "SCRIPT": "\n".join(map(_asset, ("elements.js", "charts.js", "table.js", "viewer.js", "report.js"))),
        # Each is JSON in a call: no markup can be in it.
        "VOLUMES": "".join(scripts.values()),
    }
    # In one pass, since what is put in may hold anything.
    return re.sub(r"\{\{([A-Z]+)\}\}", lambda match: parts[match[1]], _asset("report.html"))


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


def _json(content: object) -> str:
    """JSON that may stand within a script: no text in it can end the script or begin a comment."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _finite(value: float | None) -> float | str | None:
    """JSON has no word for an infinite number; undefined is not known."""
    if value is None or math.isnan(value):
        return None
    return value if math.isfinite(value) else ("∞" if value > 0 else "-∞")
