"""WebSockets: opening, frames, credits, closing, one step at a time."""

from collections.abc import Callable
from typing import Any

from tests.labs.differential.lab import SHORT, Run, exchange
from tests.support import Connection, Session, reply
from tests.support.deadline import wait_until
from tests.support.origin import Script
from tests.support.websocket import CLOSE, PING, PONG, TEXT, accept, echo, frame, read_frame
from tests.support.worker import NoAnswer

_BAD_TEXT = b"\xce\xba\xff"


def opened(x: Run, script: Script, **fields: Any) -> Session:
    """A session whose handshake is done."""
    x.origin.script = script
    session = x.start(**{"uri": x.origin.url("/p?q", "ws"), "credits": 100_000, **fields})
    session.next()
    return session


def quiet(x: Run, session: Session) -> None:
    """Notes that nothing more comes by itself."""
    x.worker.fence()
    try:
        x.note(f"then {session.next(SHORT)}")
    except NoAnswer:
        x.note("then nothing")


class Wire:
    """A scripted origin, which records what it gets."""

    def __init__(self, x: Run, *headers: bytes, tail: bytes = b"") -> None:
        self._x = x
        self._headers = headers
        self._tail = tail
        self._connection: Connection | None = None
        self.frames: list[tuple[int, bytes]] = []
        self.ended = False

    def script(self, connection: Connection) -> None:
        accept(connection, *self._headers, tail=self._tail)
        self._connection = connection
        try:
            while True:
                self.frames.append(read_frame(connection))
        finally:
            self.ended = True

    def send(self, *frames: bytes) -> None:
        wait_until(lambda: self._connection is not None, "the handshake")
        assert self._connection is not None
        self._connection.send(b"".join(frames))

    def got(self, count: int) -> None:
        """Waits for this many frames, and notes them."""
        wait_until(lambda: len(self.frames) >= count, f"{count} frames at the origin")
        self._x.note(f"origin got {self.frames}")

    def end(self) -> None:
        """Waits for the end of the connection, and notes what came before."""
        wait_until(lambda: self.ended, "the end of the connection")
        self._x.note(f"origin got {self.frames} and the end")

    def hang_up(self) -> None:
        wait_until(lambda: self._connection is not None, "the handshake")
        assert self._connection is not None
        self._connection.close()


def _ws(
    name: str, variant: str = "default", requests: bool = False, **options: Any
) -> Callable[[Callable[[Run], None]], Callable[[Run], None]]:
    return exchange(f"ws-{name}", variant, merge=False, requests=requests, **options)


# -- opening ---------------------------------------------------------------------------------------


@_ws("open", requests=True)
def _open(x: Run) -> None:
    opened(
        x,
        Wire(x, b"X-A: b", b"x-a: c", b"Sec-WebSocket-Extensions: grip").script,
        headers=[
            ["Sec-WebSocket-Key", "theirs"],
            ["Sec-WebSocket-Extensions", "grip"],
            ["Sec-WebSocket-Protocol", "chat"],
            ["Origin", "http://a"],
            ["Cookie", "c=d"],
            ["Host", "other"],
            ["Accept-Encoding", "gzip"],
            ["Upgrade", "h2c"],
            ["X-Empty", ""],
            ["Content-Length", "0"],
        ],
        user_data={"a": 1},
        ext={"multi": True},
        credits=7,
    )


@_ws("open-fields-without-meaning", requests=True)
def _open_fields(x: Run) -> None:
    session = opened(
        x, echo, method="POST", body="x", more=True, stream=True, timeout=100_000, max_size=1
    )
    session.send(body="long")
    session.next()
    session.next()


@_ws("open-seq-missing")
def _open_seq_missing(x: Run) -> None:
    x.start(uri=x.origin.url("/", "ws"), seq=None).next()


@_ws("open-seq-three")
def _open_seq_three(x: Run) -> None:
    x.start(uri=x.origin.url("/", "ws"), seq=3).next()


@_ws("open-connect-host", requests=True)
def _open_connect_host(x: Run) -> None:
    opened(
        x,
        Wire(x).script,
        uri="ws://example.com/",
        connect_host="127.0.0.1",
        connect_port=x.origin.port,
    )


@_ws("open-refused")
def _open_refused(x: Run) -> None:
    x.start(uri="ws://127.0.0.1:1/").next()


@_ws("open-policy", variant="deny-local")
def _open_policy(x: Run) -> None:
    x.start(uri=x.origin.url("/", "ws")).next()


def _refusal(name: str, answer: bytes) -> None:
    @_ws(f"refused-{name}")
    def run(x: Run) -> None:
        x.origin.script = reply(answer, close=True)
        x.start(uri=x.origin.url("/", "ws")).next()


_refusal("by-length", b"HTTP/1.1 403 No\r\nX-A: b\r\nContent-Length: 4\r\n\r\nbody")
_refusal(
    "by-chunks", b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"
)
_refusal("by-end", b"HTTP/1.1 200 OK\r\n\r\nbody")
_refusal("too-long", b"HTTP/1.1 200 OK\r\nContent-Length: 150000\r\n\r\n" + b"x" * 150_000)
_refusal("by-redirect", b"HTTP/1.1 302 F\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n")
_refusal("broken-off", b"HTTP/1.1 403 No\r\nContent-Length: 9\r\n\r\nbody")
_refusal("no-http", b"220 smtp\r\n\r\n")
_refusal("nothing", b"")


@_ws("wrong-accept")
def _wrong_accept(x: Run) -> None:
    head = b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    x.origin.script = reply(head + b"Sec-WebSocket-Accept: AAAA\r\n\r\n")
    x.start(uri=x.origin.url("/", "ws")).next()


@_ws("redirect-relative")
def _redirect_relative(x: Run) -> None:
    def script(connection: Connection) -> None:
        if connection.number == 0:
            reply(b"HTTP/1.1 302 F\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n")(connection)
        else:
            accept(connection)
            connection.expect_end()

    x.origin.script = script
    x.start(uri=x.origin.url("/", "ws"), follow_redirects=True).next()


@_ws("timeout")
def _timeout(x: Run) -> None:
    x.origin.script = lambda c: (c.read_head(), c.expect_end())[1]
    quiet(x, x.start(uri=x.origin.url("/", "ws"), timeout=200))


# -- frames ----------------------------------------------------------------------------------------


def _echoed(name: str, *frames: dict[str, Any]) -> None:
    """Each frame and its echo in turn: credit, then data."""

    @_ws(f"echo-{name}")
    def run(x: Run) -> None:
        session = opened(x, echo)
        for fields in frames:
            session.send(**fields)
            session.next()
            session.next()


_echoed("text", {"body": "hello"}, {"body": "κόσμε"})
_echoed("binary", {"body": b"\xff\x00", "content_type": "binary"})
_echoed("empty", {"body": ""}, {"body": "", "content_type": "binary"})
_echoed("odd-type", {"body": "x", "content_type": "text"}, {"body": "y", "content_type": "odd"})
_echoed("large", {"body": "x" * 70_000})
_echoed("fragments", {"body": "a", "more": True}, {"body": "", "more": True}, {"body": "b"})
_echoed(
    "fragments-change-type",
    {"body": "a", "more": True, "content_type": "binary"},
    {"body": "b"},
    {"body": "c"},
)
_echoed("control-between", {"body": "a", "more": True}, {"type": "ping"}, {"body": "b"})
_echoed("pong", {"type": "pong"})
_echoed("ping-payload", {"type": "ping", "body": "p"})


@_ws("bad-text-from-worker")
def _bad_text_from_worker(x: Run) -> None:
    wire = Wire(x)
    session = opened(x, wire.script)
    session.send(body=_BAD_TEXT)
    session.next()
    session.cancel()
    wire.end()


@_ws("bad-text-from-origin")
def _bad_text_from_origin(x: Run) -> None:
    opened(x, Wire(x, tail=frame(TEXT, _BAD_TEXT)).script).next()


@_ws("bad-close-code-from-worker")
def _bad_close_code(x: Run) -> None:
    wire = Wire(x)
    session = opened(x, wire.script)
    session.send(type="close", code=1005)
    quiet(x, session)
    session.cancel()
    wire.end()


@_ws("ping-payload-from-origin")
def _ping_payload_from_origin(x: Run) -> None:
    opened(x, Wire(x, tail=frame(PING, b"p")).script).next()


@_ws("empty-control-from-origin")
def _empty_control_from_origin(x: Run) -> None:
    session = opened(x, Wire(x, tail=frame(PING) + frame(PONG)).script)
    session.next()
    session.next()
    quiet(x, session)


@_ws("frame-too-large", variant="small", parts=False)
def _frame_too_large(x: Run) -> None:
    session = opened(x, Wire(x, tail=frame(TEXT, b"x" * 1001)).script)
    session.next()
    quiet(x, session)


@_ws("largest-frame", variant="small")
def _largest_frame(x: Run) -> None:
    opened(x, Wire(x, tail=frame(TEXT, b"x" * 1000)).script).next()


# -- credits ---------------------------------------------------------------------------------------


@_ws("credits")
def _credits(x: Run) -> None:
    wire = Wire(x)
    session = opened(x, wire.script, credits=3)
    wire.send(frame(TEXT, b"12345"), frame(TEXT), frame(TEXT, b"67"))
    quiet(x, session)
    for count in (1, 1, 1, 1, 5):
        session.credit(count)
        quiet(x, session)


# -- closing ---------------------------------------------------------------------------------------


def _close(name: str, answer: bytes, **fields: Any) -> None:
    @_ws(f"close-{name}")
    def run(x: Run) -> None:
        wire = Wire(x)
        session = opened(x, wire.script)
        session.send(type="close", **fields)
        wire.got(1)
        wire.send(answer)
        session.next()


_close("by-worker", frame(CLOSE, b"\x03\xe8bye"), code=1000, body="done")
_close("by-worker-bare-code", frame(CLOSE, b"\x0b\xb8"), code=3000)
_close("by-worker-empty", frame(CLOSE), body="lost")


@_ws("close-data-after-workers")
def _data_after_close(x: Run) -> None:
    wire = Wire(x)
    session = opened(x, wire.script)
    session.send(type="close", code=1000)
    wire.got(1)
    wire.send(frame(TEXT, b"late"))
    session.next()
    wire.send(frame(CLOSE, b"\x03\xe8"))
    session.next()


@_ws("close-by-origin")
def _close_by_origin(x: Run) -> None:
    wire = Wire(x)
    session = opened(x, wire.script)
    wire.send(frame(CLOSE, b"\x03\xe9why"))
    session.next()
    session.send(body="more")
    session.next()
    session.send(type="close", code=1001)
    wire.got(2)
    quiet(x, session)


@_ws("close-by-origin-hangs-up")
def _close_hangs_up(x: Run) -> None:
    wire = Wire(x)
    session = opened(x, wire.script)
    wire.send(frame(CLOSE, b"\x03\xe8"))
    session.next()
    wire.hang_up()
    session.next()


@_ws("close-in-one-piece-with-data")
def _close_with_data(x: Run) -> None:
    session = opened(x, Wire(x, tail=frame(TEXT, b"a") + frame(CLOSE, b"\x03\xe8")).script)
    session.next()
    session.next()


def _after_close(name: str, **fields: Any) -> None:
    @_ws(f"close-then-{name}")
    def run(x: Run) -> None:
        wire = Wire(x)
        session = opened(x, wire.script)
        session.send(type="close", code=1000)
        wire.got(1)
        session.send(**fields)
        session.next()
        wire.end()


_after_close("data", body="x")
_after_close("ping", type="ping")
_after_close("pong", type="pong")
_after_close("close", type="close", code=1000)


@_ws("lost")
def _lost(x: Run) -> None:
    wire = Wire(x, tail=frame(TEXT, b"last"))
    session = opened(x, wire.script)
    session.next()
    wire.hang_up()
    session.next()


@_ws("lost-after-close")
def _lost_after_close(x: Run) -> None:
    wire = Wire(x)
    session = opened(x, wire.script)
    session.send(type="close", code=1000)
    wire.got(1)
    wire.hang_up()
    session.next()


@_ws("lost-while-data-waits")
def _lost_while_data_waits(x: Run) -> None:
    wire = Wire(x)
    session = opened(x, wire.script, credits=0)
    wire.send(frame(TEXT, b"waits"))
    wire.hang_up()
    x.origin.wait_closed()
    quiet(x, session)
    session.credit(5)
    x.finish(session, SHORT)


@_ws("cancel")
def _cancel(x: Run) -> None:
    wire = Wire(x)
    opened(x, wire.script).cancel()
    wire.end()


@_ws("out-of-sequence")
def _out_of_sequence(x: Run) -> None:
    wire = Wire(x)
    session = opened(x, wire.script)
    session.send(body="x", seq=7)
    session.next()
    wire.end()


@_ws("ignored-types")
def _ignored_types(x: Run) -> None:
    session = opened(x, echo)
    for fields in (
        {"type": "keep-alive"},
        {"type": "error", "condition": "x"},
    ):
        session.send(**fields)
    session.send(body="x")
    session.next()
    session.next()
