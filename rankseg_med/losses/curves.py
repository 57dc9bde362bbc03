"""Curves from [0, 1] to [0, 1] that shape the logical operations of a surrogate metric."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from rankseg_med.errors import InputError

CurveShape = Literal["bezier", "linear"]

# Control points stay so far apart along y that slopes are finite, whatever the parameters; g(y) = y is not changed.
_LEAST_GAP = 1e-3


@dataclass(frozen=True)
class CurveForm:
    r"""The family of curves $g(y; \theta)$ of Auto Seg-Loss (Li et al., ICLR 2021).

    A curve has control points $B_0, \dots, B_{n+1}$ with coordinates $(u, v)$, where $B_0 = (0, 0)$ and
    $B_{n+1} = (1, 1)$, so that $g(0) = 0$ and $g(1) = 1$: the truth table. Of a piecewise quadratic Bezier curve, each
    segment has a point of its own between two that it shares with its neighbours,

    $$(y, g(y)) = (1 - s)^2 B_{2i} + 2 s (1 - s) B_{2i+1} + s^2 B_{2i+2}, \quad s \in [0, 1],$$

    and a piecewise linear one joins all points by lines. It is monotone, since every point divides what the one before
    has left, $B_k = B_{k-1} + \theta_k (B_{n+1} - B_{k-1})$ by coordinate, with all $\theta$ in [0, 1].

    Parameters are in the order $\theta_{1u}, \theta_{1v}, \theta_{2u}, \dots, \theta_{nv}$.

    Attributes:
        shape: ``"bezier"`` or ``"linear"``.
        segments: Number of segments; two are published.
        truth_table: Whether the ends are fixed. If not, two parameters follow at the end: $g(0)$, and what
            $\theta_{n+1,v}$ is to $g(1)$.
        monotone: Whether the curve rises. If not, the parameters of $v$ are the coordinates themselves.

    Raises:
        InputError: No such shape, fewer than one segment, or one linear segment between fixed ends, which leaves
            nothing to shape.
    """

    shape: CurveShape = "bezier"
    segments: int = 2
    truth_table: bool = True
    monotone: bool = True

    def __post_init__(self) -> None:
        if self.shape not in get_args(CurveShape):
            raise InputError(f"shape must be {' or '.join(get_args(CurveShape))}, got {self.shape!r}")
        if self.segments < 1 or self.size == 0:
            least = 1 if self.shape == "bezier" else 2
            raise InputError(f"segments of a {self.shape} curve must be at least {least}, got {self.segments}")

    @property
    def inner_points(self) -> int:
        """Number of control points between the ends, $n$."""
        return 2 * self.segments - 1 if self.shape == "bezier" else self.segments - 1

    @property
    def size(self) -> int:
        """Number of parameters."""
        return 2 * self.inner_points + (0 if self.truth_table else 2)

    def identity(self) -> list[float]:
        """Parameters of $g(y) = y$: control points at equal distances on the diagonal."""
        n = self.inner_points
        shares = [1 / (n + 2 - k) for k in range(1, n + 1)]
        heights = shares if self.monotone else [k / (n + 1) for k in range(1, n + 1)]
        inner = [value for pair in zip(shares, heights, strict=True) for value in pair]
        return inner if self.truth_table else [*inner, 0.0, 1.0]

    def checked(self, parameters: Sequence[float], name: str) -> tuple[float, ...]:
        """The parameters, if they can be those of a curve.

        Args:
            parameters: What is to be looked at.
            name: What they are of, for the message.

        Raises:
            InputError: Another number of them, or one outside of [0, 1].
        """
        if len(parameters) != self.size or not all(0 <= value <= 1 for value in parameters):
            raise InputError(
                f"parameters of {name!r} must be {self.size} numbers from 0 to 1 for this curve, got {list(parameters)}"
            )
        return tuple(map(float, parameters))

    def control_points(self, parameters: Float[Tensor, " parameters"]) -> Float[Tensor, "points 2"]:
        """Control points, ends included, $u$ rising by at least 0.001 from one to the next."""
        n = self.inner_points
        inner = parameters[: 2 * n].reshape(n, 2)
        zero, one = parameters.new_zeros(()), parameters.new_ones(())
        start, end = (zero, one) if self.truth_table else (parameters[-2], parameters[-1])
        u = _dividing(zero, [*inner[:, 0], one])
        v = _dividing(start, [*inner[:, 1], end]) if self.monotone else torch.stack([start, *inner[:, 1], end])
        steps = torch.arange(n + 2, dtype=u.dtype, device=u.device)
        return torch.stack([(1 - (n + 1) * _LEAST_GAP) * u + steps * _LEAST_GAP, v], 1)

    def __call__(self, y: Float[Tensor, "*shape"], parameters: Float[Tensor, " parameters"]) -> Float[Tensor, "*shape"]:
        """Value of the curve at every $y$ in [0, 1]."""
        points = self.control_points(parameters)
        return _bezier(y, points) if self.shape == "bezier" else _linear(y, points)


def _dividing(start: Tensor, shares: Sequence[Tensor]) -> Tensor:
    """Values that rise from ``start``, each by its share of what is left up to 1."""
    values = [start]
    for share in shares:
        values.append(values[-1] + share * (1 - values[-1]))
    return torch.stack(values)


def _bezier(y: Float[Tensor, "*shape"], points: Float[Tensor, "points 2"]) -> Float[Tensor, "*shape"]:
    # Every segment adds its rise up to y: nothing before it, all of it behind.
    value = points[0, 1].expand_as(y)
    for start in range(0, len(points) - 2, 2):
        (u0, v0), (u1, v1), (u2, v2) = points[start : start + 3]
        x, middle = ((y - u0) / (u2 - u0)).clamp(0, 1), (u1 - u0) / (u2 - u0)
        # The root in [0, 1] of (1 - 2 m) s^2 + 2 m s = x, in the form that divides by nothing small.
        s = x / (middle + (middle**2 + (1 - 2 * middle) * x).sqrt())
        value = value + s * (2 * (1 - s) * (v1 - v0) + s * (v2 - v0))
    return value


def _linear(y: Float[Tensor, "*shape"], points: Float[Tensor, "points 2"]) -> Float[Tensor, "*shape"]:
    value = points[0, 1].expand_as(y)
    for (u0, v0), (u1, v1) in itertools.pairwise(points):
        value = value + ((y - u0) / (u1 - u0)).clamp(0, 1) * (v1 - v0)
    return value
