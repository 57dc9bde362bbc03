"""Independent channels at one half: what argmax is to exclusive classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from rankseg_med.decode.decision import Decoded
from rankseg_med.decode.session import SlabSession, Store


class AtHalfDecoder:
    """Every channel where it is more probable than not: highest expected voxel accuracy. One half itself is outside."""

    def __repr__(self) -> str:
        return "AtHalfDecoder()"

    def open(
        self,
        num_classes: int,
        spatial_shape: Sequence[int],
        *,
        axis: int = 0,
        store: Store = "memory",
        folder: Path | None = None,
        device: torch.device | str = "cpu",
    ) -> AtHalfSession:
        """Start a session that takes the volume slab by slab; as `RankSEGDecoder.open`."""
        return AtHalfSession(
            num_classes,
            spatial_shape,
            axis,
            exclusive=False,
            channels=num_classes,
            dtype=torch.uint8,
            store=store,
            folder=folder,
            device=device,
        )


class AtHalfSession(SlabSession):
    """Collects a volume slab by slab, a byte a voxel and channel; made by `AtHalfDecoder.open`."""

    def _to_be_kept(self, probabilities: Float[Tensor, "channels *spatial"]) -> UInt8[Tensor, "channels *spatial"]:
        return (probabilities > 0.5).to(torch.uint8)

    def _decode(self) -> Decoded:
        # A file's mapping ends with the session; the masks go on.
        return Decoded(self._values if self._file is None else self._values.clone(), ())
