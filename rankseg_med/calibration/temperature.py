"""One temperature and a bias for each class, between a network and its softmax."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int64
from scipy.optimize import minimize
from torch import Tensor

from rankseg_med.calibration.calibration import Calibration
from rankseg_med.calibration.labelled_voxels import LabelledVoxels, draw_voxels

# Of the inverse temperature, and of a bias to either side: wide enough for any network, and there is always a minimum
# within, even where classes can be told apart without error.
_SCALES = (0.01, 100.0)
_LARGEST_BIAS = 20.0


class Temperature(Calibration):
    r"""Logits $z$ to calibrated ones, $z / T + b$, with a temperature $T$ and a bias $b_c$ for each class $c$.

    Temperature scaling (Guo et al., "On calibration of modern neural networks", ICML 2017) with the class biases of
    Alexandari et al., "Maximum likelihood with bias-corrected calibration is hard-to-beat at label shift adaptation",
    ICML 2020. The temperature takes back overconfidence; the biases take back the share of each class that training
    had and volumes have not, such as that of tumours in patches that are centred on them. A fresh one changes nothing.

    Being affine, it may come before or after logits of overlapping windows are averaged. Of probabilities it works on
    the logarithms.

    Args:
        num_classes: Number of classes, at least 2, background included.
        class_biases: Without, there is a temperature alone, which leaves argmax as it is.
    """

    kind: ClassVar[str] = "temperature"
    inverse_temperature: Tensor
    bias: Tensor

    def __init__(self, num_classes: int, *, class_biases: bool = True) -> None:
        super().__init__(num_classes)
        self.class_biases = class_biases
        self.register_buffer("inverse_temperature", torch.ones(()))
        self.register_buffer("bias", torch.zeros(num_classes))

    def forward(self, logits: Float[Tensor, "batch classes *spatial"]) -> Float[Tensor, "batch classes *spatial"]:
        """Calibrated logits, float32, on the device of the given ones."""
        bias = self.bias.to(logits.device).view(-1, *(1 for _ in logits.shape[2:]))
        return logits.float() * self.inverse_temperature.to(logits.device) + bias

    @property
    def temperature(self) -> float:
        """Above 1 for overconfident networks."""
        return 1 / float(self.inverse_temperature)

    @property
    def summary(self) -> dict[str, float]:
        """``temperature``, and ``bias_<class>`` of each foreground class."""
        biases = {f"bias_{label}": bias for label, bias in enumerate(self.bias.tolist()[1:], start=1)}
        return {"temperature": self.temperature, **biases}

    def observe(
        self, logits: Float[Tensor, "classes *spatial"], labels: Int64[Tensor, "*spatial"], *, seed: int = 0
    ) -> LabelledVoxels:
        """Draw voxels of a labelled volume; see [`draw_voxels`][rankseg_med.calibration.draw_voxels]."""
        self._check_channels(logits)
        return draw_voxels(logits, labels, seed=seed)

    @torch.no_grad()
    def fit(self, observations: LabelledVoxels) -> None:
        r"""Minimise the mean negative log-likelihood of the labels, which is convex in $1/T$ and $b$.

        The bias of the background is 0, since softmax ignores what is added to all classes. Temperatures stay within
        0.01 and 100, biases within 20 of 0.

        Args:
            observations: Observations of volumes that the network was not trained on, every class among them.

        Raises:
            ValueError: A class does not occur, another number of classes, or logits that are not finite.
        """
        logits, labels = observations.logits.cpu().double(), observations.labels.cpu()
        weights = observations.weights.cpu().double()
        self._check(logits, labels)
        weights = weights / weights.sum()
        truth = torch.nn.functional.one_hot(labels, len(self.bias)).double()

        def loss_and_gradient(parameters: np.ndarray) -> tuple[float, np.ndarray]:
            scale, biases = parameters[0], torch.from_numpy(np.concatenate([[0.0], parameters[1:]]))
            log_q = (logits * scale + biases).log_softmax(1)
            loss = -weights @ (log_q * truth).sum(1)
            residual = weights[:, None] * (log_q.exp() - truth)
            gradient = torch.cat([(residual * logits).sum()[None], residual.sum(0)[1:]])
            return float(loss), gradient.numpy()

        largest = _LARGEST_BIAS if self.class_biases else 0.0
        free = len(self.bias) - 1
        found = minimize(
            loss_and_gradient,
            np.array([1.0, *[0.0] * free]),
            jac=True,
            method="L-BFGS-B",
            bounds=[_SCALES, *[(-largest, largest)] * free],
            options={"ftol": 1e-12, "gtol": 1e-8},
        )
        self.inverse_temperature.fill_(float(found.x[0]))
        self.bias[1:] = torch.from_numpy(found.x[1:])

    def _check(self, logits: Float[Tensor, "voxels classes"], labels: Tensor) -> None:
        num_classes = self.num_classes
        if logits.shape[1] != num_classes:
            raise ValueError(f"this calibration is of {num_classes} classes, got logits of {logits.shape[1]}")
        if not logits.isfinite().all():
            raise ValueError("logits must be finite; of probabilities clamp those of 0 before the logarithm")
        absent = sorted(set(range(num_classes)) - set(torch.unique(labels).tolist()))
        if absent:
            raise ValueError(
                f"classes {', '.join(map(str, absent))} do not occur in the volumes to calibrate on, so nothing can be "
                "said of them; hold out volumes that have every class"
            )

    def extra_repr(self) -> str:
        """What it does at present."""
        return f"temperature={self.temperature:.3g}, bias={[round(value, 3) for value in self.bias.tolist()]}"

    def _of_voxels(self, probabilities: Float[Tensor, "classes voxels"]) -> Float[Tensor, "classes voxels"]:
        logarithms = probabilities.clamp(min=torch.finfo(torch.float32).tiny).log_()
        return self.forward(logarithms[None])[0].softmax(0)
