"""A client of the daemon that a module shares."""

from collections.abc import Iterator

import pytest

from tests.support import Daemon
from zurl_py.client import Client, ConnectFailed


@pytest.fixture
def client(shared_daemon: Daemon) -> Iterator[Client]:
    with Client(str(shared_daemon.config_path), timeout=20) as made:
        with pytest.raises(ConnectFailed):  # short times begin with a gateway that is there
            made.get("http://127.0.0.1:1/")
        yield made
