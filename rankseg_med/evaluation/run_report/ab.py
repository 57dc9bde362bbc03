"""What a report says of the folder that ab writes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rankseg_med import __version__
from rankseg_med.evaluation.run_report.records import read_scores
from rankseg_med.metrics import find_metric
from rankseg_med.report import Column, PageContent, StudyEntry, StudyPictures, Value, picture_of
from rankseg_med.runs import now
from rankseg_med.studies import StudyError


def ab_content(folder: Path) -> PageContent:
    """The page's content: each study's score with every setting, and what ab concluded.

    Raises:
        StudyError: The folder is not what ab writes.
    """
    file = folder / "ab.json"
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        metric, failures = found["metric"], found["failures"]
        verdict, notes, package = found["verdict"]["sentence"], found["notes"], found["package_version"]
        structures = tuple(found["structures"])
        settings = sorted({change["setting"] for change in found["changes"]})
    except (ValueError, KeyError, TypeError) as error:
        raise StudyError(f"{file}: must be what ab writes ({error}); run ab again") from error
    names = ["argmax", *(setting for setting in settings if setting != "argmax")]
    scores = {name: read_scores(folder / "scores" / name / "scores.csv")[0] for name in names}
    case_ids = sorted({*failures, *(case_id for cases in scores.values() for case_id in cases)})
    heading = find_metric(metric).heading
    columns = [
        Column(f"{structure}: {heading}, {name}", 4, find_metric(metric).higher_is_better)
        for structure in structures
        for name in names
    ]
    return PageContent(
        title=f"Report on {folder.resolve().name}",
        summary=(
            ("verdict", verdict),
            ("studies", f"{len(case_ids)}: {len(failures)} failed"),
            ("settings", ", ".join(names)),
            ("folder", str(folder.resolve())),
            ("report", f"{now()}, rankseg_med {__version__}"),
        ),
        columns=tuple(columns),
        studies=tuple(_entry(case_id, scores, structures, metric, failures) for case_id in case_ids),
        versions=(("rankseg_med", package),),
        ranking=f"Worst: lowest mean {heading} by argmax over structures.",
        notes=(
            *notes,
            "ab keeps no label maps: there are pictures of the studies alone that a setting makes worse, and no 3-D "
            "views. All tables are in ab.html.",
        ),
    )


def _entry(
    case_id: str,
    scores: Mapping[str, Mapping[str, Mapping[str, Mapping[str, float]]]],
    structures: tuple[str, ...],
    metric: str,
    failures: Mapping[str, Any],
) -> StudyEntry:
    heading = find_metric(metric).heading
    values = {
        f"{structure}: {heading}, {name}": Value(cases[case_id][structure][metric])
        for name, cases in scores.items()
        for structure in structures
        if structure in cases.get(case_id, {})
    }
    of_argmax = [region[metric] for region in scores["argmax"].get(case_id, {}).values()]
    defined = [score for score in of_argmax if math.isfinite(score)]
    reason = str(failures.get(case_id, ""))
    score = sum(defined) / len(defined) if defined else None
    return StudyEntry(case_id, "failed" if reason else "done", reason, values, score=score)


def ab_pictures(folder: Path, content: PageContent) -> Iterator[StudyPictures]:
    """Of each study the picture that ab drew of it, if it did."""
    for study in content.studies:
        path = folder / "pictures" / f"{study.case_id}.png"
        caption = "The reference and every setting"
        yield StudyPictures((picture_of(path, caption),)) if path.is_file() else StudyPictures()
