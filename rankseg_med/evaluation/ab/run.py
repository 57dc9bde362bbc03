"""Argmax, RankSEG, the coherent rule and a tuned setting side by side, on cases that tuning has not seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

from rankseg_med import __version__
from rankseg_med.decode import Metric, Presence
from rankseg_med.evaluation.ab.changes import write_changes
from rankseg_med.evaluation.ab.document import ab_document
from rankseg_med.evaluation.ab.pictures import draw_worst
from rankseg_med.evaluation.ab.settings import settings_of
from rankseg_med.evaluation.ab.side_by_side import SideBySide, set_side_by_side
from rankseg_med.evaluation.ab.unseen import check_unseen
from rankseg_med.evaluation.ab.verdict import Verdict, decide
from rankseg_med.evaluation.cases import DecodableCase
from rankseg_med.evaluation.scoring.files import write_scores
from rankseg_med.executors import open_pool
from rankseg_med.metrics import METRICS, EmptyPolicy, Region, Scoring, find_metric
from rankseg_med.report import Document, Picture, as_html, as_latex, as_markdown
from rankseg_med.studies import NnunetLabels, atomic_folder, check_new_folder, write_json

_SCORE: dict[Metric, str] = {"dice": "dice", "iou": "jaccard"}
_SURFACES = ("surface_dice", "hd95_mm", "assd_mm")


@dataclass(frozen=True)
class ABReport:
    """Scores, verdict and report of decodings side by side.

    Attributes:
        result: Every score and change.
        verdict: What to do.
        document: All of it in words and numbers; its pictures lie in the output folder.
    """

    result: SideBySide
    verdict: Verdict
    document: Document


def run_ab(
    cases: Sequence[DecodableCase],
    structures: NnunetLabels,
    output: Path,
    *,
    metric: Metric = "dice",
    presence: Presence = "maybe",
    overlay: str | Path | None = None,
    patients: str | None = None,
    empty_policy: str = "kits",
    workers: int = 1,
    on_case: Callable[[], None] = lambda: None,
) -> ABReport:
    """Decode cases by argmax, RankSEG, the coherent rule and a tuned setting, compare the scores, and advise.

    Writes a folder, whole or not at all: ``ab.md``, ``ab.html`` (one file, pictures included), ``ab.tex`` (tables
    alone), and ``ab.json`` with the verdict and every change; ``changes.csv``, see `write_changes`;
    ``scores/<setting>/scores.csv`` as `evaluate` writes it; and ``pictures/<case id>.png`` of the worst cases.

    Args:
        cases: What to try on; see `find_cases` and `find_network_cases`.
        structures: What the channels are, and what is scored; see `structures_of`.
        output: The folder; nothing, or an empty folder, may be there.
        metric: What untuned settings decode for, and what all settings are judged by.
        presence: Whether untuned settings take every structure to be there always.
        overlay: Config overlay of the tuned setting, a file (trusted) or a shipped name; None tries none.
        patients: Says of which patient the cases of the overlay's record are; as given to `find_cases`.
        empty_policy: Name of the policy for empty masks; see `EMPTY_POLICIES`. Of ``kits``, an absent structure that is
            left empty scores 1, so that inventing it is a loss.
        workers: Processes, each with one case at a time.
        on_case: Called after each case.

    Raises:
        StudyError: The overlay was tuned on a case or a patient of these, or no case could be decoded and scored.
        ConfigError: The overlay cannot be used.
        ValueError: Settings that do not go together.
        OSError: The folder cannot be written, or something is there.
    """
    check_new_folder(output)
    warning = None if overlay is None else check_unseen(overlay, cases, patients)
    settings = settings_of(structures, metric=metric, presence=presence, overlay=overlay)
    regions = tuple(Region(name, labels) for name, labels in structures.names.items())
    wanted = {"dice", _SCORE[metric], *_SURFACES, *(_SCORE[one] for setting in settings for one in setting.metrics)}
    scoring = Scoring(tuple(name for name in METRICS if name in wanted), empty_policy=EmptyPolicy.named(empty_policy))
    with open_pool(workers) if workers > 1 else nullcontext() as pool:
        result = set_side_by_side(cases, settings, regions, scoring, metric=_SCORE[metric], pool=pool, on_case=on_case)
        words = {setting.name: setting.words for setting in settings}
        verdict = decide(result.changes_of(result.summary, result.metric), words, find_metric(result.metric).heading)
        notes = [*(f"{setting.name}: {setting.made_of}" for setting in settings), *([warning] if warning else [])]
        with atomic_folder(output) as folder:
            pictures, faults = draw_worst(cases, settings, structures, result, folder / "pictures", pool=pool)
            notes += faults
            document = ab_document(result, verdict, pictures, notes)
            _write(result, verdict, document, folder)
    moved = tuple(Picture(output / picture.path.relative_to(folder), picture.caption) for picture in pictures)
    return ABReport(result, verdict, ab_document(result, verdict, moved, notes))


def _write(result: SideBySide, verdict: Verdict, document: Document, folder: Path) -> None:
    for name, evaluation in result.evaluations.items():
        write_scores(evaluation, folder / "scores" / name / "scores.csv")
    (folder / "ab.md").write_text(as_markdown(document, folder), encoding="utf-8")
    (folder / "ab.html").write_text(as_html(document), encoding="utf-8")
    (folder / "ab.tex").write_text(as_latex(document.tables), encoding="utf-8")
    write_changes(result.changes, folder / "changes.csv")
    content = {
        "package_version": __version__,
        "verdict": asdict(verdict),
        "metric": result.metric,
        "scoring": asdict(result.argmax.scoring),
        "structures": {region.name: region.labels for region in result.argmax.regions},
        "patients": result.argmax.patients,
        "failures": result.argmax.failures,
        "notes": document.notes,
        "changes": [asdict(change) for change in result.changes],
        "worst": [
            {"structure": structure, "setting": setting, "cases": [asdict(case) for case in worst]}
            for (structure, setting), worst in result.worst.items()
        ],
    }
    write_json(content, folder / "ab.json")
