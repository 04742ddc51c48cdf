"""Fixtures that every test may use."""

import itertools
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support import CertificateAuthority, Daemon, ScriptedOrigin, Worker

# Run under nohup or in the background of a script, all programs started from here would ignore
# these signals as well, by which daemons are told to reload and commands to end.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)


# A machine that is busy takes a second now and then for what takes a millisecond.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "last: runs after all others, as it waits for long")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)


def require_peer(program: str) -> str:
    """Path of a program that tests need as a peer.

    Where it is not installed the test is skipped, or fails if ZURL_REQUIRE_PEERS is set, as in CI.
    """
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        reason = f"{program} is not installed: `make peers`, as root, installs it"
        if os.environ.get("ZURL_REQUIRE_PEERS"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


@pytest.fixture(scope="session")
def authority() -> Iterator[CertificateAuthority]:
    """A certificate authority for the whole run."""
    made = CertificateAuthority()
    yield made
    made.close()


@pytest.fixture
def origin() -> Iterator[ScriptedOrigin]:
    """A plain origin; set its `script`. What a script raises fails the test."""
    made = ScriptedOrigin()
    yield made
    made.close()


@pytest.fixture
def tls_origin(authority: CertificateAuthority) -> Iterator[ScriptedOrigin]:
    """An origin with a good certificate for localhost and 127.0.0.1."""
    made = ScriptedOrigin(tls=authority.server_context())
    yield made
    made.close()


@pytest.fixture(scope="module")
def shared_daemon(authority: CertificateAuthority) -> Iterator[Daemon]:
    """One daemon of ours for a module, defpolicy allow, which trusts `authority`."""
    made = Daemon(environment={"SSL_CERT_FILE": authority.path}).start()
    yield made
    made.close()


@pytest.fixture
def untraced() -> Iterator[None]:
    """A test that measures time: what coverage's tracer takes is none of it."""
    tracer = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(tracer)


_numbers = itertools.count()


@pytest.fixture
def worker(shared_daemon: Daemon) -> Iterator[Worker]:
    """A worker of `shared_daemon`, ready, with an address that none had before it.

    What a test leaves open would else speak to the next one.
    """
    made = Worker(shared_daemon, address=b"worker-%d" % next(_numbers))
    try:
        yield made.ready()
    finally:
        made.close()


@pytest.fixture
def start_daemon() -> Iterator[Callable[..., tuple[Daemon, Worker]]]:
    """Starts a daemon with settings of the test's own, and a worker that is ready."""
    started: list[tuple[Daemon, Worker]] = []

    def start(worker: dict[str, Any] | None = None, **settings: Any) -> tuple[Daemon, Worker]:
        daemon = Daemon(**settings).start()
        client = Worker(daemon, **(worker or {}))
        started.append((daemon, client))
        return daemon, client.ready()

    yield start
    for daemon, client in started:
        client.close()
        daemon.close()
