"""Images in, label maps out, one study at a time."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import UInt8
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import Transform
from torch import Tensor

from rankseg_med import __version__
from rankseg_med.executors import Outcome, run_overlapped
from rankseg_med.inference import Predicted, SegmentationModel
from rankseg_med.networks import load_weights
from rankseg_med.studies import Study, StudyError, atomic_write, open_nifti, write_label_map

_BYTES_PER_VOXEL = 20


@dataclass(frozen=True)
class Prediction:
    """Everything that turns one study's image into its label map on disk, in three steps.

    Attributes:
        model: Image file to label map on the image's grid.
        cleanup: Label map ``(1, X, Y, Z)`` to label map, or None.
        output: Folder of the label maps.
    """

    model: SegmentationModel
    cleanup: Transform | None
    output: Path

    @classmethod
    def from_config(cls, config: ConfigParser, checkpoints: Sequence[Path], output: Path) -> Prediction:
        """Build networks, preprocessing, decoder and cleanup as the config says, and load the weights.

        Args:
            config: Of an inference job.
            checkpoints: One, or several of one architecture: an ensemble.
            output: Folder of the label maps.

        Raises:
            CheckpointError: A checkpoint cannot be read or does not fit the network.
            ValueError: Settings that do not go together.
        """
        network = config.get_parsed_content("network")
        networks = [copy.deepcopy(network) for _ in checkpoints]
        for member, checkpoint in zip(networks, checkpoints, strict=True):
            load_weights(member, checkpoint)
        settings = ("preprocessing", "inferer", "num_classes", "decoder", "grid", "ensemble", "store")
        folder = config.get_parsed_content("store_folder")
        model = SegmentationModel(
            networks=networks,
            store_folder=None if folder is None else Path(folder),
            **{name: config.get_parsed_content(name) for name in settings},
        )
        return cls(model, config.get_parsed_content("cleanup"), output)

    def path_of(self, study: Study) -> Path:
        """Where a study's label map goes."""
        return self.output / f"{study.case_id}.nii.gz"

    def load(self, study: Study) -> tuple[Study, MetaTensor]:
        """First step: read and preprocess the image."""
        with one_thread():
            return study, self.model.preprocess(study.image)

    def predict(self, loaded: tuple[Study, MetaTensor]) -> tuple[Study, Predicted]:
        """Second step: the networks."""
        study, image = loaded
        return study, self.model.predict(image)

    def write(self, predicted: tuple[Study, Predicted]) -> Path:
        """Last step: decode, clean up, and write label map and sidecar ``<case id>.json``, each whole or not at all.

        The sidecar holds the decoder and its decisions (per region: expected score, volume and its standard deviation,
        ...), which speak of the label map as decoded, before cleanup.
        """
        study, probabilities = predicted
        path = self.path_of(study)
        with one_thread():
            decoded = self.model.decode(probabilities)
            label_map = self._cleaned(decoded.label_map, study)
        write_label_map(label_map, path, grid_of=study.image)
        sidecar = {
            "case_id": study.case_id,
            "package_version": __version__,
            "decoder": repr(self.model.decoder),
            "decisions": [asdict(decision) for decision in decoded.decisions],
        }
        with atomic_write(self.output / f"{study.case_id}.json") as temporary:
            temporary.write_text(json.dumps(sidecar, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        return path

    def _cleaned(self, label_map: UInt8[Tensor, "X Y Z"], study: Study) -> UInt8[Tensor, "X Y Z"]:
        if self.cleanup is None:
            return label_map
        # Some steps ask for volumes in ml.
        on_grid = MetaTensor(label_map[None], affine=open_nifti(study.image).affine)
        cleaned: Tensor = self.cleanup(on_grid).as_tensor()[0]
        return cleaned


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch work in this thread alone, beside a network that has the cores.

    Threads of one operation wait for each other; with a core taken by another operation, small ones become many times
    slower.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def predict(
    studies: Iterable[Study],
    prediction: Prediction,
    *,
    overwrite: bool = False,
    memory_budget: int | None = None,
) -> Iterator[Outcome[Study, Path]]:
    """Predict studies; one that fails is reported and the rest go on.

    While one study is on the network, the next is loaded and preprocessed and the last is decoded and written.

    Args:
        studies: What to predict.
        prediction: How.
        overwrite: Whether label maps that are there already may be replaced.
        memory_budget: In bytes; studies wait to be loaded while those under way and they are estimated to need more.

    Returns:
        An outcome per study, in order, as each finishes: the path of its label map, or the error.

    Raises:
        StudyError: Before anything is predicted: label maps are there already and ``overwrite`` is false, or would
            replace the images themselves.
    """
    studies = list(studies)
    _check_outputs(studies, prediction, overwrite)
    prediction.output.mkdir(parents=True, exist_ok=True)
    return run_overlapped(
        (prediction.load, prediction.predict, prediction.write),
        studies,
        memory_budget=memory_budget,
        memory_needed=_memory_needed,
    )


def _memory_needed(study: Study) -> int:
    """Bytes for one study at its worst, twice what benchmarks/memory.py saw of a full CT; only the header is read."""
    return _BYTES_PER_VOXEL * math.prod(map(int, open_nifti(study.image).shape[:3]))


def _check_outputs(studies: list[Study], prediction: Prediction, overwrite: bool) -> None:
    inputs = {study.image.resolve() for study in studies}
    for study in studies:
        if prediction.path_of(study).resolve() in inputs:
            raise StudyError(
                f"{prediction.path_of(study)}: the label map would replace an image; write to another folder"
            )
    existing = [study.case_id for study in studies if prediction.path_of(study).exists()]
    if existing and not overwrite:
        named = ", ".join(existing[:5]) + (", ..." if len(existing) > 5 else "")
        raise StudyError(
            f"{prediction.output}: holds label maps of {len(existing)} of these studies already ({named}); "
            "write to another folder, or allow them to be replaced with --overwrite"
        )
