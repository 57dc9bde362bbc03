"""What in an image speaks for its class, in the eyes of several classifiers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from monai.visualize import SmoothGrad
from torch import Tensor

from rankseg_med.errors import InputError


class Explainer:
    r"""SmoothGrad (Smilkov et al., 2017) averaged over classifiers.

    Of classifier $m$ with logit $f_m$ of the class, image $x$ and noise $\epsilon_i$, the explanation of a voxel is

    $$e_m = \sum_\text{channels} \Big| \frac{1}{n} \sum_{i=1}^{n} \nabla_x f_m(x + \epsilon_i) \Big|,
      \qquad e \propto \sum_m \frac{e_m}{\sum_\text{voxels} e_m},$$

    so that each classifier counts alike, whatever the scale of its logits.

    Args:
        samples: $n$, at least 1.
        noise: Standard deviation of $\epsilon_i$, as a share of the image's range of values; at least 0.

    Raises:
        InputError: An option is out of its range.
    """

    def __init__(self, samples: int = 25, noise: float = 0.15) -> None:
        if samples < 1:
            raise InputError(f"samples must be at least 1, got {samples}")
        if noise < 0:
            raise InputError(f"noise must be at least 0, got {noise}")
        self.samples = samples
        self.noise = noise

    def __call__(
        self,
        classifiers: Sequence[torch.nn.Module],
        image: Float[Tensor, "channels *spatial"],
        image_class: int,
        *,
        seed: int = 0,
    ) -> Float[Tensor, "*spatial"]:
        """Explain an image's class.

        Args:
            classifiers: At least one; images ``(1, channels, *spatial)`` to logits ``(1, classes)``, on the image's
                device.
            image: Preprocessed image.
            image_class: Index of the class.
            seed: Random seed of the noise; the same gives the same explanation, whatever was explained before.

        Returns:
            ``(*spatial)`` in [0, 1], the highest value 1; all 0 where no classifier's logit depends on the image.

        Raises:
            InputError: A gradient is not finite.
        """
        total = torch.zeros(image.shape[1:], device=image.device)
        devices = [image.device] if image.is_cuda else []
        with torch.random.fork_rng(devices), torch.enable_grad():
            torch.manual_seed(seed)
            for number, classifier in enumerate(classifiers):
                gradient = SmoothGrad(classifier, self.noise, self.samples, magnitude=False, verbose=False)
                own = gradient(image[None], image_class, retain_graph=False)[0].abs().sum(0)
                if not own.isfinite().all():
                    raise InputError(
                        f"classifier {number} has gradients that are not finite; had its training diverged?"
                    )
                total += own / own.sum().clamp(min=torch.finfo(own.dtype).tiny)
        return total / total.max().clamp(min=torch.finfo(total.dtype).tiny)
