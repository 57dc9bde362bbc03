"""Images in, label maps out, one study at a time."""

from __future__ import annotations

import copy
import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from monai.bundle import ConfigParser

from rankseg_med.calibration import Calibration
from rankseg_med.configuration import calibration_file_of, record_of
from rankseg_med.decode import Decoded, RankSEGDecoder
from rankseg_med.errors import InputError
from rankseg_med.inference import Predicted, SegmentationModel
from rankseg_med.networks import CheckpointError, NetworkFile, load_weights, network_sha256
from rankseg_med.runs import Written
from rankseg_med.studies import LabelMapFormat, Study, read_grid
from rankseg_med.threads import one_thread
from rankseg_med.workflows.label_map_job import LabelMapJob
from rankseg_med.workflows.label_maps import NIFTI, LabelMaps, probabilities_in
from rankseg_med.workflows.prediction_memory import PredictionMemory


@runtime_checkable
class Model(Protocol):
    """Image files to a label map on their grid, in three steps that may run in different threads."""

    @property
    def decoder(self) -> object: ...  # noqa: D102

    def preprocess(self, image: Sequence[Path], /) -> Any:  # noqa: ANN401 - each model's own
        """The images as networks take them."""
        ...

    def predict(self, image: Any, /) -> Any:  # noqa: ANN401
        """What waits to be decoded."""
        ...

    def decode(self, predicted: Any, /) -> Decoded:  # noqa: ANN401
        """Label map ``(X, Y, Z)`` and decisions."""
        ...


@dataclass(frozen=True)
class Prediction:
    """Everything that turns one study's image into its label map on disk, in three steps.

    Attributes:
        model: Image file to label map on the image's grid.
        label_maps: Where label maps go, and how they are cleaned up and named.
    """

    model: Model
    label_maps: LabelMaps

    def __post_init__(self) -> None:
        if self.label_maps.format.needs_probabilities and not _keeps_probabilities(self.model):
            raise InputError(
                "to write probabilities needs a network of a config, a bundle or a file, a decoder for dice or iou, "
                "grid 'native' and ensemble 'mean'; of nnU-Net save probabilities (nnUNetv2_predict "
                "--save_probabilities) and decode them"
            )

    def load(self, study: Study) -> tuple[Study, Any]:
        """First step: read and preprocess the image."""
        self.label_maps.format.check_source(study.image)
        with one_thread():
            return study, self.model.preprocess(study.images)

    def predict(self, loaded: tuple[Study, Any]) -> tuple[Study, Any]:
        """Second step: the networks."""
        study, image = loaded
        return study, self.model.predict(image)

    def write(self, predicted: tuple[Study, Any]) -> Written:
        """Last step: decode, clean up, and write the label map, whole or not at all; see `LabelMaps.write`."""
        study, waiting = predicted
        affine = read_grid(study.image).affine
        with one_thread():
            kept = None
            if isinstance(waiting, Predicted):
                kept = probabilities_in(waiting.sessions[0], self.label_maps.format)
            decoded = self.model.decode(waiting)
            return self.label_maps.write(
                decoded,
                study.case_id,
                inputs=study.images,
                grid_of=study.image,
                affine=affine,
                decoder=self.model.decoder,
                probabilities=kept,
            )


def _keeps_probabilities(model: Model) -> bool:
    """Whether what waits to be decoded are the mean probabilities of exclusive classes on the image's grid."""
    return (
        isinstance(model, SegmentationModel)
        and isinstance(model.decoder, RankSEGDecoder)
        and (model.grid, model.ensemble) == ("native", "mean")
    )


Loaded = TypeVar("Loaded", bound=torch.nn.Module)


def _loaded(module: Loaded, checkpoint: Path, sha256: str, entry: str | None = None) -> Loaded:
    """A copy of a network, or of its calibration, with what a checkpoint holds of it."""
    module = copy.deepcopy(module)
    if isinstance(module, NetworkFile):
        module.read(checkpoint, sha256=sha256)
    else:
        load_weights(module, checkpoint, entry=entry, sha256=sha256)
    return module


class ImageJob(LabelMapJob[Study]):
    """Images in, label maps out, whoever's the networks are."""

    name = "predict"
    stage_names = ("load", "predict", "write")

    @abstractmethod
    def prediction(self) -> Prediction:
        """Build the networks and all that is around them, and load the weights."""

    def build(self) -> tuple[Callable[[Any], Any], ...]:
        """Load the networks; the three steps."""
        prediction = self.prediction()
        return prediction.load, prediction.predict, prediction.write

    def inputs_of(self, study: Study) -> tuple[Path, ...]:
        """The study's image files."""
        return study.images


class PredictJob(ImageJob):
    """Prediction by the networks that a config describes.

    Args:
        config: Config of an inference job.
        checkpoints: One, or several of one architecture: an ensemble. Whole networks (files, or folders of
            transformers) if the config's network is a `NetworkFile`.
        output: Folder of the label maps.
        format: How they are written.

    Raises:
        CheckpointError: There is no such checkpoint file.
        CalibrationError: The calibration file cannot be used, or is of another number of classes.
    """

    def __init__(
        self, config: ConfigParser, checkpoints: Sequence[Path], output: Path, *, format: LabelMapFormat = NIFTI
    ) -> None:
        missing = [checkpoint for checkpoint in checkpoints if not checkpoint.exists()]
        if missing:
            raise CheckpointError(f"{missing[0]}: no such checkpoint file")
        settings = dict(config.get())
        if (file := calibration_file_of(config)) is not None:
            file.built_for(config.get_parsed_content("num_classes"), independent=False)
            settings["calibration"] = file
        # Workers load the weights later, and again when one is replaced: always those that the digest speaks of.
        sha256 = tuple(map(network_sha256, checkpoints))
        self._weights = tuple(zip(checkpoints, sha256, strict=True))
        self._memory = PredictionMemory.from_config(config, len(checkpoints))
        super().__init__(settings, output, format, checkpoints=sha256)
        format.check_names(self._names())

    def prediction(self) -> Prediction:
        """Build networks, preprocessing, decoder and cleanup as the config says, and load the weights.

        Raises:
            CheckpointError: A checkpoint cannot be read, does not fit the network, lacks the calibration that the
                config asks for, or is not the file that it was when the job was made.
            ValueError: Settings that do not go together.
        """
        config = self.config
        network = config.get_parsed_content("network")
        file, own, of_all = calibration_file_of(config), list[Calibration](), None
        if file is not None:
            of_all = file.built_for(config.get_parsed_content("num_classes"), independent=False)
        elif (fresh := config.get_parsed_content("calibration")) is not None:
            own = [_loaded(fresh, *one, entry="calibration") for one in self._weights]
        settings = ("preprocessing", "inferer", "num_classes", "decoder", "grid", "ensemble", "store")
        folder = config.get_parsed_content("store_folder")
        model = SegmentationModel(
            networks=[_loaded(network, *one) for one in self._weights],
            network_calibrations=own,
            calibration=of_all,
            store_folder=None if folder is None else Path(folder),
            **{name: config.get_parsed_content(name) for name in settings},
        )
        record = record_of(of_all if of_all is not None else next(iter(own), None), file)
        label_maps = LabelMaps(self.output, config.get_parsed_content("cleanup"), self._names(), record, self.format)
        return Prediction(model, label_maps)

    def _names(self) -> dict[int, str]:
        """Label to name, without the background."""
        return {label: name for label, name in enumerate(self._config["label_names"]) if label}

    def memory_needed(self, study: Study) -> int:
        """Bytes at its worst; only the header is read."""
        grid = read_grid(study.image)
        written = self.memory_to_write(self._memory.num_classes, math.prod(grid.shape))
        return self._memory.needed(grid, len(study.images)) + written
