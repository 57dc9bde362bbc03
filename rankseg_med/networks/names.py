"""Names of weights, whatever training programs have put around the network."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TypeVar

T = TypeVar("T")

WRAPPERS = (
    *("teacher", "ema", "ema_model"),
    *("network", "model", "state_dict", "net", "student"),
    *("module", "_orig_mod"),
)
"""What programs call the network within theirs: mean teachers, MONAI and Lightning, `DataParallel` and `compile`.

Of several networks in a file the first is taken, so teachers come first.
"""


def renamed(weights: Mapping[str, T], expected: Collection[str]) -> dict[str, T]:
    """Weights by the names that a network has.

    Words that wrappers put before every name (``module.network.first.bias``) do not count, on either side. Where
    several networks are in one file, or other things beside one, that one is taken whose names are the network's: the
    first in the order of `WRAPPERS`, and so a teacher rather than its student.

    Args:
        weights: Name to tensor.
        expected: Names that the network has.

    Returns:
        Name to tensor; if no part of the weights fits, all of them, so that it can be said what does not.
    """
    own = _wrapping(expected)

    def fitted(part: Mapping[str, T]) -> dict[str, T]:
        cut = len(_wrapping(part))
        return {own + name[cut:]: tensor for name, tensor in part.items()}

    everything = fitted(weights)
    parts = ({name: tensor for name, tensor in weights.items() if name.startswith(f"{word}.")} for word in WRAPPERS)
    fitting = (part for part in (everything, *map(fitted, parts)) if part.keys() == set(expected))
    return next(fitting, everything)


def _wrapping(names: Collection[str]) -> str:
    """What every name begins with, as far as it is wrappers' words: ``module.network.``."""
    wrapping = ""
    while True:
        words = {name[len(wrapping) :].partition(".")[:2] for name in names}
        word = words.pop() if len(words) == 1 else ("", "")
        if word[0] not in WRAPPERS or not word[1]:
            return wrapping
        wrapping += "".join(word)
