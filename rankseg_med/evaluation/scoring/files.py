"""The files that an evaluation leaves."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from rankseg_med import __version__
from rankseg_med.errors import InputError
from rankseg_med.metrics import Evaluation, find_metric
from rankseg_med.report import as_latex, evaluation_tables, tables_as_markdown
from rankseg_med.studies import atomic_write, write_json, write_text

_NAMES = ("case_id", "name")
_VOLUMES = ("prediction_volume_ml", "reference_volume_ml")
_STATISTICS = (
    *("mean", "mean_low", "mean_high", "median", "sd", "min", "max", "q05", "q25", "q75", "q95"),
    *("n", "n_undefined"),
)
_FOREGROUND_MEAN = "foreground_mean"


OVERLAYS = "overlays"
"""Name of the pictures' folder in the folder of an evaluation."""


@dataclass(frozen=True)
class ScoreTable:
    """What `write_scores` wrote.

    Attributes:
        path: The file.
        metrics: Its columns of scores.
        rows: Region to case id to row of the table, column to text.
    """

    path: Path
    metrics: tuple[str, ...]
    rows: dict[str, dict[str, dict[str, str]]]

    @classmethod
    def read(cls, path: Path) -> ScoreTable:
        """Read a table.

        Raises:
            InputError: It is something else.
            OSError: It cannot be read.
        """
        rows: dict[str, dict[str, dict[str, str]]] = {}
        try:
            with path.open(newline="", encoding="utf-8") as stream:
                table = csv.DictReader(stream)
                columns, read = tuple(table.fieldnames or ()), list(table)
        except (csv.Error, UnicodeDecodeError) as error:
            raise InputError(f"{path}: must be CSV in UTF-8 ({error}); evaluate the run again") from error
        if not {*_NAMES} <= {*columns}:
            raise InputError(f"{path}: needs the columns case_id and name, got {list(columns)}")
        for row in read:
            cases = rows.setdefault(row["name"], {})
            if row["case_id"] in cases:
                raise InputError(f"{path}: has {row['name']} of {row['case_id']} twice; evaluate the run again")
            cases[row["case_id"]] = row
        return cls(path, tuple(name for name in columns if name not in (*_NAMES, *_VOLUMES)), rows)

    def score(self, region: str, case_id: str, metric: str) -> float:
        """A score, or a volume in ml by the name of its column; NaN where it is undefined.

        Raises:
            InputError: There is no such column, or no number in it.
        """
        row = self.rows[region][case_id]
        if metric not in row:
            raise InputError(f"{self.path}: needs the column {metric}, got {', '.join(row)}")
        try:
            return float(row[metric])
        except (TypeError, ValueError) as error:
            raise InputError(f"{self.path}: {metric} of {case_id} must be a number, got {row[metric]!r}") from error


def write_scores(evaluation: Evaluation, path: Path) -> None:
    """Write one row a case and region: ``case_id``, ``name``, a column for each metric, and both volumes in ml.

    An undefined score is ``nan``. Without scored cases there is only the heading.

    Raises:
        OSError: the file cannot be written.
    """
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([*_NAMES, *evaluation.scoring.metrics, *_VOLUMES])
        for case_id, rows in evaluation.scores.items():
            for row in rows:
                volumes_ml = (row.prediction_volume_ml, row.reference_volume_ml)
                writer.writerow([case_id, row.region.name, *row.values.values(), *volumes_ml])


def write_summary(evaluation: Evaluation, path: Path, preset: str, *, resample_to_reference: bool = False) -> None:
    """Write as JSON, for every region and metric, its `MetricSummary` and `Distribution`, and how all was scored.

    Beside them: foreground means, failures, warnings, whether intervals draw cases or patients, preset, `Scoring` with
    its policy for empty masks, whether predictions could be resampled, what the preset reports of the whole data set,
    and the version of this package. An undefined number is ``null``.

    Raises:
        OSError: the file cannot be written.
    """
    metrics, patients = evaluation.scoring.metrics, evaluation.patients
    summary = {
        "package_version": __version__,
        "preset": preset or None,
        "distance_unit": evaluation.distance_unit,
        "resampled_to_reference": "nearest voxel" if resample_to_reference else None,
        "n_scored": len(evaluation.scores),
        "n_failed": len(evaluation.failures),
        "n_patients": None if patients is None else len({patients[case_id] for case_id in evaluation.scores}),
        "interval": f"95 % percentile bootstrap of the mean, {'cases' if patients is None else 'patients'} drawn",
        _FOREGROUND_MEAN: {metric: evaluation.foreground_mean(metric) for metric in metrics},
        "regions": {
            region.name: {
                "labels": region.labels,
                "tolerance_mm": region.tolerance_mm,
                **{metric: _statistics(evaluation, region.name, metric) for metric in metrics},
            }
            for region in evaluation.regions
        },
        "failures": dict(evaluation.failures),
        "warnings": list(evaluation.warnings),
        "scoring": asdict(evaluation.scoring),
    }
    if (results := evaluation.results) is not None:
        summary[results.challenge.lower()] = {"mode": results.mode, **results.values}
    write_json(summary, path)


def write_statistics(evaluation: Evaluation, path: Path) -> None:
    """Write a row for each region and metric with its `MetricSummary` and `Distribution`, for spreadsheets.

    The last rows, of the region ``foreground_mean``, are the means over regions of their means. Numbers have full
    precision; an undefined one is an empty cell. Units are ``mm``, ``voxel``, or none of a ratio.

    Raises:
        OSError: the file cannot be written.
    """
    metrics, failed = evaluation.scoring.metrics, len(evaluation.failures)
    unit = {metric: find_metric(metric).unit_in(evaluation.distance_unit) for metric in metrics}
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, ("region", "metric", "unit", *_STATISTICS, "n_failed"))
        writer.writeheader()
        for region in evaluation.regions:
            for metric in metrics:
                names = {"region": region.name, "metric": metric, "unit": unit[metric]}
                statistics = _statistics(evaluation, region.name, metric)
                writer.writerow({**names, **_empty_if_nan(statistics), "n_failed": failed})
        for metric in metrics:
            mean = {"mean": evaluation.foreground_mean(metric)}
            names = {"region": _FOREGROUND_MEAN, "metric": metric, "unit": unit[metric]}
            writer.writerow({**names, **_empty_if_nan(mean), "n_failed": failed})


def write_tables(evaluation: Evaluation, folder: Path) -> None:
    """Write the tables that the command line shows to ``tables.md`` and, for papers, to ``tables.tex`` in a folder.

    Raises:
        OSError: a file cannot be written.
    """
    tables = evaluation_tables(evaluation)
    for name, text in {"tables.md": tables_as_markdown(tables), "tables.tex": as_latex(tables)}.items():
        write_text(text, folder / name)


def remove_overlays(output: Path) -> None:
    """Remove the pictures that an earlier evaluation left, whose scores are no longer these.

    Raises:
        OSError: One cannot be removed.
    """
    for old in (output / OVERLAYS).glob("worst_*.png"):
        old.unlink()


def _empty_if_nan(numbers: Mapping[str, float]) -> dict[str, float | str]:
    return {name: "" if math.isnan(number) else number for name, number in numbers.items()}


def _statistics(evaluation: Evaluation, region: str, metric: str) -> dict[str, float]:
    return asdict(evaluation.summary(region, metric)) | asdict(evaluation.distribution(region, metric))
