"""What a page about many studies says, before it is a page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rankseg_med.report.document import TextTable
from rankseg_med.report.slices import SlicePicture

CITATION = (
    'Dai and Li. "RankSEG: A Consistent Ranking-based Framework for Segmentation." Journal of Machine Learning '
    "Research 24(224), 2023.",
    'Wang and Dai. "RankSEG-RMA: An Efficient Segmentation Algorithm via Reciprocal Moment Approximation." Advances in '
    "Neural Information Processing Systems, 2025.",
    "rankseg_med, in the version above. Pictures in 3-D: NiiVue 0.69 (BSD-2-Clause licence).",
)
"""Works that results of this package rest on."""


@dataclass(frozen=True)
class Column:
    """A column of numbers of the table of studies.

    Attributes:
        heading: What it is, with its unit, such as ``"tumour: volume (ml)"``.
        digits: Decimals that are shown.
        higher_is_better: None where neither more nor less is.
    """

    heading: str
    digits: int
    higher_is_better: bool | None = None


@dataclass(frozen=True)
class Value:
    """A number and, where there is one, its interval."""

    value: float
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class StudyEntry:
    """What the page says of one study.

    Attributes:
        case_id: Which.
        status: Such as ``"done"`` or ``"failed"``.
        reason: Why it is not done; empty if it is.
        values: Heading of a column to number; what is not known is left out.
        score: What it is ranked by among the worst, higher being better; None without a reference.
        certainty: What it is ranked by among the least certain; None if nobody knows.
        facts: Names and texts, such as its files.
        notes: What of it deserves a warning, or is not shown and why.
    """

    case_id: str
    status: str
    reason: str = ""
    values: Mapping[str, Value] = field(default_factory=dict)
    score: float | None = None
    certainty: float | None = None
    facts: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class StudyPictures:
    """What is drawn of one study.

    Attributes:
        slices: Small pictures; the first stands for the study in lists.
        volumes: For the 3-D viewer, see `viewer_volumes`; None if there are none.
        notes: What could not be drawn, and why.
    """

    slices: tuple[SlicePicture, ...] = ()
    volumes: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PageContent:
    """All that is said, study by study and of all together.

    Attributes:
        title: Its heading.
        summary: Names and texts.
        columns: Columns of the table of studies.
        studies: Studies, in the order of their ids.
        tables: What is known of all studies together.
        problems: What went wrong that is of no study, with the reasons.
        settings: Settings by which results were made, name and value.
        versions: Versions of what made them.
        ranking: What the worst and the least certain are ranked by, in words.
        notes: How to read it, and what is missing.
    """

    title: str
    summary: tuple[tuple[str, str], ...]
    columns: tuple[Column, ...]
    studies: tuple[StudyEntry, ...]
    tables: tuple[TextTable, ...] = ()
    problems: tuple[str, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()
    versions: tuple[tuple[str, str], ...] = ()
    ranking: str = ""
    notes: tuple[str, ...] = ()
