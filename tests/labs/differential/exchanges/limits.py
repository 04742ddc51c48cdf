"""Timeouts, inactivity, max-size and the number of open requests."""

import gzip
import time

from tests.labs.differential.exchanges.common import OK, row
from tests.labs.differential.lab import Exchange, Run, exchange, register
from tests.support import Connection, reply


def _hang(connection: Connection) -> None:
    connection.read_request()
    connection.expect_end()


def _head_then_hang(connection: Connection) -> None:
    connection.read_request()
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npart")
    connection.expect_end()


@exchange()
def timeout_without_answer(x: Run) -> None:
    x.origin.script = _hang
    started = time.monotonic()
    x.req({"method": "GET", "uri": x.origin.url(), "timeout": 200})
    x.note(f"in time: {0.15 < time.monotonic() - started < 5}")
    x.origin.wait_closed()


@exchange()
def timeout_streamed(x: Run) -> None:
    x.origin.script = _head_then_hang
    session = x.start(method="GET", uri=x.origin.url(), stream=True, credits=100, timeout=200)
    x.finish(session)
    x.origin.wait_closed()


@exchange()
def timeout_within_upload(x: Run) -> None:
    x.origin.script = _hang
    session = x.start(
        method="POST", uri=x.origin.url(), stream=True, credits=9, timeout=200, more=True, body="x"
    )
    x.finish(session)


@exchange()
def timeout_while_waiting_for_credits(x: Run) -> None:
    x.origin.script = reply(OK)
    session = x.start(method="GET", uri=x.origin.url(), stream=True, credits=1, timeout=200)
    x.finish(session)


@exchange(requests=False)
def timeout_zero(x: Run) -> None:
    x.origin.script = _hang
    x.req({"method": "GET", "uri": x.origin.url(), "timeout": 0})


@exchange()
def timeout_negative(x: Run) -> None:
    x.origin.script = reply(OK)
    x.req({"method": "GET", "uri": x.origin.url(), "timeout": -1})
    x.req({"method": "GET", "uri": x.origin.url(), "timeout": -5})


@exchange()
def timeout_long_enough(x: Run) -> None:
    x.origin.script = reply(OK)
    x.req({"method": "GET", "uri": x.origin.url(), "timeout": 60000})
    x.req({"method": "GET", "uri": x.origin.url(), "timeout": 2**40})


@exchange()
def timeout_over_redirects(x: Run) -> None:
    """The time does not start anew with a hop."""

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 302 x\r\nLocation: /to\r\nContent-Length: 0\r\n\r\n")
        connection.read_request()
        connection.expect_end()

    x.origin.script = script
    x.req({"method": "GET", "uri": x.origin.url(), "timeout": 300, "follow-redirects": True})


# Inactivity: the daemon's own timeout is one second here.


@exchange(variant="inactive")
def inactive_without_answer(x: Run) -> None:
    x.origin.script = _hang
    x.req(method="GET", uri=x.origin.url())


@exchange(variant="inactive")
def inactive_within_body(x: Run) -> None:
    x.origin.script = _head_then_hang
    x.finish(x.start(method="GET", uri=x.origin.url(), stream=True, credits=100))


@exchange(variant="inactive")
def inactive_while_waiting_for_credits(x: Run) -> None:
    x.origin.script = reply(OK)
    x.finish(x.start(method="GET", uri=x.origin.url(), stream=True, credits=1))


@exchange(variant="inactive")
def inactive_upload(x: Run) -> None:
    x.origin.script = _hang
    x.finish(x.start(method="POST", uri=x.origin.url(), stream=True, more=True, body="x"))


@exchange(variant="inactive")
def active_through_bytes_of_origin(x: Run) -> None:
    def drip(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n")
        for _ in range(6):
            connection.origin.gate("never").wait(0.3)
            connection.send(b".")

    x.origin.script = drip
    x.fetch(method="GET", uri=x.origin.url())


@exchange(variant="inactive", credits=False)
def active_through_data_of_client(x: Run) -> None:
    x.origin.script = reply(OK)
    session = x.start(method="POST", uri=x.origin.url(), stream=True, credits=10, more=True)
    session.next()
    for _ in range(5):
        x.origin.gate("never").wait(0.3)
        session.send(body=".", more=True)
    session.send(body="!")
    x.finish(session)


@exchange(variant="inactive")
def inactive_despite_credits_and_keep_alives(x: Run) -> None:
    x.origin.script = _hang
    session = x.start(method="GET", uri=x.origin.url(), stream=True, credits=1)
    session.next()
    for _ in range(5):
        x.origin.gate("never").wait(0.3)
        x.worker.drain()
        if len(x.worker.received) > 1:
            break
        session.send(type="keep-alive")
        session.credit(1)
    x.note("ended while the client was talking" if len(x.worker.received) > 1 else "went on")
    x.worker.received[:] = x.worker.received[:2]  # a cancel may answer what crossed the error


# max-size


def _sized(name: str, answer: bytes, size: int, **fields: object) -> None:
    row(f"max-size-{name}", answer=answer, max_size=size, **fields)  # type: ignore[arg-type]


_BODY = b"0123456789"
_LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" + _BODY
_OPEN = b"HTTP/1.1 200 OK\r\n\r\n" + _BODY
_PACKED = gzip.compress(_BODY * 50, mtime=0)
_GZIP = (
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(_PACKED)
    + _PACKED
)
_sized("reached", _LENGTH, 10)
_sized("exceeded", _LENGTH, 9)
_sized("exceeded-open-end", _OPEN, 9)
_sized("zero", _LENGTH, 0)
_sized("zero-empty-body", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0)
_sized("minus-one", _LENGTH, -1)
_sized("negative", _LENGTH, -2)
_sized("of-decoded-body", _GZIP, 499)
_sized("of-decoded-body-reached", _GZIP, 500)
_sized("head-method", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", 5, method="HEAD")
_sized("304", b"HTTP/1.1 304 Same\r\nContent-Length: 100\r\n\r\n", 5)
_sized("error-status", b"HTTP/1.1 500 No\r\nContent-Length: 10\r\n\r\n" + _BODY, 5)


@exchange()
def max_size_after_part_was_delivered(x: Run) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\n\r\n12345")
        connection.wait_for("more")
        connection.send(b"6789")
        connection.expect_end()

    x.origin.script = script
    session = x.start(method="GET", uri=x.origin.url(), stream=True, credits=100, max_size=7)
    while session.body != b"12345":
        session.next()
    x.origin.let("more")
    x.finish(session)
    x.origin.wait_closed()


@exchange()
def max_size_beyond_credits(x: Run) -> None:
    x.origin.script = reply(_LENGTH)
    session = x.start(method="GET", uri=x.origin.url(), stream=True, credits=3, max_size=7)
    session.skip(b"keep-alive")
    session.credit(100)
    x.finish(session)


# max_open_requests: one here.


@exchange(variant="one", requests=False)
def one_request_at_a_time(x: Run) -> None:
    def script(connection: Connection) -> None:
        request = connection.read_request()
        connection.wait_for(request.line.decode().split(" ")[1])
        connection.send(OK)

    x.origin.script = script
    first = x.start("1", method="GET", uri=x.origin.url("/1"), stream=True, credits=10)
    first.next()
    x.origin.wait_request(1)
    second = x.start("2", method="GET", uri=x.origin.url("/2"), stream=True, credits=10)
    x.worker.follow({"from": "worker", "id": x.id("x"), "type": "keep-alive"})
    cancel = x.worker.next_of(x.id("x").encode())  # follow-ups are read all the same
    x.note((cancel.type, len(x.origin.requests)))
    x.origin.let("/1")
    x.finish(first)
    x.origin.wait_request(2)
    x.origin.let("/2")
    x.finish(second)


@exchange(variant="one", requests=False)
def one_request_of_either_interface(x: Run) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.wait_for("answer")
        connection.send(OK)

    x.origin.script = script
    x.worker.push({"method": "POST", "uri": x.origin.url("/fire-and-forget"), "body": "x"})
    x.origin.wait_request(1)
    x.worker.send_req({"method": "GET", "uri": x.origin.url("/req")}, envelope=(b"tag-one", b""))
    x.worker.follow({"from": "worker", "id": x.id("x"), "type": "keep-alive"})
    x.worker.next_of(x.id("x").encode())
    x.note(len(x.origin.requests))
    x.origin.let("answer")
    x.note(x._answer(b"tag-one", 20.0).get("code"))


register(
    Exchange(
        "limits-nothing-left-open",
        lambda x: x.note(bool(x.req(method="GET", uri=x.origin.url()))),
        "one",
    )
)
