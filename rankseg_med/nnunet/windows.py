"""nnU-Net's own sliding windows, over which its networks go one after the other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Float32
from torch import Tensor

from rankseg_med.inference import InferenceError
from rankseg_med.networks import fill_network
from rankseg_med.nnunet.checkpoint import Checkpoint
from rankseg_med.nnunet.errors import NnunetError
from rankseg_med.nnunet.library import Library


class Windows:
    """The networks of some folds, which share one module: each study gets the weights of one fold after another.

    Window starts, the Gaussian weights and the float16 sums are nnU-Net's, and so are the logits: MONAI's windows lie
    otherwise and would give other probabilities.

    Args:
        library: nnU-Net, for the model's plans.
        checkpoints: One for each fold; of one trainer.
        device: Device of the network.
        mirroring: Whether to average over mirrored windows, where the networks were trained for it.
        step_size: Step from window to window, as a share of a window, in (0, 1].

    Raises:
        CheckpointError: Weights do not fit the network of the plans, or are not finite.
        NnunetError: The checkpoints are of different trainings, or there is no such step size.
    """

    def __init__(
        self,
        library: Library,
        checkpoints: Sequence[Checkpoint],
        *,
        device: torch.device | str = "cpu",
        mirroring: bool = True,
        step_size: float = 0.5,
    ) -> None:
        if not 0 < step_size <= 1:
            raise NnunetError(f"step_size must be above 0 and at most 1, got {step_size}")
        first, *others = checkpoints
        for other in others:
            found = [(one.trainer, one.configuration, one.mirroring_axes) for one in (first, other)]
            if found[0] != found[1]:
                raise NnunetError(
                    f"{other.path}: must be of the same trainer, configuration and mirroring as {first.path}, got "
                    f"{found[1]} and {found[0]}"
                )
        network = library.network()
        for checkpoint in reversed(checkpoints):  # the first one's weights stay
            fill_network(network, checkpoint.weights, checkpoint.path)
        self._weights = [checkpoint.weights for checkpoint in checkpoints]
        axes = first.mirroring_axes if mirroring else ()
        self._predictor = library.predictor(network, first.trainer, axes, step_size, torch.device(device))

    @property
    def num_folds(self) -> int:
        """Number of networks."""
        return len(self._weights)

    @torch.inference_mode()
    def logits(self, image: Float32[Tensor, "images *model"], fold: int) -> Float[Tensor, "channels *model"]:
        """Logits of one network, float16.

        Args:
            image: Preprocessed images of a study.
            fold: Place of the network among those that were given.

        Raises:
            InferenceError: The network returns NaN or infinite logits.
        """
        if self.num_folds > 1:
            self._predictor.network.load_state_dict(self._weights[fold])
        logits: Tensor = self._predictor.predict_sliding_window_return_logits(image)
        if not bool(torch.isfinite(torch.stack(torch.aminmax(logits))).all()):
            raise InferenceError(
                "the network returned NaN or infinite logits; is the checkpoint sound, and the image in its range?"
            )
        return logits

    @torch.inference_mode()
    def mean_logits(self, image: Float32[Tensor, "images *model"]) -> Float[Tensor, "channels *model"]:
        """Mean logits of all networks, added up in float16 as nnU-Net does; see `logits`."""
        mean = self.logits(image, 0)
        if self.num_folds > 1:
            mean = mean.cpu()
            for fold in range(1, self.num_folds):
                mean += self.logits(image, fold).cpu()
            mean /= self.num_folds
        return mean
