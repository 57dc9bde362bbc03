"""From whatever a network returns to one tensor of logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jaxtyping import Float
from torch import Tensor

from rankseg_med.inference.errors import InferenceError

# Under which names networks and their wrappers return logits beside other things.
_NAMES_OF_LOGITS = ("logits", "out", "output", "pred", "seg")


def logits_of(output: object, num_classes: int, window: Sequence[int]) -> Float[Tensor, "batch classes *window"]:
    """Pick the logits out of a network's output and check their shape.

    Args:
        output: A tensor; a list or tuple of tensors, as networks with deep supervision return, of which the one at the
            window's resolution is taken; or a dictionary with one tensor or one named ``logits``, ``out``, ``output``,
            ``pred`` or ``seg``.
        num_classes: Channels that the logits must have.
        window: Spatial shape that the logits must have.

    Raises:
        InferenceError: There is no such tensor; the message says what came.
    """
    if isinstance(output, Mapping):
        named = [output[name] for name in _NAMES_OF_LOGITS if name in output] or list(output.values())
        if len(named) != 1:
            raise InferenceError(
                f"of a dictionary the network must return one tensor, or one named {', '.join(_NAMES_OF_LOGITS)}; "
                f"got {', '.join(map(str, output))}"
            )
        return logits_of(named[0], num_classes, window)
    if isinstance(output, (list, tuple)):
        tensors = [head for head in output if isinstance(head, Tensor)]
        full = [head for head in tensors if tuple(head.shape[2:]) == tuple(window)]
        if not full:
            found = ", ".join(str(tuple(head.shape)) for head in tensors) or "no tensors"
            raise InferenceError(f"no output of the network has the window's shape {tuple(window)}, got {found}")
        return logits_of(full[0], num_classes, window)
    if not isinstance(output, Tensor):
        raise InferenceError(f"the network must return logits, got {type(output).__name__}")
    if tuple(output.shape[1:]) != (num_classes, *window):
        raise InferenceError(
            f"the network must return logits (batch, {num_classes}, {', '.join(map(str, window))}) for "
            f"num_classes={num_classes}, got {tuple(output.shape)}; does the config's label list fit the network?"
        )
    return output
