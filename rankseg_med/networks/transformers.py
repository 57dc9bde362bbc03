"""Semantic segmentation networks of Hugging Face's transformers, as networks that return logits of a window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from rankseg_med.networks.errors import CheckpointError
from rankseg_med.networks.files import listed
from rankseg_med.networks.labels import Labels, relabelled


class SemanticSegmentation(torch.nn.Module):
    """A 2-D network of transformers that returns logits for each pixel of a window.

    - Networks that classify pixels (SegFormer, UPerNet, DPT, ...) return logits at a lower resolution, which are
      interpolated to the window's (bilinear, ``align_corners=False``), as their ``post_process_semantic_segmentation``
      does.
    - Networks that classify masks (MaskFormer, Mask2Former, OneFormer, EoMT) return for each query q the logits of its
      classes, the last of which is no object, and of its mask. See `logits_of_queries`.

    Args:
        model: Network of transformers, such as ``SegformerForSemanticSegmentation``.
        labels: The network's labels that make each class; by default those of the config, in their order, background
            first.
        inputs: Further inputs by name that are the same for every window, such as OneFormer's ``task_inputs``.
    """

    def __init__(
        self, model: torch.nn.Module, labels: Labels | None = None, inputs: Mapping[str, Sequence[Any]] | None = None
    ) -> None:
        super().__init__()
        self.model = model
        self.labels = labels
        self.inputs = dict(inputs or {})

    @classmethod
    def from_folder(cls, folder: Path, inputs: Mapping[str, Sequence[Any]] | None = None) -> SemanticSegmentation:
        """A network that ``save_pretrained`` wrote; nothing is downloaded, and no code of the folder runs.

        Args:
            folder: The folder.
            inputs: Further inputs, see `SemanticSegmentation`.

        Raises:
            CheckpointError: Transformers are not installed, the folder holds no network of theirs with weights as
                safetensors, or they do not fit it.
        """
        try:
            import transformers
        except ImportError as error:
            raise CheckpointError(
                f"{folder}: needs transformers, which are not installed: pip install 'rankseg_med[transformers]'"
            ) from error
        transformers.utils.logging.disable_progress_bar()  # runs have their own
        try:
            config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            name = (config.architectures or [""])[0]
            architecture: Any = getattr(transformers, name, None)
            is_network = isinstance(architecture, type) and issubclass(architecture, transformers.PreTrainedModel)
            if not is_network:
                raise CheckpointError(f"{folder}: config.json names no network of transformers, got {name!r}")
            model, found = architecture.from_pretrained(
                folder, config=config, local_files_only=True, use_safetensors=True, output_loading_info=True
            )
        except (OSError, ValueError, RuntimeError, AttributeError, ImportError) as error:
            if isinstance(error, CheckpointError):
                raise
            raise CheckpointError(
                f"{folder}: must be a folder that save_pretrained of transformers wrote, with config.json and weights "
                f"as safetensors ({error})"
            ) from error
        problems = [
            *listed("missing", sorted(map(str, found["missing_keys"]))),
            *listed("of another shape", sorted(map(str, found["mismatched_keys"]))),
            *listed("unexpected", sorted(map(str, found["unexpected_keys"]))),
            *listed("not finite", [name for name, one in model.state_dict().items() if not one.isfinite().all()]),
        ]
        if problems:
            raise CheckpointError(f"{folder}: weights do not fit config.json ({'; '.join(problems)})")
        return cls(model, inputs=inputs)

    def forward(self, windows: Float[Tensor, "batch channels *window"]) -> Float[Tensor, "batch classes *window"]:
        """Logits of windows."""
        further = {
            name: torch.as_tensor(value, device=windows.device).expand(len(windows), -1)
            for name, value in self.inputs.items()
        }
        output = self.model(pixel_values=windows, **further)
        if hasattr(output, "masks_queries_logits"):
            masks = _carried(output.masks_queries_logits, windows.shape[2:])
            logits = logits_of_queries(output.class_queries_logits, masks)
        else:
            logits = _carried(output.logits, windows.shape[2:])
        return relabelled(logits, self.labels)


def logits_of_queries(
    classes: Float[Tensor, "batch queries classes_and_none"], masks: Float[Tensor, "batch queries *window"]
) -> Float[Tensor, "batch classes *window"]:
    """Logits whose softmax is the share of each class in the queries' votes for a pixel.

    Semantic inference of MaskFormer (Cheng et al. 2021, section 3.3) and Mask2Former sums over the queries
    ``v_c = sum_q softmax(classes_q)_c * sigmoid(mask_q)``, c among the classes without "no object", and takes argmax.
    The sums are no probabilities: none may find a pixel, and several may find it. What is returned is ``log v_c``, of
    which softmax makes ``v_c / sum_k v_k``: they sum to one, and argmax stays what it was. Where no query finds
    anything the shares say no more than which class came nearest.

    Args:
        classes: Logits ``(batch, queries, classes + 1)``.
        masks: Logits ``(batch, queries, *window)``.
    """
    votes = torch.einsum("bqc,bq...->bc...", classes.softmax(-1)[..., :-1], masks.sigmoid())
    return votes.clamp_min(torch.finfo(votes.dtype).tiny).log()


def _carried(
    logits: Float[Tensor, "batch labels *low"], window: Sequence[int]
) -> Float[Tensor, "batch labels *window"]:
    return torch.nn.functional.interpolate(logits, size=tuple(window), mode="bilinear", align_corners=False)
