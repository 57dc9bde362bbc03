"""What a training starts from in place of random weights."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict

from rankseg_med.networks import MisfitError, network_sha256, start_from_weights

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StartingWeights:
    """The weights of another training, such as a pre-training.

    Attributes:
        file: A checkpoint, such as a training's ``last.pt``; a semi-supervised one's is its teacher.
        new_layers: Whether layers that do not fit, such as those of other classes, start anew; else they are refused.
    """

    file: Path
    new_layers: bool = False


class RecordedWeights(BaseModel):
    """The same, as a training's record has it.

    Attributes:
        file: Where the file was.
        sha256: Hash of its content, 64 hexadecimal digits.
        new_layers: Whether layers that do not fit were to start anew.
        anew: Entries of the network that did.
    """

    model_config = ConfigDict(frozen=True)

    file: str
    sha256: str
    new_layers: bool
    anew: tuple[str, ...] = ()

    @classmethod
    def of(cls, weights: StartingWeights) -> RecordedWeights:
        """Look at the file.

        Raises:
            CheckpointError: It is not there, or must not be read.
        """
        sha256 = network_sha256(weights.file)
        return cls(file=str(weights.file.absolute()), sha256=sha256, new_layers=weights.new_layers)

    def __str__(self) -> str:
        layers = ", new layers for what does not fit" if self.new_layers else ""
        return f"{self.file} (SHA-256 {self.sha256[:12]}...{layers})"

    def is_same(self, other: RecordedWeights | None) -> bool:
        """Whether a training from either is one; the file may lie elsewhere."""
        return other is not None and (self.sha256, self.new_layers) == (other.sha256, other.new_layers)

    def fill(self, network: torch.nn.Module) -> RecordedWeights:
        """Fill a network, and put on record what was not filled.

        Raises:
            CheckpointError: The file cannot be used, has changed, or does not fit; see `start_from_weights`.
        """
        try:
            start = start_from_weights(network, Path(self.file), new_layers=self.new_layers, sha256=self.sha256)
        except MisfitError as error:
            hint = "" if self.new_layers else "; --new-layers starts the layers that do not fit anew"
            raise MisfitError(f"{error}{hint}") from error
        if start.anew:
            _log.info("%s: layers that start anew, since they do not fit: %s", self.file, ", ".join(start.anew))
        if left := sorted({*start.unused} - {*start.anew}):
            _log.info("%s: not used, since the network has no such layers: %s", self.file, ", ".join(left))
        return self.model_copy(update={"anew": start.anew})
