"""Workers that are there before the daemon: their sockets find it each in their own time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import zmq

from tests.support.daemon import Daemon
from tests.support.deadline import DEADLINE
from tests.support.messages import decode, encode

_BAD_URI = {"from": "late", "id": "1", "seq": 0, "method": "GET", "uri": "x-probe:"}


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    daemon = Daemon(interfaces=("stream",)).start()
    yield daemon
    daemon.stop()


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    yield context
    context.destroy(linger=0)


def connect(
    context: zmq.Context[zmq.Socket[bytes]], kind: int, daemon: Daemon, key: str
) -> zmq.Socket[bytes]:
    socket = context.socket(kind)
    socket.connect(daemon.endpoints[key])
    return socket


def test_an_answer_waits_for_the_subscription(
    daemon: Daemon, context: zmq.Context[zmq.Socket[bytes]]
) -> None:
    router = connect(context, zmq.ROUTER, daemon, "in_stream_spec")
    push = connect(context, zmq.PUSH, daemon, "in_spec")
    push.send(encode(_BAD_URI, "T"))
    daemon.wait_log("not subscribed to its answers; they wait")
    sub = connect(context, zmq.SUB, daemon, "out_spec")
    sub.subscribe(b"late ")
    assert sub.poll(int(DEADLINE * 1000)), daemon.log()
    assert decode(sub.recv().partition(b" ")[2]).get("condition") == b"bad-request"
    router.close()  # who nobody holds would be closed before
    push.close()


def test_a_request_is_taken_without_a_socket_for_later_packets(
    daemon: Daemon, context: zmq.Context[zmq.Socket[bytes]]
) -> None:
    """A worker need not have one: it is waited for at the start only."""
    sub = connect(context, zmq.SUB, daemon, "out_spec")
    sub.subscribe(b"late ")
    push = connect(context, zmq.PUSH, daemon, "in_spec")
    push.send(encode(_BAD_URI, "T"))
    assert sub.poll(int(DEADLINE * 1000)), daemon.log()
    assert decode(sub.recv().partition(b" ")[2]).get("condition") == b"bad-request"
