"""Images of known class in, label maps with weights of voxels out, one study at a time."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import Transform
from torch import Tensor

from rankseg_med.configuration import ConfigError
from rankseg_med.inference import NativeGrid, Slab, volume_of
from rankseg_med.networks import load_weights, network_sha256
from rankseg_med.pretraining.classifiers import classifier_config, number_of_classifiers
from rankseg_med.pretraining.explainer import Explainer
from rankseg_med.pretraining.levels import label_and_weight, quantised
from rankseg_med.runs import Written
from rankseg_med.studies import Study, read_grid, write_fractions, write_label_map
from rankseg_med.threads import one_thread
from rankseg_med.training import MAY_DIFFER
from rankseg_med.transforms import own_errors_of_transforms
from rankseg_med.workflows import LabelMapJob

# Explanation and window; what was seen of it as doubles, their order for the deciles; levels and weights; the image.
_BYTES_PER_VOXEL = 50


def check_explainer(config: ConfigParser) -> None:
    """Make sure that a config has an explainer that can be built; best before classifiers are trained.

    Raises:
        ConfigError: It has none, or one that cannot be.
    """
    if "explainer" not in config:
        raise ConfigError("explainer: is missing; add one as in configs/classify.yaml")
    config.get_parsed_content("explainer")


@dataclass(frozen=True)
class Explained:
    """What the second step hands on.

    Attributes:
        explanation: On the image's own grid, in [0, 1]; all 0 of an image without structures.
        seen: On the same grid, which voxels lie in the window that the classifiers see.
        probabilities: Each classifier's probability of the class that the image is of.
    """

    explanation: Float[Tensor, "X Y Z"]
    seen: Bool[Tensor, "X Y Z"]
    probabilities: list[float]


class ExplainJob(LabelMapJob[Study]):
    """Explains the classes of images, and makes label maps with weights of voxels of the explanations.

    Of each study it writes, on the image's own grid, the label map ``<case id>.nii.gz``, the weights of its voxels,
    ``<case id>_weight.nii.gz``, and the explanation's deciles, ``<case id>_levels.nii.gz``. See `Explainer`,
    `quantised`, `label_and_weight`.

    Args:
        config: Config of the ensemble, as `load_config("train", ...)` reads it.
        checkpoints: Weights of its classifiers, one each.
        studies: All studies with their classes, whether or not they are explained by this job.
        output: Folder of the files.
        seed: Random seed of the noise; a study's depends on its case id too, and on nothing else.

    Raises:
        ConfigError: The config has no classifiers or no usable explainer, or another number of them than there are
            checkpoints.
        CheckpointError: There is no such checkpoint file.
    """

    name = "explain"
    stage_names = ("load", "explain", "write")
    results_version = 2
    not_in_results = MAY_DIFFER

    def __init__(
        self,
        config: ConfigParser,
        checkpoints: Sequence[Path],
        studies: Sequence[Study],
        output: Path,
        *,
        seed: int = 0,
    ) -> None:
        if (wanted := number_of_classifiers(config)) != len(checkpoints):
            raise ConfigError(f"classifiers: lists {wanted}, but there are {len(checkpoints)} checkpoints")
        check_explainer(config)
        sha256 = tuple(map(network_sha256, checkpoints))
        self._weights = tuple(zip(checkpoints, sha256, strict=True))
        self._seed = seed
        # A study's class is no file of its own, so all of them are among the settings.
        classes = json.dumps(sorted((study.case_id, study.image_class) for study in studies))
        super().__init__(
            dict(config.get()),
            output,
            checkpoints=sha256,
            image_classes=hashlib.sha256(classes.encode()).hexdigest(),
            seed=seed,
        )

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the classes, the background first."""
        return tuple(self._config["label_names"])

    def build(self) -> tuple[Callable[[Any], Any], ...]:
        """Load the classifiers; the three steps."""
        config = self.config
        classifiers = []
        for number, (checkpoint, sha256) in enumerate(self._weights):
            network = classifier_config(config, number).get_parsed_content("network")
            load_weights(network, checkpoint, sha256=sha256)
            classifiers.append(network.eval().requires_grad_(False))
        parts = (config.get_parsed_content(name) for name in ("preprocessing", "explainer", "device"))
        steps = _Steps(self, classifiers, *parts)
        return steps.load, steps.explain, steps.write

    def inputs_of(self, study: Study) -> tuple[Path, ...]:
        """The study's image files."""
        return study.images

    def outputs_of(self, study: Study) -> tuple[Path, ...]:
        """The label map, its weights and the levels."""
        more = (self.output / f"{study.case_id}_{what}.nii.gz" for what in ("weight", "levels"))
        return (*super().outputs_of(study), *more)

    def memory_needed(self, study: Study) -> int:
        """Bytes at its worst, but for the classifiers; only the header is read."""
        return _BYTES_PER_VOXEL * len(study.images) * math.prod(read_grid(study.image).shape)

    def seed_of(self, study: Study) -> int:
        """Random seed of a study's noise."""
        return int.from_bytes(hashlib.sha256(f"{self._seed}\0{study.case_id}".encode()).digest()[:7])


@dataclass(frozen=True)
class _Steps:
    job: ExplainJob
    classifiers: list[torch.nn.Module]
    preprocessing: Transform
    explainer: Explainer
    device: torch.device

    def load(self, study: Study) -> tuple[Study, MetaTensor]:
        with one_thread(), own_errors_of_transforms():
            return study, self.preprocessing(replace(study, label=None, weight=None).item)["image"]

    def explain(self, loaded: tuple[Study, MetaTensor]) -> tuple[Study, Explained]:
        study, image = loaded
        assert study.image_class is not None
        on_device = image.as_tensor().to(self.device)
        explanation = torch.zeros(image.shape[1:])
        # Of an image without structures there is nothing to show.
        if study.image_class > 0:
            seed = self.job.seed_of(study)
            explanation = self.explainer(self.classifiers, on_device, study.image_class, seed=seed).cpu()
        with torch.no_grad():
            logits = [classifier(on_device[None])[0] for classifier in self.classifiers]
        probabilities = [float(of_image.softmax(0)[study.image_class]) for of_image in logits]
        return study, Explained(*_on_native_grid(explanation, image), probabilities)

    def write(self, explained: tuple[Study, Explained]) -> Written:
        study, found = explained
        assert study.image_class is not None
        with one_thread():
            seen = found.seen.numpy()
            levels = quantised(found.explanation.numpy(), seen)
            label_map, weight = label_and_weight(levels, study.image_class, seen)
            paths = self.job.outputs_of(study)
            names = {label: name for label, name in enumerate(self.job.label_names) if label}
            write_fractions(torch.from_numpy(weight), paths[1], study.image)
            write_label_map(levels, paths[2], study.image)
            write_label_map(label_map, paths[0], study.image, names)
        details = {
            "image_class": self.job.label_names[study.image_class],
            "class_probabilities": found.probabilities,
            "seen": float(seen.mean()),
            "voxels": {name: int(np.count_nonzero(label_map == label)) for label, name in names.items()},
            "label_names": {str(label): name for label, name in names.items()},
        }
        return Written(paths, details)


def _on_native_grid(
    explanation: Float[Tensor, "*model"], image: MetaTensor
) -> tuple[Float[Tensor, "X Y Z"], Bool[Tensor, "X Y Z"]]:
    """The explanation on the grid of the image's file, 0 where the image was cut off; and where it was not."""
    grid = NativeGrid.of(image)
    window = torch.stack([explanation, torch.ones_like(explanation)])
    native = volume_of(grid.carry([Slab(0, explanation.shape[0], window)], 0), grid.native_axis(0), grid.native_shape)
    # Where spacings differ, voxels at the window's edge are made in part of what lies beyond it.
    seen = native[1] > 0.5
    return torch.where(seen, native[0] / native[1].clamp(min=0.5), 0), seen
