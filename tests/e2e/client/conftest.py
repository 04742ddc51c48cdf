"""A client of the daemon that a module shares."""

from collections.abc import Iterator

import pytest

from tests.support import Daemon
from zurl_py.client import Client


@pytest.fixture
def client(shared_daemon: Daemon) -> Iterator[Client]:
    with Client(str(shared_daemon.config_path), timeout=20) as made:
        yield made
