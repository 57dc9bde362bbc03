"""Runs that were evaluated: their scores as they lie on disk, and what to call them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rankseg_med.errors import InputError
from rankseg_med.evaluation.scoring.files import ScoreTable
from rankseg_med.metrics import DistanceUnit, find_metric


@dataclass(frozen=True)
class ScoredRun:
    """What `evaluate` wrote.

    Attributes:
        folder: The folder.
        table: Its scores.
        failed: Cases that could not be scored.
        summary: Its ``summary.json``, which says how it was scored; empty where there is none.
    """

    folder: Path
    table: ScoreTable
    failed: frozenset[str]
    summary: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> ScoredRun:
        """Read ``scores.csv``, and ``summary.json``, where it is there.

        Raises:
            InputError: The folder is something else.
            OSError: A file cannot be read.
        """
        path = folder / "scores.csv"
        if not path.is_file():
            raise InputError(f"{folder}: holds no scores.csv; give a folder that rankseg-med evaluate --output wrote")
        table, summary = ScoreTable.read(path), folder / "summary.json"
        if not summary.is_file():
            return cls(folder, table, frozenset())
        try:
            content = json.loads(summary.read_text(encoding="utf-8"))
            return cls(folder, table, frozenset(content["failures"]), content)
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{summary}: must be what evaluate writes ({error}); evaluate the run again") from error

    @property
    def regions(self) -> list[str]:
        """Names of the regions."""
        return list(self.table.rows)

    @property
    def distance_unit(self) -> DistanceUnit:
        """What its distances are in."""
        unit: DistanceUnit = self.summary.get("distance_unit", "mm")
        return unit

    @property
    def case_ids(self) -> frozenset[str]:
        """All cases that the run knows, be it as failures."""
        return self.failed.union(*self.table.rows.values())

    @property
    def scored_ids(self) -> frozenset[str]:
        """The cases that have a score, which may be undefined."""
        return frozenset[str]().union(*self.table.rows.values())

    def definition(self, region: str, metric: str) -> dict[str, str]:
        """What the scores of a metric rest on, as far as the summary says, by what it is called."""
        kind = find_metric(metric).kind
        scoring, of_region = self.summary.get("scoring", {}), self.summary.get("regions", {}).get(region, {})
        found = {
            "set of labels": of_region.get("labels"),
            "rule for empty masks": scoring.get("empty_policy", {}).get(kind),
        }
        if kind == "distance":
            found["unit"] = self.distance_unit
        if kind in ("distance", "surface_dice"):
            found["kind of surface"] = scoring.get("surface")
        if kind == "surface_dice":
            found["tolerance in mm"] = of_region.get("tolerance_mm")
        return {what: _plainly(value) for what, value in found.items() if value is not None}

    def scores(self, region: str, metric: str) -> dict[str, float | None]:
        """Case id to score: NaN where it is undefined, None of cases that failed.

        Raises:
            InputError: There is no such column, or no number in it.
        """
        scored = {case_id: self.table.score(region, case_id, metric) for case_id in self.table.rows[region]}
        return dict.fromkeys(self.failed, None) | scored


def read_runs(folders: Sequence[Path]) -> list[ScoredRun]:
    """Read runs that can be compared.

    Raises:
        InputError: A folder is not what `evaluate` writes, or a run has no score, other regions than the first, or no
            case in common with it.
        OSError: A file cannot be read.
    """
    runs = [ScoredRun.read(folder) for folder in folders]
    first = runs[0]
    for run in runs:
        if not run.regions:
            raise InputError(
                f"{run.folder}: has no scored case, but {len(run.failed)} that failed; see its summary.json"
            )
    for other in runs[1:]:
        folders_of_both = f"{first.folder} and {other.folder}"
        if other.table.rows.keys() != first.table.rows.keys():
            raise InputError(f"{folders_of_both} must score the same regions, got {first.regions} and {other.regions}")
        if not any(first.table.rows[region].keys() & other.table.rows[region].keys() for region in first.regions):
            raise InputError(f"{folders_of_both} must have a case in common, got none; are they of one data set?")
    return runs


def check_scored_alike(runs: Sequence[ScoredRun], region: str, metric: str) -> None:
    """Refuse to compare scores that mean different things.

    Raises:
        InputError: Two runs say that they took other labels for the region, scored its empty masks by other rules, or,
            where that matters to the metric, measured in another unit, on other surfaces or with another tolerance.
            What a run does not say is not held against it.
    """
    said: dict[str, tuple[Path, str]] = {}
    for run in runs:
        for what, found in run.definition(region, metric).items():
            folder, expected = said.setdefault(what, (run.folder, found))
            if found != expected:
                raise InputError(
                    f"{folder} and {run.folder} must have {metric} of {region} with one {what}, got "
                    f"{expected} and {found}; evaluate both with the same options"
                )


def _plainly(value: Any) -> str:  # noqa: ANN401 - what a summary holds
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {one}" for name, one in value.items())
    return str(value)


def name_runs(folders: Sequence[Path], names: Sequence[str] = ()) -> list[str]:
    """What to call runs: as they are named, else as their folders are.

    Folders of one name are told apart by as many folders above as it takes, as in ``fold_0/scores``.

    Args:
        folders: Folders of the runs.
        names: A name for each; empty names all by their folders.

    Raises:
        InputError: There are names, but not one for each run, or two runs have the same one or lie in one folder.
    """
    if names:
        if len(names) != len(folders) or len(set(names)) < len(names):
            raise InputError(f"each of {len(folders)} runs must have a name of its own, got {', '.join(names)}")
        return list(names)
    paths = [_absolute(folder).parts for folder in folders]
    for folder, path in zip(folders, paths, strict=True):
        if paths.count(path) > 1:
            raise InputError(f"{folder}: is given twice; give each run once")
    return [_shortest_of_its_own(path, paths) for path in paths]


def _absolute(folder: Path) -> Path:
    return folder.resolve() if folder.name in {"", ".."} else folder.absolute()


def _shortest_of_its_own(path: Sequence[str], paths: Sequence[Sequence[str]]) -> str:
    """As much of the end of a path as no other path ends in."""
    kept = next(
        length
        for length in range(1, len(path) + 1)
        if sum(tuple(other[-length:]) == tuple(path[-length:]) for other in paths) == 1
    )
    return Path(*path[-kept:]).as_posix()
