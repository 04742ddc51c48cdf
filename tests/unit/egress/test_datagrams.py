"""When a UDP socket last received something."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator

import pytest

from tests.support import wait_until
from zurl_py.egress.datagrams import received_since, record_times


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
    ):
        for sock in (one, other):
            sock.bind(("127.0.0.1", 0))
        one.connect(other.getsockname())
        record_times(one.fileno())

        def is_dated() -> bool:
            other.sendto(b"1", one.getsockname())
            assert one.recv(9) == b"1"
            return not received_since(one.fileno(), time.time())

        wait_until(is_dated, "the kernel has begun to date what comes")
        yield one, other


def test_a_datagram_is_dated_by_its_arrival(pair: tuple[socket.socket, socket.socket]) -> None:
    here, there = pair
    began = time.time()
    assert not received_since(here.fileno(), began)
    there.sendto(b"2", here.getsockname())
    here.recv(9)
    read_at = time.time()
    assert received_since(here.fileno(), began)
    assert not received_since(here.fileno(), read_at)


def test_where_nothing_is_known_the_peer_is_alive(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    here, there = pair
    assert received_since(there.fileno(), time.time())  # it has received nothing
    assert received_since(-1, time.time())
    assert received_since(here.fileno(), time.time() + 99), "the clock was set back"
    reader, writer = os.pipe()
    assert received_since(reader, time.time())
    os.close(reader)
    os.close(writer)
