"""What an evaluation scores, and by which rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rankseg_med.errors import InputError
from rankseg_med.metrics import Preset, Region, find_preset, label_regions
from rankseg_med.studies import Manifest, labels_named_in, list_predictions, read_label_names, read_nnunet_labels


def plan_evaluation(
    *,
    preset: str | None = None,
    labels: Mapping[int, str] | None = None,
    regions: Mapping[str, Sequence[int]] | None = None,
    metrics: Sequence[str] | None = None,
    strict: bool = False,
) -> Preset:
    """The rules that a user asks for.

    Args:
        preset: one of `rankseg_med.metrics.PRESETS`; None scores all metrics. Where its own regions are scored, a
            label map with a label that is in none of them is a failure, but for LiTS.
        labels: positive value to name, each a region of its own; instead of the preset's regions.
        regions: name to labels of regions; instead of the preset's regions.
        metrics: instead of the preset's; LiTS has fixed ones.
        strict: with the preset ``lits``, the values of the official script with its defects.

    Raises:
        ValueError: there is no such preset or metric, it is not said what to score or said twice, or an option does
            not go with the preset.
    """
    if labels is not None and regions is not None:
        raise InputError("labels and regions both say what to score; give one of them")
    rules = Preset() if preset is None else find_preset(preset)
    own = None if labels is None else label_regions(labels)
    if regions is not None:
        own = tuple(Region(name, tuple(values)) for name, values in regions.items())
    if own is not None or metrics is not None:
        rules = rules.with_own(own, metrics)
    if strict:
        rules = rules.as_official()
    check_regions(rules)
    return rules


def check_regions(rules: Preset) -> None:
    """Raise ValueError unless there is something to score."""
    if not rules.regions:
        raise InputError("an evaluation needs labels or regions to score, or a preset that has them (not nnunet, bcp)")


def find_structures(predictions: Path, references: Path) -> dict[str, tuple[int, ...]]:
    """What there is to score; see `named_structures`.

    Raises:
        InputError: nothing says what the labels mean, or two of them have one name.
        StudyError: a file that should say it cannot be used.
    """
    found = named_structures(predictions, references)
    if found is None:
        raise InputError(
            f"nothing beside {predictions} and {references} says what the labels mean (a data list's labels, dseg.tsv, "
            "dataset.json or a label table); give labels, such as 1=liver,2=tumour, regions, or a preset that has them"
        )
    return found


def named_structures(predictions: Path, references: Path) -> dict[str, tuple[int, ...]] | None:
    """The structures of label maps, as what lies beside or in them names these.

    Looked at in turn, the first that is there: the labels of a data list of references (`.json`); ``dseg.tsv`` with the
    predictions, which predict, decode and pseudo-label leave, and with the references; nnU-Net's ``dataset.json`` with
    the predictions, and with or one folder above the references; the label table of the first prediction.

    Args:
        predictions: folder of label maps, or one.
        references: folder of label maps, one, or a data list.

    Returns:
        Name to labels; None where nothing says what the labels mean.

    Raises:
        InputError: two labels have one name.
        StudyError: a file that should say it cannot be used.
    """
    if references.suffix.lower() == ".json":
        return _by_name({int(label): name for label, name in Manifest.read(references).labels.items()}, references)
    folders = [path if path.is_dir() else path.parent for path in (predictions, references)]
    for folder in folders:
        if (table := read_label_names(folder)) is not None:
            return _by_name(table, folder)
    for folder in (*folders, folders[1].parent):
        if (dataset := read_nnunet_labels(folder)) is not None:
            return dataset.names
    first = list_predictions(predictions).studies[0].image
    named = labels_named_in(first)
    return _by_name(named, first) if named else None


def _by_name(names: Mapping[int, str], source: Path) -> dict[str, tuple[int, ...]]:
    """Name to its label, without the background."""
    by_name: dict[str, tuple[int, ...]] = {name: (label,) for label, name in names.items() if label}
    if len(by_name) < len(names.keys() - {0}):
        raise InputError(f"{source}: names of labels must differ to be scored apart, got {dict(names)}; give labels")
    return by_name
