"""What went wrong inside a MONAI `Compose`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def own_errors_of_transforms() -> Iterator[None]:
    """Raise what a transform itself raised; `Compose` would hide it behind "applying transform ..."."""
    try:
        yield
    except RuntimeError as error:
        cause: BaseException = error
        while cause.__cause__ is not None and str(cause).startswith("applying transform"):
            cause = cause.__cause__
        raise cause from None
