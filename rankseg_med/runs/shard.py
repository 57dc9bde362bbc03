"""One of several parts of a list of cases, for job arrays that share nothing but a folder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from rankseg_med.errors import InputError

_Case = TypeVar("_Case")


@dataclass(frozen=True)
class Shard:
    """Part ``number`` of ``of``, counted from 1. Every case is in one part, and parts differ by one case at most."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``"2/8"``.

        Raises:
            ValueError: Not of that form, or not from 1 to the number of parts.
        """
        match = re.fullmatch(r"(\d+)/(\d+)", text.strip())
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise InputError(
                f"a shard is given as K/N with K from 1 to N, such as 2/8 for the second of eight parts, got {text!r}"
            )
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def of_cases(self, cases: Sequence[_Case]) -> list[_Case]:
        """Every N-th case, from the K-th on: big and small cases of a sorted list spread."""
        return list(cases[self.number - 1 :: self.of])
