"""What MONAI's own runner (`python -m monai.bundle run`, docs/bundles.md) needs of us to run our inference config."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from monai.config import KeysCollection
from monai.data import MetaTensor, decollate_batch
from monai.engines import Workflow
from monai.inferers import Inferer
from monai.transforms import Compose, MapTransform, Transform
from monai.utils import MetaKeys
from torch import Tensor

from rankseg_med.calibration import load_calibration
from rankseg_med.decode import ArgmaxDecoder, RankSEGDecoder, Store
from rankseg_med.inference import DecodedGrid, SegmentationModel, StreamingInferer
from rankseg_med.studies import StudyError, find_references, find_studies
from rankseg_med.workflows.label_maps import NIFTI, cleaned, label_map_path

_log = logging.getLogger(__name__)


def dataset_items(source: Path, labels: Path | None = None) -> list[dict[str, Any]]:
    """Studies as MONAI's datasets take them.

    Args:
        source: What `rankseg-med predict` takes: an image, a folder, a pattern or a data list.
        labels: Reference label maps, a folder or a data list; by default those of the data list, if any.

    Returns:
        Items with `image`, `case_id` and `label`, if there is one. None at all, and a warning why, where nothing can be
        listed, so that a bundle can be looked at without data; `run_engine` runs none such.

    Raises:
        StudyError: A study has no reference among the labels.
    """
    try:
        studies = find_studies(source)
        references = {} if labels is None else find_references(labels)
    except StudyError as error:
        _log.warning("%s", error)
        return []
    items = [study.item | {"label": references.get(study.case_id, study.label)} for study in studies]
    without = [str(item["case_id"]) for item in items if item["label"] is None]
    if labels is not None and without:
        raise StudyError(f"{labels}: has no label map of {', '.join(without)}")
    return [{key: value for key, value in item.items() if value is not None} for item in items]


def run_engine(engine: Workflow) -> None:
    """Run a trainer or an evaluator; MONAI passes over one that has nothing to work on.

    Raises:
        StudyError: It has no studies.
    """
    if not len(engine.data_loader.dataset):
        raise StudyError(
            "there are no studies to work on (a warning above says why); name the images with --dataset_dir, or the "
            "data list of a training with --manifest"
        )
    engine.run()


class LabelMapInferer(Inferer):
    """From a preprocessed image to the label map on the grid of its file, for MONAI's `SupervisedEvaluator`.

    Args:
        inferer: What takes the network over the volume.
        num_classes: Background included.
        decoder: Probabilities to label map.
        grid: As in `SegmentationModel`; ``store`` and ``store_folder`` too.
        store: Place where probabilities wait.
        store_folder: Folder of the temporary file on disk.
        calibration: Path of a calibration file, or None.
        cleanup: Label map ``(1, X, Y, Z)`` to label map, or None.

    Raises:
        CalibrationError: The file cannot be used.
        ValueError: The calibration is none of a file; those of a checkpoint are `rankseg-med predict`'s.
    """

    def __init__(
        self,
        inferer: StreamingInferer,
        num_classes: int,
        decoder: RankSEGDecoder | ArgmaxDecoder,
        *,
        grid: DecodedGrid = "native",
        store: Store = "memory",
        store_folder: str | None = None,
        calibration: object = None,
        cleanup: Transform | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(calibration, str | None):
            raise ValueError(f"calibration must be the path of a file, or null, got {calibration!r}")
        self.inferer, self.num_classes, self.decoder, self.cleanup = inferer, num_classes, decoder, cleanup
        self.options: dict[str, Any] = {
            "grid": grid,
            "store": store,
            "store_folder": None if store_folder is None else Path(store_folder),
            "calibration": None if calibration is None else load_calibration(Path(calibration)),
        }

    def __call__(
        self, inputs: Float[MetaTensor, "1 channels *model"], network: torch.nn.Module, *args: object, **kwargs: object
    ) -> UInt8[Tensor, "1 1 *native"]:
        """Label map of one image, as `rankseg-med predict` writes it.

        Args:
            inputs: A batch of one, with what its preprocessing recorded.
            network: From windows to logits.
            args: None.
            kwargs: None.
        """
        (image,) = decollate_batch(inputs)
        model = SegmentationModel(Compose(), [network], self.inferer, self.num_classes, self.decoder, **self.options)
        label_map = model.decode(model.predict(image)).label_map.cpu()
        affine = torch.as_tensor(image.meta[MetaKeys.ORIGINAL_AFFINE]).numpy()
        return cleaned(label_map, self.cleanup, affine)[None, None]


class WriteLabelMapd(MapTransform):
    """Write a label map as `rankseg-med predict` does: on the image's grid, with the names of its labels.

    Args:
        keys: Key of the label map ``(1, X, Y, Z)``.
        folder: Folder of the label maps.
        label_names: Names of all classes; the first is the background's.
    """

    def __init__(self, keys: KeysCollection, folder: Path, label_names: Sequence[str]) -> None:
        super().__init__(keys)
        self.folder = folder
        self.names = {label: name for label, name in enumerate(label_names) if label}

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Write it, named after `case_id`; what is written stays in the data.

        Raises:
            StudyError: As `write_label_map`.
        """
        d = dict(data)
        for key in self.key_iterator(d):
            image = Path(d["image"].meta["filename_or_obj"])
            path = label_map_path(self.folder, d["case_id"])
            NIFTI.write(torch.as_tensor(d[key])[0], path, grid_of=image, names=self.names)
        return d
