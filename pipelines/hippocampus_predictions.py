"""A network's probabilities beside the truth, as scores and pseudo-labels are judged by."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from monai.bundle import ConfigParser
from torch import Tensor

from rankseg_med.studies import Study


@torch.no_grad()
def predictions(
    config: ConfigParser, network: torch.nn.Module, studies: Sequence[Study]
) -> Iterator[tuple[Study, Float[Tensor, "classes X Y Z"], UInt8[np.ndarray, "X Y Z"]]]:
    """Each study with its probabilities and its label map.

    The images lie on a RAS grid of 1 mm, which is that of the network, so this is the native grid too.

    Args:
        config: Of the training run.
        network: In eval mode.
        studies: With labels.
    """
    preprocess, infer = config.get_parsed_content("preprocessing"), config.get_parsed_content("inferer")
    for study in studies:
        item = preprocess({"image": study.image, "label": study.label})
        probabilities = infer(item["image"][None].as_tensor(), network)[0].float().softmax(0)
        yield study, probabilities, item["label"][0].numpy().astype(np.uint8)
