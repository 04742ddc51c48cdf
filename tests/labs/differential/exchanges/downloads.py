"""Streamed answers and the credits that they need."""

import time
from collections.abc import Callable
from typing import Any

from tests.labs.differential.exchanges.common import EMPTY, OK
from tests.labs.differential.lab import Run, exchange
from tests.support import Connection, Session, reply


def body(count: int) -> bytes:
    """An answer with `count` bytes of body."""
    return (
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % count + (b"0123456789" * count)[:count]
    )


def settled(x: Run) -> None:
    """Lets the daemon do all that it can do without anybody's help.

    A request to another origin takes it through its loop, network included. The last one begins
    when ours no longer holds back small pieces of a body: it does so for 20 ms at most.
    """
    began = time.monotonic()
    while True:
        is_last = time.monotonic() >= began + 0.03
        other = x.another_origin()
        x.worker.send_req(
            {"method": "GET", "uri": other.url(), "id": "settle"}, envelope=(b"settle", b"")
        )
        x._answer(b"settle", 20.0)
        x.origins.remove(other)
        other.close()
        if is_last:
            break
    x.worker.fence()


def stalled(x: Run, session: Session) -> None:
    """Notes what the session has got when nothing more comes by itself."""
    settled(x)
    queue = x.worker._queues.get(session.id)
    while queue:
        session.next()
    got = [m for m in session.messages if m.type == b"data"]
    x.note(f"head {bool(got)}, {len(session.body)} bytes, ended {bool(got) and got[-1].is_final}")


def _steps(
    name: str, first: int | None, *credits: int, size: int = 10, variant: str = "default"
) -> None:
    @exchange(f"credits-{name}", variant=variant)
    def run(x: Run) -> None:
        x.origin.script = reply(body(size))
        fields: dict[str, Any] = {} if first is None else {"credits": first}
        session = x.start(method="GET", uri=x.origin.url(), stream=True, **fields)
        session.next()
        x.origin.wait_request()
        stalled(x, session)
        for count in credits:
            session.credit(count)
            stalled(x, session)


_steps("enough", 100)
_steps("exact", 10, 1)
_steps("none-at-first", None, 100)
_steps("zero-at-first", 0, 100)
_steps("one-by-one", 1, 1, 1, size=3)
_steps("in-parts", 4, 4, 4)
_steps("empty-body-without", 0, 1, size=0)
_steps("empty-body-with-one", 1, size=0)
_steps("negative", 5, -3, 3, 1, 10)
_steps("negative-first", -5, 5, 1, 20)
_steps("large-body-in-parts", 100_000, 150_000, 250_000, 1, 1_000_000, size=500_001)
_steps("small-buffer", 10_000, 10_000, size=15_000, variant="small")


@exchange(merge=False)
def credits_first_packet_has_head(x: Run) -> None:
    """The head comes without waiting for the body; the end may come alone."""

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
        connection.wait_for("body")
        connection.send(b"body")

    x.origin.script = script
    session = x.start(method="GET", uri=x.origin.url(), stream=True, credits=100)
    session.skip(b"keep-alive")
    x.note("head came before the body")
    x.origin.let("body")
    while session.body != b"body":
        session.next()


@exchange()
def download_packet_size(x: Run) -> None:
    """No packet is larger than the buffer."""
    x.origin.script = reply(body(1_000_000))
    session = x.fetch(method="GET", uri=x.origin.url(), credits=2_000_000)
    sizes = [len(m.body) for m in session.messages]
    x.note((max(sizes) <= 200_000, sum(sizes)))


@exchange()
def download_not_streamed(x: Run) -> None:
    """Without `stream` the answer is one packet and needs no credits."""
    x.origin.script = reply(body(500_000))
    session = x.start(method="GET", uri=x.origin.url())
    x.finish(session)
    x.note(len([m for m in session.messages if m.type == b"data"]))


@exchange()
def download_not_streamed_false(x: Run) -> None:
    x.origin.script = reply(OK)
    x.finish(x.start(method="GET", uri=x.origin.url(), stream=False, credits=1))


def _other_type(name: str, type: str | None, **more: object) -> None:
    @exchange(f"credits-with-{name}")
    def run(x: Run) -> None:
        x.origin.script = reply(OK)
        session = x.start(method="GET", uri=x.origin.url(), stream=True)
        session.next()
        session.send(type=type, credits=10, **more)
        x.finish(session)


for _type in ("keep-alive", "ping", "pong", "close", "handoff-proceed"):
    _other_type(_type, _type)
_other_type("error", "error", condition="x")


@exchange()
def download_ends_with_reset_while_stalled(x: Run) -> None:
    """Body that waits for credits when the origin's connection breaks."""

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789")
        connection.wait_for("reset")
        connection.reset()

    x.origin.script = script
    session = x.start(method="GET", uri=x.origin.url(), stream=True, credits=4)
    while session.body != b"0123":
        session.next()
    settled(x)
    x.origin.let("reset")
    x.origin.wait_closed()
    settled(x)
    session.credit(100)
    x.finish(session)


@exchange()
def download_ends_while_stalled(x: Run) -> None:
    """All body has been sent and the connection closed; the rest is still to be granted."""
    x.origin.script = reply(body(10), close=True)
    session = x.start(method="GET", uri=x.origin.url(), stream=True, credits=4)
    while session.body != b"0123":
        session.next()
    x.origin.wait_closed()
    settled(x)
    session.credit(100)
    x.finish(session)


@exchange(requests=False)
def download_origin_is_made_to_wait(x: Run) -> None:
    """Without credits the daemon takes no more than it can keep."""
    total = 64_000_000

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        connection.sock.settimeout(0.7)
        try:
            connection.sock.sendall(b"x" * total)
        except TimeoutError:
            connection.origin.let("blocked")

    x.origin.script = script
    x.start(method="GET", uri=x.origin.url(), stream=True, credits=10)
    x.note(x.origin.gate("blocked").wait(20))


@exchange()
def download_error_needs_no_credits(x: Run) -> None:
    x.finish(x.start(method="GET", uri="http://127.0.0.1:1/", stream=True))


@exchange()
def cancel_ends_the_connection(x: Run) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.expect_end()

    x.origin.script = script
    session = x.start(method="GET", uri=x.origin.url(), stream=True, credits=10)
    session.next()
    x.origin.wait_request()
    session.cancel()
    x.origin.wait_closed()
    x.note("hung up")
    session.send(type="keep-alive")
    x.note(session.next().type)


def _cancel(name: str, **fields: object) -> None:
    @exchange(f"cancel-{name}")
    def run(x: Run) -> None:
        x.origin.script = lambda connection: (connection.read_request(), connection.expect_end())[1]
        session = x.start(method="GET", uri=x.origin.url(), stream=True, credits=10)
        session.next()
        x.origin.wait_request()
        session.send(type="cancel", **fields)
        x.origin.wait_closed()
        x.worker.fence()


_cancel("without-seq", seq=None)
_cancel("out-of-sequence", seq=17)


@exchange("handoff-start")
def handoff_start(x: Run) -> None:
    x.origin.script = lambda connection: (connection.read_request(), connection.expect_end())[1]
    session = x.start(method="GET", uri=x.origin.url(), stream=True, credits=10)
    session.next()
    x.origin.wait_request()
    session.send(type="handoff-start")
    x.worker.fence()
    session.send(type="keep-alive")
    x.worker.fence()


@exchange("cancel-without-from")
def cancel_without_from(x: Run) -> None:
    x.origin.script = lambda connection: (connection.read_request(), connection.expect_end())[1]
    session = x.start(method="GET", uri=x.origin.url(), stream=True, credits=10)
    session.next()
    x.origin.wait_request()
    session.send(type="cancel", from_=None)
    x.worker.fence()
    session.send(type="credit", credits=1, seq=9)  # out of sequence: cancel, in sequence or not
    x.note(session.next().get("seq"))


# Sequence


def _sequence(name: str, *steps: Callable[[Session], None], first: int | None = 0) -> None:
    @exchange(f"sequence-{name}")
    def run(x: Run) -> None:
        x.origin.script = lambda connection: (connection.read_request(), connection.expect_end())[1]
        session = x.start(method="GET", uri=x.origin.url(), stream=True, credits=10, seq=first)
        session.next()
        x.origin.wait_request()
        for step in steps:
            step(session)
        x.worker.fence()


_sequence("right", lambda s: s.send(type="keep-alive"), lambda s: s.send(type="keep-alive"))
_sequence("starts-at-5", lambda s: s.send(type="keep-alive", seq=6), first=5)
_sequence("starts-at-5-then-1", lambda s: s.send(type="keep-alive", seq=1), first=5)
_sequence("first-without", lambda s: s.send(type="keep-alive", seq=1), first=None)
_sequence("first-without-then-0", lambda s: s.send(type="keep-alive", seq=0), first=None)
_sequence("gap", lambda s: s.send(type="keep-alive", seq=2))
_sequence("repeated", lambda s: s.send(type="keep-alive", seq=0))
_sequence("missing", lambda s: s.send(type="keep-alive", seq=None))
_sequence("credit-out-of", lambda s: s.send(type="credit", credits=1, seq=9))
_sequence("data-after-end", lambda s: s.send(body="x"))
_sequence("data-after-end-more", lambda s: s.send(body="x", more=True))
_sequence("unknown-type", lambda s: s.send(type="foo"), lambda s: s.send(type="keep-alive", seq=1))
_sequence("as-text", lambda s: s.send(type="keep-alive", seq="1"))
_sequence(
    "error-type", lambda s: s.send(type="error", condition="x"), lambda s: s.send(type="keep-alive")
)
_sequence("other-from", lambda s: s.send(type="keep-alive", from_="somebody"))
_sequence("no-from", lambda s: s.send(type="keep-alive", from_=None))
_sequence("no-from-wrong", lambda s: s.send(type="keep-alive", from_=None, seq=7))


@exchange()
def answer_empty_with_stream(x: Run) -> None:
    x.origin.script = reply(EMPTY)
    x.fetch(method="GET", uri=x.origin.url())


@exchange()
def user_data_in_every_packet(x: Run) -> None:
    x.origin.script = reply(body(10))
    session = x.start(
        method="GET", uri=x.origin.url(), stream=True, credits=4, user_data={"a": [1, "x"]}
    )
    session.skip(b"keep-alive")
    session.send(type="credit", credits=100, user_data="other")
    x.finish(session)
