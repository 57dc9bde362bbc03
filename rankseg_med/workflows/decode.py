"""Stored probabilities in, label maps out, one study at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from monai.bundle import ConfigParser
from torch import Tensor

from rankseg_med.calibration import Calibration, CalibrationError
from rankseg_med.configuration import (
    CalibrationFile,
    ConfigError,
    calibration_file_of,
    record_of,
)
from rankseg_med.decode import (
    SUM_TOLERANCE,
    ArgmaxDecoder,
    AtHalfDecoder,
    Decoded,
    RankSEGDecoder,
    RegionChannels,
    SlabSession,
    Store,
    check_values,
    for_independent_channels,
)
from rankseg_med.errors import InputError
from rankseg_med.runs import Written
from rankseg_med.studies import (
    LabelMapFormat,
    NnunetLabels,
    ProbabilityStudy,
    ProbabilityVolume,
    StudyError,
    count_channels,
    grid_of,
    open_probabilities,
)
from rankseg_med.threads import one_thread
from rankseg_med.workflows.label_map_job import LabelMapJob
from rankseg_med.workflows.label_maps import NIFTI, LabelMaps, names_of, probabilities_in
from rankseg_med.workflows.stored_probabilities import StoredProbabilities


@dataclass(frozen=True)
class Decoding:
    """Everything that turns one study's stored probabilities into its label map on disk, in three steps.

    Attributes:
        decoder: Probabilities to label map; for regions one that takes independent channels.
        label_maps: Where label maps go, and how they are cleaned up and named.
        regions: What the channels are, if they are regions by sigmoid; None for exclusive classes by softmax.
        num_channels: How many there must be; None for any number.
        store: Place where probabilities wait: ``"memory"`` (two bytes a voxel and foreground class) or ``"disk"``.
        store_folder: Folder of temporary files; by default the system's.
        device: Device where they are decoded.
        calibration: Calibration of the stored probabilities, or None: decoded as they are.
    """

    decoder: RankSEGDecoder | ArgmaxDecoder | AtHalfDecoder
    label_maps: LabelMaps
    regions: RegionChannels | None = None
    num_channels: int | None = None
    store: Store = "memory"
    store_folder: Path | None = None
    device: torch.device | str = "cpu"
    calibration: CalibrationFile | None = None

    def __post_init__(self) -> None:
        if self.decoder.exclusive != (self.regions is None):
            raise InputError(
                "channels that are regions need a decoder with mode 'multilabel', exclusive classes one with mode "
                f"'multiclass'; got regions {self.regions} and {self.decoder!r}"
            )
        keeps = isinstance(self.decoder, RankSEGDecoder) and self.regions is None
        if self.label_maps.format.needs_probabilities and not keeps:
            raise InputError(
                "to write probabilities needs probabilities of exclusive classes and a decoder for dice or iou, got "
                f"{'regions by sigmoid' if self.regions else repr(self.decoder)}"
            )

    def load(self, study: ProbabilityStudy) -> tuple[ProbabilityStudy, SlabSession]:
        """First step: read and check the probabilities, slab by slab; what is kept of them is in the session.

        Raises:
            StudyError: The files cannot be used (see `open_probabilities`), have another number of channels, or hold
                something else than probabilities; the message names them.
        """
        self.label_maps.format.check_source(_grid_file(study))
        with one_thread(), open_probabilities(study, folder=self.store_folder) as volume:
            return study, self.session_of(volume, study.files[0])

    def session_of(self, volume: ProbabilityVolume, source: Path) -> SlabSession:
        """As `load`, of a volume that is open already, so that another decoding may read it next.

        Args:
            volume: Probabilities.
            source: File that errors name.
        """
        self._check_channels(source, volume.shape[0])
        session = self.decoder.open(
            volume.shape[0],
            volume.shape[1:],
            axis=volume.axis,
            store=self.store,
            folder=self.store_folder,
            device=self.device,
        )
        exclusive = self.regions is not None and volume.shape[0] > 1
        calibration = self._calibration_of(source, volume.shape[0])
        for slab, probabilities in volume.slabs():
            try:
                given = probabilities.to(self.device)
                if calibration is not None:
                    # What comes out of it is always in [0, 1] and adds up to one.
                    check_values(given, exclusive=self.regions is None)
                    given = calibration.probabilities(given)
                session.update(slab, given)
            except ValueError as error:
                session.close()
                raise StudyError(f"{source}: {error}") from error
            exclusive = exclusive and _sum_to_one(probabilities)
        if exclusive:
            session.close()
            raise StudyError(
                f"{source}: channels that are regions must be independent (sigmoid), but sum to one in every "
                "voxel; these look like classes by softmax: leave out the region channels"
            )
        return session

    def decode(self, loaded: tuple[ProbabilityStudy, SlabSession]) -> tuple[ProbabilityStudy, Decoded, Tensor | None]:
        """Second step: the decisions, the label map ``(X, Y, Z)``, and probabilities if they are to be written."""
        study, session = loaded
        probabilities = probabilities_in(session, self.label_maps.format)
        return study, self.finish(session), probabilities

    def finish(self, session: SlabSession) -> Decoded:
        """As `decode`, of a session by itself."""
        with one_thread():  # the study before is being written and the next one read
            decoded = session.finalize()
        return decoded if self.regions is None else self.regions.as_labels(decoded)

    def write(self, decoded: tuple[ProbabilityStudy, Decoded, Tensor | None]) -> Written:
        """Last step: clean up, and write the label map, whole or not at all; see `LabelMaps.write`.

        Of regions, decisions speak of the masks as decoded, before they are painted over each other. The record says
        beside that what each file of the input is.
        """
        study, result, probabilities = decoded
        affine = grid_of(study).affine
        with one_thread():
            written = self.label_maps.write(
                result,
                study.case_id,
                inputs=study.paths,
                grid_of=_grid_file(study),
                affine=affine,
                decoder=self.decoder,
                probabilities=probabilities,
            )
        source = StoredProbabilities.of(study, self.regions)
        return Written(written.paths, {**written.details, **source.entries})

    def _calibration_of(self, source: Path, channels: int) -> Calibration | None:
        if self.calibration is None:
            return None
        try:
            return self.calibration.built_for(channels, independent=self.regions is not None)
        except CalibrationError as error:
            raise StudyError(f"{source}: {error}") from error

    def _check_channels(self, source: Path, found: int) -> None:
        if self.num_channels is not None and found != self.num_channels:
            what = "region" if self.regions else "class, background included"
            raise StudyError(f"{source}: must have {self.num_channels} channels, one for each {what}, got {found}")
        if self.regions is None and found < 2:
            raise StudyError(
                f"{source}: must have a channel per class, the background first, got {found} in all; if it is "
                "one foreground channel by sigmoid, say so with the region channels, such as tumour=1"
            )


def _grid_file(study: ProbabilityStudy) -> Path:
    """The image whose grid a study's probabilities are on."""
    return study.grid or study.files[0]


class DecodeJob(LabelMapJob[ProbabilityStudy]):
    """Stored probabilities in, label maps out.

    Args:
        config: Config of a decode job.
        output: Folder of the label maps.
        labels: What nnU-Net's ``dataset.json`` says of the channels, where the config does not.
        format: How label maps are written.

    Raises:
        CalibrationError: The calibration file cannot be used, or is of another number of channels.
        ValueError: Settings that do not go together.
    """

    name = "decode"
    stage_names = ("load", "decode", "write")

    def __init__(
        self,
        config: ConfigParser,
        output: Path,
        labels: NnunetLabels | None = None,
        *,
        format: LabelMapFormat = NIFTI,
    ) -> None:
        settings = dict(config.get())
        if (file := calibration_file_of(config)) is not None:
            settings["calibration"] = file
        self._labels = labels
        super().__init__(settings, output, format, nnunet_labels=repr(labels))
        self.decoding()

    def decoding(self) -> Decoding:
        """Build decoder, calibration and cleanup as the config says."""
        config, labels = self.config, self._labels
        regions = None if labels is None else labels.regions
        if (given := config.get_parsed_content("region_channels")) is not None:
            regions = RegionChannels.of(given)
        if regions is not None:
            num_channels: int | None = len(regions.regions)
        elif "label_names" in config:
            num_channels = len(config["label_names"])
        else:
            num_channels = None if labels is None else labels.channels
        folder = config.get_parsed_content("store_folder")
        decoder: RankSEGDecoder | ArgmaxDecoder = config.get_parsed_content("decoder")
        calibration = _calibration(config, num_channels, regions)
        record = None if calibration is None else record_of(calibration.build(), calibration)
        return Decoding(
            decoder if regions is None else for_independent_channels(decoder),
            LabelMaps(self.output, config.get_parsed_content("cleanup"), names_of(config, labels), record, self.format),
            regions,
            num_channels,
            config.get_parsed_content("store"),
            None if folder is None else Path(folder),
            config.get_parsed_content("device"),
            calibration,
        )

    def build(self) -> tuple[Callable[[Any], Any], ...]:
        """The three steps."""
        decoding = self.decoding()
        return decoding.load, decoding.decode, decoding.write

    def inputs_of(self, study: ProbabilityStudy) -> tuple[Path, ...]:
        """The probabilities, and the file that says where they lie."""
        return study.paths

    def memory_needed(self, study: ProbabilityStudy) -> int:
        """Bytes at its worst, twice what was measured: two a voxel and channel, and somewhat more."""
        channels, voxels = count_channels(study), math.prod(grid_of(study).shape)
        return 2 * (2 * channels + 2) * voxels + self.memory_to_write(channels, voxels)


def _calibration(
    config: ConfigParser, num_channels: int | None, regions: RegionChannels | None
) -> CalibrationFile | None:
    file = calibration_file_of(config)
    if file is None and config.get("calibration") is not None:
        raise ConfigError("calibration: must be the path of a file, or null: stored probabilities have no checkpoint")
    if file is not None and num_channels is not None:
        file.built_for(num_channels, independent=regions is not None)
    return file


def _sum_to_one(channels: Float[Tensor, "channels X Y Z"]) -> bool:
    return bool(((channels.sum(0) - 1).abs() < SUM_TOLERANCE).all())
