"""Running what the documentation shows."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.docs.sessions import run_session, session_of


@pytest.fixture
def run(request, tmp_path, monkeypatch) -> Callable[..., dict[str, Any]]:
    """Runs the session that the test is marked with, in a folder of its own.

    It takes the names that the page says its reader has, and returns all that Python has in the end.
    """
    monkeypatch.chdir(tmp_path)
    page, *headings = request.node.get_closest_marker("session").args

    def run_marked(**names: Any) -> dict[str, Any]:
        run_session(session_of(page, headings), names, monkeypatch)
        return names

    return run_marked
