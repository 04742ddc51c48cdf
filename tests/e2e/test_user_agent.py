"""The User-Agent that the operator sets for requests that have none."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support import Daemon, ScriptedOrigin, Worker, reply

Start = Callable[..., tuple[Daemon, Worker]]
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


@pytest.mark.parametrize("interface", ["request", "stream", "websocket"])
def test_the_user_agent_is_sent_if_the_worker_has_none(
    start_daemon: Start, origin: ScriptedOrigin, interface: str
) -> None:
    _, worker = start_daemon(user_agent='"hooks/1.0 (a; b)"')
    origin.script = reply(_OK)
    for headers in ([], [["user-AGENT", "own"]], [["User-Agent", ""]]):
        if interface == "request":
            worker.request(method="GET", uri=origin.url(), headers=headers)
        elif interface == "stream":
            worker.start(method="GET", uri=origin.url(), headers=headers).finish()
        else:
            uri = origin.url().replace("http", "ws")
            worker.start(uri=uri, headers=headers, credits=9).finish()
    assert [request.get(b"user-agent") for request in origin.requests] == [
        b"hooks/1.0 (a; b)",
        b"own",
        b"",
    ]


def test_none_is_sent_by_default(start_daemon: Start, origin: ScriptedOrigin) -> None:
    _, worker = start_daemon()
    origin.script = reply(_OK)
    worker.request(method="GET", uri=origin.url())
    assert origin.requests[0].get(b"user-agent") is None
