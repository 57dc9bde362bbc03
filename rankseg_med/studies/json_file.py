"""Results as JSON, which has no NaN."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rankseg_med.studies.atomic import atomic_write


def write_json(content: Mapping[str, Any], path: Path) -> None:
    """Write a JSON file, whole or not at all; an undefined number (NaN) is ``null``.

    Raises:
        OSError: The file cannot be written.
        ValueError: A number is infinite.
    """
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(_null_if_nan(content), indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _null_if_nan(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _null_if_nan(entry) for key, entry in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_null_if_nan(entry) for entry in value]
    return None if isinstance(value, float) and math.isnan(value) else value
