"""The laboratory of faults in short: every fault by every way, with books that must be right."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.labs.faults import http2, origin
from tests.labs.faults.lab import WAYS, Books, Lab, Want, some, wants_of
from tests.support import CertificateAuthority, Daemon, ScriptedOrigin

# A turn of the loop may take 20 ms for strangers; the rest is what else it does until we look.
_SLOWEST = 1.0  # seconds
_MOST = 48  # requests for each fault


@pytest.fixture(scope="module")
def lab(authority: CertificateAuthority) -> Iterator[Lab]:
    environment: dict[str, str | None] = {"SSL_CERT_FILE": authority.path}
    with Daemon(environment=environment, arguments=("--loglevel=2",), timeout=10) as daemon:
        made = Lab(daemon)
        yield made
        made.close()


def check(books: Books, lab: Lab, log: int) -> None:
    assert not books.unanswered, books
    assert not books.doubled, books
    assert books.slowest < _SLOWEST, books
    assert books.peak < 200_000_000, books
    assert lab.daemon.alive
    assert "Traceback" not in lab.daemon.log()[log:]


@pytest.mark.parametrize("fault", origin.FAULTS)
def test_every_fault_has_one_outcome(lab: Lab, fault: str) -> None:
    count = origin.FAULTS[fault][1]
    numbers = some(random.Random(fault), count, _MOST)
    log = len(lab.daemon.log())
    with ScriptedOrigin(origin.script) as served:
        wants = [
            want
            for index in range(len(WAYS) if count < len(WAYS) * 4 else 1)
            for want in wants_of(served, fault, numbers, WAYS[index:] + WAYS[:index])
        ]
        if fault == "fine":  # and is to be so on a machine that is busy
            wants = [replace(want, timeout=30_000) for want in wants]
        books = lab.play(wants)
        served.errors.clear()
    check(books, lab, log)
    if fault == "fine":
        assert set(books.finals) <= {"200", "data"}, books


def test_floods_of_http2(lab: Lab, authority: CertificateAuthority) -> None:
    """All of them at once."""
    log = len(lab.daemon.log())
    with contextlib.ExitStack() as stack:
        wants = []
        for flood in http2.FLOODS:
            tls = http2.context(authority.server_context())
            served = stack.enter_context(ScriptedOrigin(http2.script(flood), tls=tls))
            wants += [Want(served.url("/"), way) for way in WAYS[:2]]
            stack.callback(served.errors.clear)
        books = lab.play(wants)
    check(books, lab, log)


def test_http2_without_fault(lab: Lab, authority: CertificateAuthority) -> None:
    """That the frames of this laboratory are understood where they are right."""
    tls = http2.context(authority.server_context())
    with ScriptedOrigin(http2.script("answer"), tls=tls) as served:
        books = lab.play([Want(served.url("/"), "whole", 30_000)])
    assert books.finals == {"200": 1}, books


def test_afterwards_memory_and_descriptors_are_as_before(lab: Lab) -> None:
    memory, descriptors = lab.settled()
    assert memory < 60_000_000
    assert descriptors <= 45  # connections that are kept for the next request
