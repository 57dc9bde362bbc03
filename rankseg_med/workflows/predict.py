"""Images in, label maps out, one study at a time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from monai.bundle import ConfigParser
from monai.transforms import Transform

from rankseg_med import __version__
from rankseg_med.decode import ArgmaxDecoder, Decoded, RankSEGDecoder
from rankseg_med.executors import Outcome, run_in_process
from rankseg_med.inference import ProbabilityModel
from rankseg_med.networks import load_weights
from rankseg_med.studies import Study, StudyError, atomic_write, write_label_map


@dataclass(frozen=True)
class Prediction:
    """Everything that turns one study's image into its label map on disk.

    Attributes:
        model: Image file to probabilities on the image's grid.
        decoder: Probabilities to label map ``(X, Y, Z)``.
        cleanup: Label map ``(1, X, Y, Z)`` to label map, or None.
        output: Folder of the label maps.
    """

    model: ProbabilityModel
    decoder: RankSEGDecoder | ArgmaxDecoder
    cleanup: Transform | None
    output: Path

    @classmethod
    def from_config(cls, config: ConfigParser, checkpoint: Path, output: Path) -> Prediction:
        """Build network, preprocessing, decoder and cleanup as the config says, and load the weights.

        Raises:
            CheckpointError: The checkpoint cannot be read or does not fit the network.
        """
        load_weights(config.get_parsed_content("network_def"), checkpoint)
        model = ProbabilityModel(
            preprocessing=config.get_parsed_content("preprocessing"),
            network=config.get_parsed_content("network"),
            inferer=config.get_parsed_content("inferer"),
            num_classes=config.get_parsed_content("num_classes"),
        )
        return cls(model, config.get_parsed_content("decoder"), config.get_parsed_content("cleanup"), output)

    def decode(self, image: Path) -> Decoded:
        """Label map ``(X, Y, Z)`` uint8 of one image on its own grid, cleaned up, and the decisions behind it."""
        decoded = self.decoder.decode(self.model(image))
        if self.cleanup is None:
            return decoded
        return replace(decoded, label_map=self.cleanup(decoded.label_map[None])[0])

    def path_of(self, study: Study) -> Path:
        """Where a study's label map goes."""
        return self.output / f"{study.case_id}.nii.gz"

    def __call__(self, study: Study) -> Path:
        """Predict one study; write its label map and, beside it, ``<case id>.json``, each whole or not at all.

        The sidecar holds the decoder and its decisions (per region: expected score, volume and its standard deviation,
        ...), which speak of the label map as decoded, before cleanup.
        """
        path = self.path_of(study)
        decoded = self.decode(study.image)
        write_label_map(decoded.label_map, path, grid_of=study.image)
        sidecar = {
            "case_id": study.case_id,
            "package_version": __version__,
            "decoder": repr(self.decoder),
            "decisions": [asdict(decision) for decision in decoded.decisions],
        }
        with atomic_write(self.output / f"{study.case_id}.json") as temporary:
            temporary.write_text(json.dumps(sidecar, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        return path


def predict(
    studies: Iterable[Study], prediction: Prediction, *, overwrite: bool = False
) -> Iterator[Outcome[Study, Path]]:
    """Predict studies one after another; one that fails is reported and the rest go on.

    Args:
        studies: What to predict.
        prediction: How.
        overwrite: Whether label maps that are there already may be replaced.

    Returns:
        An outcome per study, in order, as each finishes: the path of its label map, or the error.

    Raises:
        StudyError: Before anything is predicted: label maps are there already and ``overwrite`` is false, or would
            replace the images themselves.
    """
    studies = list(studies)
    _check_outputs(studies, prediction, overwrite)
    prediction.output.mkdir(parents=True, exist_ok=True)
    return run_in_process(prediction, studies)


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
