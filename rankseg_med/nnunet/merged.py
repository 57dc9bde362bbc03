"""Several models that know different structures, as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from rankseg_med.decode import Decoded
from rankseg_med.nnunet.errors import NnunetError
from rankseg_med.nnunet.model import NnunetModel


@dataclass(frozen=True)
class MergedModels:
    """Models whose label maps are painted over each other, the last one on top, as TotalSegmentator does.

    Each study goes through one model after the other, so that memory is that of the largest. Decisions speak of each
    model's own label map, before another is painted over it.

    Attributes:
        models: Models of exclusive classes.
        labels: Name of every structure of theirs to its label in the label map, 1 to 255.

    Raises:
        NnunetError: A model is of regions, a structure has no label, two of a model have one, or a label no structure.
    """

    models: Sequence[NnunetModel]
    labels: Mapping[str, int]

    def __post_init__(self) -> None:
        known = set[str]()
        for model in self.models:
            names = model.plans.labels.names
            if model.plans.labels.regions is not None:
                raise NnunetError(f"models to be merged must be of exclusive classes, got one of regions {list(names)}")
            if unknown := [name for name in names if name not in self.labels]:
                raise NnunetError(
                    f"every structure of the models must have a label to be merged, got none for {', '.join(unknown)}"
                )
            known |= names.keys()
        if unknown := [name for name in self.labels if name not in known]:
            raise NnunetError(f"labels must be of structures of the models, got {', '.join(unknown)}, which none knows")
        values = list(self.labels.values())
        if len(set(values)) < len(values) or not all(1 <= value <= 255 for value in values):
            raise NnunetError(f"labels must be different ones from 1 to 255, got {dict(self.labels)}")

    @property
    def decoder(self) -> object:
        """What decodes each model's probabilities."""
        return self.models[0].decoder

    def preprocess(self, image: Sequence[Path]) -> Sequence[Path]:
        """The files: each model has a preprocessing of its own."""
        return image

    def predict(self, image: Sequence[Path]) -> Decoded:
        """The merged label map, and every model's decisions."""
        merged: torch.Tensor | None = None
        decisions = []
        for model in self.models:
            decoded = model(image)
            merged = torch.zeros_like(decoded.label_map) if merged is None else merged
            table = torch.zeros(model.plans.labels.channels, dtype=torch.uint8, device=merged.device)
            for name, (own,) in model.plans.labels.names.items():
                table[own] = self.labels[name]
            found = table[decoded.label_map.int()]
            merged = torch.where(found > 0, found, merged)
            decisions += [
                replace(decision, labels=tuple(int(table[label]) for label in decision.labels))
                for decision in decoded.decisions
            ]
        if merged is None:
            raise NnunetError("at least one model is needed, got none")
        return Decoded(merged, tuple(decisions))

    def decode(self, predicted: Decoded) -> Decoded:
        """The same."""
        return predicted
