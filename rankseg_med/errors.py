"""The errors that users cause, and can mend."""

from __future__ import annotations


class RanksegMedError(Exception):
    """Base of all of them; the message says what was required, what came, and the likely fix.

    The command line prints such an error as one line; any other is a program's fault, and is shown with its traceback.
    """


class InputError(RanksegMedError, ValueError):
    """Settings, options or files that cannot be used, or not together."""
