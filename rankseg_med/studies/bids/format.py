"""Label maps and probabilities as files of a BIDS derivative data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rankseg_med.errors import InputError
from rankseg_med.studies.atomic import write_json
from rankseg_med.studies.bids.dataset import DESCRIPTION_OF_LABEL_MAPS, LOGS, check_dataset, join_dataset
from rankseg_med.studies.bids.names import LABEL_MAP, BidsName, absolute, dataset_of, entities_in
from rankseg_med.studies.formats import Labels, NiftiFiles, Probabilities, check_named, check_probabilities
from rankseg_med.studies.geometry import Grid
from rankseg_med.studies.label_map import checked_labels, write_fractions, write_label_map, write_label_names
from rankseg_med.studies.readers import read_grid
from rankseg_med.studies.structures import StructureSettings, check_structures, colours_of

_PROBABILITIES = "_probseg.nii.gz"
_DESCRIPTION_OF_PROBABILITIES = (
    "Probabilities that the label map beside it was decoded from: of a network, calibrated where that was asked for, "
    "and before cleanup. Each frame is of a name of LabelMap; what they lack of 1 is the background's. Stored in steps "
    "of 1/65535."
)


@dataclass(frozen=True)
class BidsFormat(NiftiFiles):
    """NIfTI in a BIDS derivative data set: a folder a subject, JSON beside every file, records in ``logs``.

    Attributes:
        sources: Folder that all studies lie in, see `common_dataset`; sources are named relative to it.
        structures: Name to what a config says of it: colours; see `read_structures`.
        probabilities: Write the probabilities beside each label map too, in one 4-D file.
    """

    # Where images lie is nothing that results depend on.
    sources: Path = field(repr=False)
    structures: Mapping[str, StructureSettings] = field(default_factory=dict)
    probabilities: bool = False

    suffix = LABEL_MAP

    @property
    def needs_probabilities(self) -> bool:
        """Whether it writes them."""
        return self.probabilities

    def paths_in(self, folder: Path, case_id: str, inputs: Sequence[Path]) -> tuple[Path, ...]:
        """The label map, the probabilities, and the JSON of each."""
        endings = (LABEL_MAP, _PROBABILITIES) if self.probabilities else (LABEL_MAP,)
        images = [folder / BidsName.of(case_id, inputs).path(ending) for ending in endings]
        return (*images, *map(_json_of, images))

    def records_in(self, folder: Path) -> Path:
        """A folder of their own."""
        return folder / LOGS

    def check_folder(self, folder: Path) -> None:
        """Raise if it is somebody else's data set, or holds flat label maps."""
        check_dataset(folder)

    def check_names(self, names: Mapping[int, str] | None) -> None:
        """Raise unless every label has a name that a table can hold."""
        if not names:
            raise InputError(
                "BIDS must name every structure, since labels without names are tissues of the brain there, and nobody "
                "says what the labels are; give a --config with label_names, or keep nnU-Net's dataset.json beside the "
                "probabilities"
            )
        for name in names.values():
            if not name.isprintable() or '"' in name or not name.strip():
                raise InputError(
                    f"the name of a structure must print and have no quotation marks to stand in a table of BIDS, got "
                    f"{name!r}; rename it in the config's label_names or in dataset.json"
                )
        check_structures(self.structures, names)

    def write(
        self,
        labels: Labels,
        path: Path,
        *,
        grid_of: Path,
        names: Mapping[int, str] | None,
        inputs: Sequence[Path] = (),
        probabilities: Probabilities | None = None,
    ) -> None:
        """Write it, and what says that the folder is a data set.

        Raises:
            StudyError: A label has no name; probabilities are lacking or of another shape; or as `write_label_map` and
                `write_label_names`.
            InputError: Labels without names, or the folder is somebody else's data set.
            OSError: A file cannot be written.
        """
        self.check_names(names)
        named, colours, dataset = dict(names or {}), colours_of(names or {}, self.structures), dataset_of(path)
        grid = read_grid(grid_of, channels=True)
        voxels = checked_labels(labels, path, grid.shape, grid_of)
        check_named(voxels, path, named)
        if self.probabilities:
            probabilities = check_probabilities(probabilities, path, len(named), voxels.shape)
        said = self._said(path, grid_of, grid, inputs or (grid_of,), join_dataset(dataset, self.sources))
        write_label_names(named, dataset, colours)
        write_label_map(voxels, path, grid_of, named, colours)
        write_json({"Description": DESCRIPTION_OF_LABEL_MAPS, **said}, _json_of(path))
        if self.probabilities and probabilities is not None:
            fractions = path.with_name(path.name.removesuffix(LABEL_MAP) + _PROBABILITIES)
            write_fractions(probabilities.permute(1, 2, 3, 0), fractions, grid_of)
            label_map = [named[label] for label in sorted(named)]
            write_json(
                {"Description": _DESCRIPTION_OF_PROBABILITIES, **said, "LabelMap": label_map}, _json_of(fractions)
            )

    def _said(self, path: Path, grid_of: Path, grid: Grid, inputs: Sequence[Path], link: str) -> dict[str, Any]:
        """What the JSON of every file says."""

        def uri(file: Path) -> str:
            return f"bids:{link}:{quote(absolute(file).relative_to(absolute(self.sources)).as_posix())}"

        entities = entities_in(path.name.removesuffix(LABEL_MAP))
        # A space of its own is the usual; what is in a space with a name lies as its image does.
        said: dict[str, Any] = {
            "Manual": False,
            "Sources": list(dict.fromkeys(map(uri, inputs))),
            "SpatialReference": uri(grid_of) if entities.get("space", "orig") != "orig" else "orig",
        }
        if "res" in entities:
            spacing = " x ".join(f"{length:g}" for length in grid.spacing_mm)
            said["Resolution"] = f"voxels of {spacing} mm"
        return said


def _json_of(image: Path) -> Path:
    return image.with_name(image.name.removesuffix(".nii.gz") + ".json")
