"""What is wrong with a config, and what was probably meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from textwrap import shorten

from rankseg_med.errors import InputError

# Characters of another library's message, some of which carry whole tracebacks; --verbose shows all.
_LONGEST = 300


class ConfigError(InputError):
    """A config that cannot be used; the message says why, in one line."""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Which of the known words was probably meant, whatever the case; None if none is near."""
    names = list(known)
    by_lower_case = {name.lower(): name for name in names}
    close = get_close_matches(word, names, n=1)
    close = close or [by_lower_case[name] for name in get_close_matches(word.lower(), by_lower_case, n=1)]
    return close[0] if close else None


def meant(word: str, known: Iterable[str]) -> str:
    """``"did you mean roi_size?"``, or all that is known where nothing is near."""
    names = sorted(known)
    close = nearest(word, names)
    return f"known are {', '.join(names)}" if close is None else f"did you mean {close}?"


def one_line(error: BaseException) -> str:
    """An error's message without line breaks, cut if it is long; with the kind of error where it says little."""
    text = shorten(str(error), _LONGEST, placeholder=" ...")
    return f"{type(error).__name__}: {text}" if isinstance(error, LookupError | NameError) or not text else text
