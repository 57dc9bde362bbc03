"""Cases whose probabilities a network predicts whenever they are asked for: nothing is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from jaxtyping import Float32, UInt8
from torch import Tensor

from rankseg_med.configuration import Config, ConfigError
from rankseg_med.evaluation.cases import read_reference
from rankseg_med.evaluation.patients import read_patients
from rankseg_med.inference import SegmentationModel
from rankseg_med.studies import (
    Grid,
    NnunetLabels,
    ProbabilityVolume,
    Study,
    StudyError,
    check_same_grid,
    find_references,
    list_studies,
    read_grid,
)
from rankseg_med.workflows import Prediction, PredictJob


@dataclass(frozen=True)
class Network:
    """A trained network; it is built once in each process that needs it.

    Attributes:
        digest: Hash of its settings and weights.
        build: Makes it; picklable.
    """

    digest: str
    build: Callable[[], Prediction] = field(compare=False)

    @classmethod
    def from_config(cls, config: Config, checkpoints: Sequence[Path]) -> Network:
        """The network that an inference config describes, without its decoder, cleanup and calibration.

        Raises:
            ConfigError: Probabilities are not decoded on the image's grid, or not as a mean over networks.
            CheckpointError: There is no such checkpoint file.
        """
        config["calibration"] = None
        for key, required in (("grid", "native"), ("ensemble", "mean")):
            if config[key] != required:
                raise ConfigError(
                    f"{key}: decodings are compared with {key} {required}, got {config[key]!r}; predict with that too"
                )
        job = PredictJob(config, checkpoints, Path())
        return cls(job.digest, job.prediction)


@dataclass(frozen=True)
class NetworkCase:
    """One case; as `Case`, but its probabilities are predicted.

    Attributes:
        study: Its images.
        reference_file: Its label map as it should be, on the same grid.
        patient: Whom it is of.
        network: What predicts it.
    """

    study: Study
    reference_file: Path
    patient: str
    network: Network

    @property
    def case_id(self) -> str:
        """Unique within what was found."""
        return self.study.case_id

    @property
    def image(self) -> Path:
        """The image, of several the first."""
        return self.study.image

    @property
    def source(self) -> Path:
        """The same."""
        return self.image

    @property
    def grid(self) -> Grid:
        """Where the voxels lie; a header is read."""
        return read_grid(self.image)

    @contextmanager
    def opened(self) -> Iterator[ProbabilityVolume]:
        """The probabilities, in main memory."""
        yield ProbabilityVolume.in_memory(self.probabilities())

    def probabilities(self) -> Float32[Tensor, "classes X Y Z"]:
        """Run the network.

        Raises:
            StudyError: The image cannot be used.
            InferenceError: The network cannot.
        """
        model = _built(self.network).model
        if not isinstance(model, SegmentationModel):
            raise TypeError(f"a network must give probabilities, got {type(model).__name__}")
        return model.probabilities(self.study.images)

    def reference(self) -> UInt8[Tensor, "X Y Z"]:
        """The label map as it should be.

        Raises:
            StudyError: The file cannot be used.
        """
        return read_reference(self.reference_file)


def find_network_cases(
    images: Path,
    references: Path,
    network: Network,
    *,
    data_root: Path | None = None,
    fold: int | None = None,
    channels: int | None = None,
    patients: str | None = None,
) -> list[NetworkCase]:
    """Pair images with references; headers alone are read.

    Args:
        images: Images of cases that the network was not trained on, see `find_studies`. Those without a reference are
            passed over.
        references: Label maps, or a data list whose labels are meant; see `find_references`.
        network: What predicts them.
        data_root: What the paths of data lists are relative to; by default each list's own folder.
        fold: Only the cases of data lists that are held out in this fold.
        channels: Images of a study in a folder, see `find_studies`.
        patients: As for `find_cases`.

    Raises:
        StudyError: Either side cannot be used, or a reference has no image.
        GridError: A reference is on another grid than its image.
        ValueError: A case has no patient.
    """
    expected = find_references(references, data_root=data_root, fold=fold)
    found = {study.case_id: study for study in list_studies(images, data_root=data_root, channels=channels).all_sound()}
    if missing := sorted(expected.keys() - found.keys()):
        raise StudyError(f"{images}: has no image of {', '.join(missing)}")
    for case_id, reference in expected.items():
        check_same_grid(found[case_id].image, reference)
    patient_of = {case_id: case_id for case_id in expected} if patients is None else read_patients(patients, expected)
    return [
        NetworkCase(found[case_id], reference, patient_of[case_id], network)
        for case_id, reference in sorted(expected.items())
    ]


def structures_of_config(config: Config, regions: Mapping[str, Sequence[int]] | None = None) -> NnunetLabels | None:
    """The structures of a network's config: given regions, or those of its decoder, or its classes.

    Args:
        config: Config of an inference or a decode job.
        regions: Name to labels of unions of classes.

    Returns:
        None where the config names no classes.
    """
    if "label_names" not in config:
        return None
    classes = dict(enumerate(config["label_names"]))
    of_decoder = config.get("decoder::regions")
    if regions is None and of_decoder:
        regions = {"+".join(classes[label] for label in labels): labels for labels in of_decoder}
    names = {name: tuple(labels) for name, labels in (regions or {}).items()}
    return NnunetLabels(names or {name: (label,) for label, name in classes.items() if label}, len(classes), None)


@lru_cache(maxsize=1)
def _built(network: Network) -> Prediction:
    return network.build()
