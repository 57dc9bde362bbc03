"""Images in, label maps out, by models that nnU-Net trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from rankseg_med.calibration import Calibration
from rankseg_med.configuration import ConfigError, calibration_file_of, record_of
from rankseg_med.nnunet import (
    Export,
    FoldEnsemble,
    MergedModels,
    ModelFolder,
    NnunetError,
    NnunetMemory,
    NnunetModel,
    read_plans,
)
from rankseg_med.studies import LabelMapFormat, Study, content_digest, read_grid
from rankseg_med.workflows.label_maps import NIFTI, LabelMaps, names_of
from rankseg_med.workflows.predict import ImageJob, Model, Prediction


class NnunetJob(ImageJob):
    """Prediction by a trained model of nnU-Net, or by several that know different structures.

    Args:
        config: Config of a decode job: decoder, calibration, cleanup, device and store; nnU-Net says the rest.
        models: Folders of the models, and which of their networks are used.
        output: Folder of the label maps.
        merged_labels: Name of a structure to its label in the label maps, where several models are merged; see
            `MergedModels`. None for one model, whose labels stay.
        export: Way of the logits to the file's grid, see `NnunetModel`.
        ensemble: What several folds are decoded as, see `NnunetModel`.
        mirroring: Whether to average over mirrored windows, where networks were trained for it.
        step_size: Step from window to window, as a share of a window.
        format: How label maps are written.

    Raises:
        ConfigError: The config says what nnU-Net says: ``region_channels``.
        NnunetError: A model cannot be run here, or models are not merged as they should.
        CalibrationError: The calibration file cannot be used, or is of another number of channels.
    """

    def __init__(
        self,
        config: ConfigParser,
        models: Sequence[ModelFolder],
        output: Path,
        *,
        merged_labels: Mapping[str, int] | None = None,
        export: Export = "slabs",
        ensemble: FoldEnsemble = "logits",
        mirroring: bool = True,
        step_size: float = 0.5,
        format: LabelMapFormat = NIFTI,
    ) -> None:
        self._models = tuple((model, tuple(map(content_digest, model.files))) for model in models)
        self._plans = tuple(map(read_plans, models))
        images = {plans.num_images for plans in self._plans}
        if len(images) != 1 or (merged_labels is None and len(models) > 1):
            raise NnunetError(
                "several models must take as many images each and have labels to be merged, got models of "
                f"{sorted(images)} images, and {'labels' if merged_labels else 'no labels'}"
            )
        self._merged_labels = merged_labels
        self._options: dict[str, Any] = {
            "export": export,
            "ensemble": ensemble,
            "mirroring": mirroring,
            "step_size": step_size,
        }
        settings = dict(config.get())
        if settings["region_channels"] is not None:
            raise ConfigError("region_channels: nnU-Net's dataset.json says what the channels are; leave it out")
        if (file := calibration_file_of(config)) is not None:
            settings["calibration"] = file
            for plans in self._plans:
                file.built_for(plans.labels.channels, independent=plans.labels.regions is not None)
        self._memory = [
            NnunetMemory(plans, len(model.checkpoints), export, ensemble, settings["store"])
            for model, plans in zip(models, self._plans, strict=True)
        ]
        digests = [sha256 for _, sha256 in self._models]
        super().__init__(settings, output, format, models=digests, merged_labels=merged_labels, **self._options)
        format.check_names(self._names(config))

    def prediction(self) -> Prediction:
        """Check the models, build their networks, and load the weights; decoder and cleanup as the config says."""
        config = self.config
        file, folder = calibration_file_of(config), config.get_parsed_content("store_folder")
        decoder, device = config.get_parsed_content("decoder"), config.get_parsed_content("device")
        models = []
        calibration: Calibration | None = None
        for (found, sha256), plans in zip(self._models, self._plans, strict=True):
            labels = plans.labels
            if file is not None:
                calibration = file.built_for(labels.channels, independent=labels.regions is not None)
            models.append(
                NnunetModel.load(
                    found,
                    decoder,
                    device=device,
                    sha256=sha256,
                    calibration=calibration,
                    store=config.get_parsed_content("store"),
                    store_folder=None if folder is None else Path(folder),
                    **self._options,
                )
            )
        model: Model
        if self._merged_labels is None:
            (model,) = models
        else:
            model = MergedModels(models, self._merged_labels)
        label_maps = LabelMaps(
            self.output,
            config.get_parsed_content("cleanup"),
            self._names(config),
            record_of(calibration, file),
            self.format,
        )
        return Prediction(model, label_maps)

    def _names(self, config: ConfigParser) -> dict[int, str] | None:
        """Label to name, without the background; None where nobody says."""
        if self._merged_labels is None:
            return names_of(config, self._plans[0].labels)
        return {label: name for name, label in self._merged_labels.items()}

    def memory_needed(self, study: Study) -> int:
        """Bytes at its worst; only the header is read."""
        grid = read_grid(study.image)
        return max(memory.needed(grid, len(study.images)) for memory in self._memory)
