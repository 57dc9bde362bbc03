"""The files that a tuning leaves: an overlay, its calibration, a record, a report and its picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from rankseg_med.calibration import Reliability, save_calibration
from rankseg_med.evaluation.tuning.document import tuning_document
from rankseg_med.evaluation.tuning.result import Tuning
from rankseg_med.report import Picture, ReliabilityCurve, as_markdown, save_reliability_diagrams
from rankseg_med.runs import VERSIONS, now
from rankseg_med.studies import atomic_write, write_json, write_text

_TITLE = "Before, and after on cases that were not fitted to; each case counts the same."


@dataclass(frozen=True)
class TuningFiles:
    """Where they are; all lie beside the overlay and begin with its name.

    Attributes:
        overlay: YAML for ``predict`` and ``decode``.
        calibration: JSON; written if the chosen setting has a calibration.
        record: JSON.
        report: Markdown.
        diagrams: PNG.
    """

    overlay: Path
    calibration: Path
    record: Path
    report: Path
    diagrams: Path

    @classmethod
    def beside(cls, overlay: Path) -> TuningFiles:
        """Those of an overlay."""
        endings = (".calibration.json", ".record.json", ".md", ".reliability.png")
        return cls(overlay, *(overlay.with_name(overlay.stem + ending) for ending in endings))


def write_tuning(
    tuning: Tuning, output: Path, *, extends: str | None = None, region_channels: Sequence[Sequence[int]] | None = None
) -> TuningFiles:
    """Write all files, each whole or not at all, the overlay last.

    Args:
        tuning: What came of it.
        output: Path of the overlay; files that are there are replaced.
        extends: Overlay that comes first, of a network's config; a name or an absolute path.
        region_channels: Label set of each channel, where no ``dataset.json`` says it.

    Raises:
        OSError: A file cannot be written.
    """
    files = TuningFiles.beside(output)
    if tuning.calibration is not None:
        with atomic_write(files.calibration) as temporary:
            save_calibration(tuning.calibration, temporary)
    save_reliability_diagrams(files.diagrams, _diagrams(tuning), title=_TITLE)
    picture = Picture(files.diagrams, f"Reliability diagrams. {_TITLE}")
    write_text(as_markdown(tuning_document(tuning, [picture]), output.parent), files.report)
    write_json(record_of(tuning), files.record)
    entries = {
        **({} if extends is None else {"extends": extends}),
        **({} if region_channels is None else {"region_channels": [list(labels) for labels in region_channels]}),
        "decoder": tuning.decoder,
        "calibration": None if tuning.calibration is None else str(files.calibration.resolve()),
        "cleanup": tuning.cleanup,
    }
    head = (
        f"# Chosen by rankseg-med {VERSIONS['rankseg_med']} on {len(tuning.case_ids)} cases; see {files.report.name}.\n"
    )
    text = yaml.safe_dump(entries, sort_keys=False, allow_unicode=True, width=120)
    write_text(head + text, output)
    return files


def record_of(tuning: Tuning) -> dict[str, Any]:
    """Everything that a choice rests on, but for the volumes."""
    gain, low, high = tuning.held_out_gain
    return {
        "cases": list(tuning.case_ids),
        "patients": dict(zip(tuning.case_ids, tuning.patients, strict=True)),
        "folds": [list(patients) for patients in tuning.folds],
        "seed": tuning.seed,
        "score": tuning.task.score,
        "empty_score": tuning.task.empty_score,
        "structures": {name: list(labels) for name, labels in tuning.task.structures.names.items()},
        "presence": dict(
            zip(tuning.task.names, ["always" if always else "maybe" for always in tuning.presence], strict=True)
        ),
        "chosen": asdict(tuning.chosen),
        "held_out_gain": {"mean": gain, "interval": [low, high]},
        "fixed_thresholds": [{"threshold": one, "mean": mean} for one, mean in tuning.thresholds.items()],
        "settings": [asdict(tried) for tried in tuning.tried],
        "reliability": {
            weighting: {name: _numbers(of, tuning) for name, of in tuning.reliability(weighting).items()}
            for weighting in ("cases", "voxels")
        },
        "quality": {
            structure: {name: asdict(of) for name, of in qualities.items()}
            for structure, qualities in tuning.quality().items()
        },
        "notes": list(tuning.all_notes),
        "versions": VERSIONS,
        "written": now(),
    }


def _numbers(of: Reliability, tuning: Tuning) -> dict[str, dict[str, float]]:
    return {
        structure: {name: float(getattr(of, name)[index]) for name in ("brier", "nll", "ece", "volume_ratio")}
        for index, structure in enumerate(tuning.task.names)
    }


def _diagrams(tuning: Tuning) -> dict[str, dict[str, ReliabilityCurve]]:
    found = tuning.reliability("cases")
    return {
        structure: {
            "before" if name == "none" else name: ReliabilityCurve(
                of.mean_probability[index].numpy(), of.frequency[index].numpy(), float(of.ece[index])
            )
            for name, of in found.items()
        }
        for index, structure in enumerate(tuning.task.names)
    }
