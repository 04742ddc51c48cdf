"""A daemon with a status listener."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.operators.asking import socket_in
from tests.support import Daemon, Worker

Start = Callable[..., tuple[Daemon, Worker]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a daemon with a status listener on a Unix socket, and a worker for it."""
    made: list[Daemon | Worker] = []

    def start(**settings: Any) -> tuple[Daemon, Worker]:
        daemon = Daemon(**{"arguments": ("--loglevel=2",), **settings})
        daemon.settings.setdefault("metrics_listen", socket_in(daemon))
        made.append(daemon)
        daemon.start()
        worker = Worker(daemon)
        made.append(worker)
        worker.ready()
        return daemon, worker

    yield start
    for thing in reversed(made):
        thing.close()
