"""A page about a run: what is on record of each study, and pictures of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from rankseg_med.evaluation.run_report.ab import ab_content, ab_pictures
from rankseg_med.evaluation.run_report.argmax import has_probabilities
from rankseg_med.evaluation.run_report.content import content_of
from rankseg_med.evaluation.run_report.figures import save_figures, save_overlays
from rankseg_med.evaluation.run_report.pictures import draw_study
from rankseg_med.evaluation.run_report.records import FolderRecords, read_records
from rankseg_med.evaluation.run_report.studies import label_names, telling_cases
from rankseg_med.executors import map_items
from rankseg_med.report import StudyPictures, write_page
from rankseg_med.studies import LOGS, StudyError

PAGE = "report.html"
"""Name of the page in the folder of a run."""


@dataclass(frozen=True)
class Report:
    """What was written.

    Attributes:
        page: The page.
        studies: How many studies it is about.
        undrawn: Of how many of them a label map is there and no picture; the page says why.
        figures: Figures for papers.
    """

    page: Path
    studies: int
    undrawn: int = 0
    figures: tuple[Path, ...] = ()


def write_report(
    folder: Path,
    page: Path | None = None,
    *,
    scores: Path | None = None,
    images: Path | None = None,
    against: Path | None = None,
    with_volumes: bool = True,
    figures: Path | None = None,
    workers: int = 1,
    on_study: Callable[[], None] = lambda: None,
) -> Report:
    """Write a page about what a job left in its output folder; no result is computed again or changed.

    Of stored probabilities that were decoded, argmax's label map is made again for the studies that score lowest and
    the least certain, to show where it differs: of each a volume is read, slab by slab.

    A study that failed, or of which no picture can be made, is on the page with the reason.

    Args:
        folder: Output folder of predict, decode, pseudo-label, evaluate or ab.
        page: File to write; by default ``report.html`` in the folder, of a BIDS data set in its ``logs``. One
            that is there is replaced.
        scores: Output folder of the evaluation of these label maps, for another folder than an evaluation's.
        images: Images of the studies, where they do not lie where they were read from.
        against: Other label maps of the same studies, such as argmax's, to show where they disagree.
        with_volumes: Put a 3-D view of each study into the page.
        figures: Folder for figures for papers, see `save_figures`; None draws none.
        workers: Processes that read and draw studies.
        on_study: Called after each study.

    Raises:
        StudyError: A folder has no record, or what is given beside it cannot be used.
        OSError: The page cannot be written.
    """
    if (folder / "ab.json").is_file():
        for name, given in {"scores": scores, "images": images, "label maps": against, "figures": figures}.items():
            if given is not None:
                raise StudyError(
                    f"{folder}: is the folder of ab, which has scores of its own and no label maps; leave out the "
                    f"{name}, {given}"
                )
        path, content = page or folder / PAGE, ab_content(folder)
        write_page(content, ab_pictures(folder, content), path)
        return Report(path, len(content.studies))
    records = read_records(folder, scores=scores, images=images, against=against)
    path = page or (records.status.folder if records.status.folder.name == LOGS else folder) / PAGE
    content = content_of(records)
    records = _with_argmax(records, telling_cases(content.studies))
    counted = _Counted(_pictures(records, with_volumes, workers, on_study))
    write_page(content, counted, path)
    drawn: tuple[Path, ...] = ()
    if figures is not None:
        drawn = (*save_figures(records, figures), *save_overlays(records, content, figures, workers))
    return Report(path, len(content.studies), counted.undrawn, drawn)


def _with_argmax(records: FolderRecords, case_ids: Collection[str]) -> FolderRecords:
    """Have argmax's label map made again of some studies: a volume of probabilities is read for each."""
    studies = (
        replace(record, with_argmax=record.case_id in case_ids and record.against is None and has_probabilities(record))
        for record in records.studies
    )
    return replace(records, studies=tuple(studies))


class _Counted:
    """Pictures as they come, and how many studies have none though they should."""

    def __init__(self, pictures: Iterator[StudyPictures]) -> None:
        self._pictures = pictures
        self.undrawn = 0

    def __iter__(self) -> Iterator[StudyPictures]:
        for drawn in self._pictures:
            self.undrawn += not drawn.slices and bool(drawn.notes)
            yield drawn


def _pictures(
    records: FolderRecords, with_volumes: bool, workers: int, on_study: Callable[[], None]
) -> Iterator[StudyPictures]:
    draw = partial(draw_study, names=label_names(records), with_volumes=with_volumes)
    for drawn in map_items(draw, records.studies, workers):
        on_study()
        yield StudyPictures(notes=(f"No pictures: {drawn}",)) if isinstance(drawn, Exception) else drawn
