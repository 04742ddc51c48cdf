"""The back end, and the routes that lead to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import require_peer
from tests.labs.peers.backend import BackEnd
from tests.support.daemon import free_port


@pytest.fixture(scope="session")
def pushpin_installed() -> None:
    """Pushpin, its parts, and the daemon that it comes with."""
    for program in ("pushpin", "pushpin-proxy", "pushpin-handler", "condure", "zurl"):
        require_peer(program)


@pytest.fixture(scope="session")
def mongrel2_installed() -> None:
    """Mongrel2, and what configures it."""
    for program in ("mongrel2", "m2sh"):
        require_peer(program)


@pytest.fixture(scope="module")
def back_end() -> Iterator[BackEnd]:
    back_end = BackEnd()
    yield back_end
    back_end.stop()


@pytest.fixture(scope="module")
def routes(back_end: BackEnd) -> list[str]:
    """Lines of Pushpin's routes file."""
    http, websocket = back_end.http_port, back_end.websocket_port
    return [
        f"*,path_beg=/ws-grip 127.0.0.1:{back_end.grip_port}",
        f"*,path_beg=/ws-http 127.0.0.1:{http},over_http",
        f"*,path_beg=/ws 127.0.0.1:{websocket}",
        f"*,path_beg=/down 127.0.0.1:{free_port()}",
        f"*,path_beg=/second 127.0.0.1:{free_port()} 127.0.0.1:{http}",
        f"*,path_beg=/refused 127.0.0.1:{http},untrusted",
        f"* 127.0.0.1:{http}",
    ]
