"""Isotonic calibration of each region by what was counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rankseg_med.calibration.bins import BINS
from rankseg_med.calibration.calibration import Calibration
from rankseg_med.calibration.counts import BinnedVoxels, ReliabilityCounts, Weighting, check_weighting
from rankseg_med.calibration.hierarchy import hierarchy_of, shared_out
from rankseg_med.calibration.monotone_map import IDENTITY, MonotoneMap, apply_map
from rankseg_med.decode import Regions

# One for each bin, and both ends.
_MOST_KNOTS = BINS + 2
# The smallest normal single-precision number, whose logarithm is finite.
_TINY = torch.finfo(torch.float32).tiny


class IsotonicCalibration(Calibration):
    r"""A map of each region's probability that never falls, [`MonotoneMap.fit`][rankseg_med.calibration.MonotoneMap].

    Zadrozny and Elkan, "Transforming classifier scores into accurate multiclass probability estimates", KDD 2002; here
    with every case counting the same, as in the metrics that are averaged over cases (see
    [`ReliabilityCounts`][rankseg_med.calibration.ReliabilityCounts]).

    Regions are calibrated each for itself and then made to fit together, from the largest to the smallest: disjoint
    ones that have more than 1, or more than the region around them, are scaled down in proportion. A region's
    probability is shared among its own labels in the proportion that these had, and the background is the rest.

    Voxels of one pool become equally probable; the order of others stays. A fresh one changes nothing.

    Args:
        num_classes: Background included; of independent channels, how many there are.
        regions: Label sets to calibrate, nested or disjoint, such as ``[[1, 2], [2]]``; by default every foreground
            class.
        independent: Channels are independent (sigmoid), each calibrated for itself, and none is a background.
        weighting: ``"cases"``: every case counts the same, each voxel by 1 / the case's volume of the region.
            ``"voxels"``: all voxels alike.

    Examples:
        >>> import torch
        >>> from rankseg_med.calibration import BinnedVoxels, IsotonicCalibration, ReliabilityCounts
        >>> truth = torch.zeros(40, 40, 40, dtype=torch.int64)
        >>> truth[10:20, 10:20, 10:20] = 1
        >>> overconfident = torch.stack([0.1 + 0.8 * (truth == 0), 0.9 - 0.8 * (truth == 0)])
        >>> counts = ReliabilityCounts.of_case(BinnedVoxels.of_classes(overconfident, truth))
        >>> calibration = IsotonicCalibration(2)
        >>> calibration.fit(counts)
        >>> calibration.probabilities(overconfident)[1].unique()
        tensor([0., 1.])
    """

    kind: ClassVar[str] = "isotonic"
    knots: Tensor

    def __init__(
        self,
        num_classes: int,
        regions: Sequence[Sequence[int]] | None = None,
        *,
        independent: bool = False,
        weighting: Weighting = "cases",
    ) -> None:
        super().__init__(num_classes, independent=independent)
        if independent and regions is not None:
            raise ValueError("regions are unions of exclusive classes; leave them out for independent channels")
        check_weighting(weighting)
        self.weighting: Weighting = weighting
        self.regions = None if independent else Regions.of(num_classes, regions)
        self._root = None if self.regions is None else hierarchy_of(self.regions)
        count = num_classes if self.regions is None else len(self.regions.labels)
        self.register_buffer("knots", torch.empty((count, 2, _MOST_KNOTS)))
        self.set_maps([IDENTITY] * count)

    @property
    def maps(self) -> tuple[MonotoneMap, ...]:
        """The map of each region, or channel."""
        return tuple(_without_padding(rows) for rows in self.knots.tolist())

    def set_maps(self, maps: Sequence[MonotoneMap]) -> None:
        """Take given maps, one for each region or channel.

        Raises:
            ValueError: Another number of them, or a map has more knots than bins.
        """
        if len(maps) != len(self.knots):
            raise ValueError(f"this calibration needs {len(self.knots)} maps, one for each region, got {len(maps)}")
        for rows, found in zip(self.knots, maps, strict=True):
            knots = found.knots()
            if knots.shape[1] > _MOST_KNOTS:
                raise ValueError(f"a map has at most {_MOST_KNOTS} knots, got {knots.shape[1]}")
            # The last knot again and again, so that shapes in checkpoints do not depend on what was fitted.
            rows.copy_(knots[:, -1:].expand(-1, _MOST_KNOTS))
            rows[:, : knots.shape[1]] = knots

    def fit(self, observations: ReliabilityCounts) -> None:
        """Fit each region's map to what was counted.

        Args:
            observations: Observations of cases that the network was not trained on, each region in at least one of
                them.

        Raises:
            ValueError: No case has a region, or counts are of another number of regions.
        """
        if len(observations.cases) != len(self.knots):
            raise ValueError(
                f"this calibration is of {len(self.knots)} regions, got counts of {len(observations.cases)}"
            )
        counted = observations.weighted(self.weighting)
        rows = zip(counted.voxels, counted.positive, counted.mass, strict=True)
        self.set_maps([MonotoneMap.fit(*row) for row in rows])

    def observe(
        self, logits: Float[Tensor, "classes *spatial"], labels: Int64[Tensor, "*spatial"], *, seed: int = 0
    ) -> ReliabilityCounts:
        """Count all voxels of a labelled volume, one case; the seed is for those that draw."""
        self._check_channels(logits)
        if self.regions is None:
            raise ValueError("labels are of exclusive classes; count channels with BinnedVoxels.of_channels")
        voxels = BinnedVoxels.of_classes(logits.float().softmax(0), labels, self.regions.labels)
        return ReliabilityCounts.of_case(voxels)

    def forward(self, logits: Float[Tensor, "batch classes *spatial"]) -> Float[Tensor, "batch classes *spatial"]:
        """Logarithms of calibrated probabilities; of independent channels their log-odds. Finite, float32.

        Not affine: of overlapping windows average first, and calibrate what comes out.
        """
        raw = logits.float()
        raw = raw.sigmoid() if self.independent else raw.softmax(1)
        found = torch.stack([self.probabilities(volume) for volume in raw]) if len(raw) else raw
        logarithms = found.clamp_(min=_TINY).log()
        return logarithms - (1 - found).clamp_(min=_TINY).log_() if self.independent else logarithms

    @property
    def summary(self) -> dict[str, float]:
        """What one half becomes, of each region: ``calibrated_half_<region>``, counted from 1."""
        half = torch.tensor([0.5], device=self.knots.device)
        return {f"calibrated_half_{i}": float(apply_map(half, knots)) for i, knots in enumerate(self.knots, start=1)}

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """As of every module; what is no monotone map is refused.

        Raises:
            ValueError: Knots that no map has.
        """
        if isinstance(knots := state_dict.get("knots"), Tensor) and knots.shape == self.knots.shape:
            for rows in knots.tolist():
                _without_padding(rows)
        return super().load_state_dict(state_dict, *args, **kwargs)

    def extra_repr(self) -> str:
        """What it does at present."""
        of = "independent channels" if self.regions is None else f"regions {[list(r) for r in self.regions.labels]}"
        return f"{of}, weighting={self.weighting}, knots={[len(one.probability) for one in self.maps]}"

    def _of_voxels(self, probabilities: Float[Tensor, "classes voxels"]) -> Float[Tensor, "classes voxels"]:
        wanted = probabilities if self.regions is None else self.regions.probabilities(probabilities)
        used = int((self.knots[:, 0] < 1).sum(1).max()) + 1
        knots = self.knots[..., :used].to(probabilities.device).contiguous()
        found = torch.stack([apply_map(values, rows) for values, rows in zip(wanted, knots, strict=True)])
        return found if self._root is None else shared_out(self._root, found, probabilities.clamp(min=0))


def _without_padding(rows: Sequence[Sequence[float]]) -> MonotoneMap:
    probability, calibrated = rows
    count = probability.index(1.0) + 1 if 1.0 in probability else len(probability)
    return MonotoneMap(tuple(probability[:count]), tuple(calibrated[:count]))
