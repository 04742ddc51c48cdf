"""The end of a drain, without a daemon."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from zurl_py.daemon import Daemon


class Session:
    """Counts how often it is ended."""

    def __init__(self, broken: bool = False) -> None:
        self.open = True
        self.broken = broken
        self.aborted = 0

    def abort(self, _reason: str) -> None:
        self.aborted += 1
        self.open = False
        if self.broken:
            raise RuntimeError("a bug of ours in one session")


def test_a_session_that_cannot_be_ended_spares_no_other() -> None:
    sessions = [Session(), Session(broken=True), Session(), Session(broken=True), Session()]
    errors: list[str] = []
    daemon: Any = SimpleNamespace(
        gateway=SimpleNamespace(sessions=lambda: list(sessions)),
        _log=SimpleNamespace(exception=errors.append),
        _drained=False,
    )
    try:
        Daemon._drain_over(cast(Daemon, daemon))
    except RuntimeError:
        pass  # `run` would log it, and stop
    assert daemon._drained
    assert [session.aborted for session in sessions] == [1] * 5
