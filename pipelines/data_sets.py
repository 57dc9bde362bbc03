"""Public data sets as they are downloaded: what they hold, what scores them, and their cases with labels."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rankseg_med.metrics import PRESETS
from rankseg_med.studies import Manifest, StudyError

_DECATHLON_CONFIGS = {"Task03": "lits", "Task04": "hippocampus"}


@dataclass(frozen=True)
class Case:
    """A case with labels, as it lies in a data set's folder."""

    case_id: str
    image: Path
    label: Path


@dataclass(frozen=True)
class DataSet:
    """What a recipe needs to know of a data set.

    Attributes:
        name: Name in data lists.
        label_names: Names of label values from 1 on.
        config: Shipped config of supervised training; that of copy-paste is named ``bcp_<config>``.
        preset: Rules of its challenge.
    """

    name: str
    label_names: tuple[str, ...]
    config: str
    preset: str

    @property
    def regions(self) -> Mapping[str, tuple[int, ...]]:
        """Name to labels of what its challenge scores: unions of labels, or each label for itself."""
        scored = PRESETS[self.preset].regions
        if not scored:
            return {name: (label,) for label, name in enumerate(self.label_names, start=1)}
        return {region.name: region.labels for region in scored}


LITS = DataSet("LiTS", ("liver", "tumour"), config="lits", preset="lits")
KITS = {
    "kits19": DataSet("KiTS19", ("kidney", "tumour"), config="kits", preset="kits19"),
    "kits23": DataSet("KiTS23", ("kidney", "tumour", "cyst"), config="kits", preset="kits23"),
}


def lits_cases(data: Path) -> list[Case]:
    """``volume-<n>.nii`` with ``segmentation-<n>.nii`` beside them, by number, in the folder or in folders below it.

    Raises:
        SystemExit: A volume has no segmentation, or occurs twice; there are none.
    """
    cases: dict[int, Case] = {}
    for image in data.rglob("volume-*.nii*"):
        found = re.fullmatch(r"volume-(\d+)(\.nii|\.nii\.gz)", image.name)
        if found is None:
            continue
        number, suffix = int(found[1]), found[2]
        label = image.with_name(f"segmentation-{number}{suffix}")
        if number in cases:
            raise SystemExit(f"{image}: volume {number} lies in {cases[number].image} too; remove one")
        if not label.is_file():
            raise SystemExit(f"{image}: has no {label.name} beside it; is the download complete?")
        cases[number] = Case(f"volume-{number}", image, label)
    if not cases:
        raise SystemExit(
            f"{data}: must hold volume-<n>.nii with segmentation-<n>.nii beside it, here or below; has none"
        )
    return [cases[number] for number in sorted(cases)]


def kits_cases(data: Path) -> list[Case]:
    """``case_<nnnnn>/imaging.nii.gz`` with ``segmentation.nii.gz``; cases without one, the test set, are left alone.

    Raises:
        SystemExit: A case has a segmentation and no image; there are none.
    """
    cases = []
    for label in sorted(data.glob("case_*/segmentation.nii.gz")):
        image = label.with_name("imaging.nii.gz")
        if not image.is_file():
            raise SystemExit(f"{label.parent}: has no imaging.nii.gz; run the challenge's download script")
        cases.append(Case(label.parent.name, image, label))
    if not cases:
        raise SystemExit(
            f"{data}: must hold case_<nnnnn> folders with imaging.nii.gz and segmentation.nii.gz, has none; give the "
            "folder data of KiTS19, or dataset of KiTS23"
        )
    return cases


def decathlon_task(data: Path, config: str | None = None) -> tuple[DataSet, list[Case]]:
    """A task of the Medical Segmentation Decathlon and its training cases, as its ``dataset.json`` says.

    Args:
        data: Folder of the task, such as ``Task04_Hippocampus``.
        config: Config to train by; None for the shipped one of the task, where there is one.

    Raises:
        SystemExit: There is no such folder or list, a listed file is missing, the images have several channels in one
            file, values of labels are left out, or the task has no shipped config.
    """
    path = data / "dataset.json"
    if not path.is_file():
        raise SystemExit(f"{data}: must be the folder of a task, with dataset.json, imagesTr and labelsTr; has no list")
    try:
        listed = Manifest.read(path)
    except StudyError as error:
        raise SystemExit(str(error)) from error
    modalities = (listed.model_extra or {}).get("modality", {})
    if len(modalities) > 1:
        raise SystemExit(
            f"{path}: images of one channel are needed, these have {len(modalities)} in one 4-D file; write each "
            "channel to a file of its own and list them (docs/studies.md)"
        )
    values = [str(value) for value in range(1, len(listed.labels))]
    if not values or not listed.labels.keys() >= set(values):
        raise SystemExit(f"{path}: labels must be 0 (background), 1, 2, ... without a gap, has {listed.labels}")
    shipped = _DECATHLON_CONFIGS.get(data.resolve().name.partition("_")[0])
    if config is None and shipped is None:
        raise SystemExit(f"{data.resolve().name}: no config is shipped for this task; give one by --config")
    cases = [Case(entry.id, data / entry.images[0], data / entry.label) for entry in listed.training]
    if missing := [file for case in cases for file in (case.image, case.label) if not file.is_file()]:
        raise SystemExit(f"{path}: {len(missing)} listed files are missing, the first {missing[0]}; is all unpacked?")
    labels = tuple(listed.labels[value] for value in values)
    return DataSet(listed.name, labels, config or shipped or "", preset="nnunet"), cases
