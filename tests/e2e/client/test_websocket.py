"""WebSockets through a running daemon."""

import gc
import signal
import threading
import time
from collections.abc import Callable

import pytest

from tests.support import DEADLINE, Connection, Daemon, ScriptedOrigin, Worker, reply, wait_until
from tests.support.websocket import (
    BINARY,
    CLOSE,
    FIN,
    PING,
    PONG,
    TEXT,
    accept,
    echo,
    frame,
    read_frame,
)
from zurl_py.client import (
    BadRequest,
    Client,
    ConnectFailed,
    ConnectionClosedError,
    ConnectionClosedOK,
    ConnectionLost,
    Endpoints,
    GatewayLost,
    GatewayUnavailable,
    InvalidStatus,
    ZurlTimeout,
)


def close_frame(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, code.to_bytes(2) + reason)


def test_messages_go_both_ways(client: Client, origin: ScriptedOrigin) -> None:
    origin.script = echo
    with client.websocket(origin.url("/chat", "ws")) as ws:
        for message in ("text", "ü", b"\x00\xff", "", b""):
            ws.send(message)
            assert ws.recv(timeout=10) == message
        assert ws.response.status_code == 101
    assert ws.close_code == 1000


def test_it_keeps_its_client(shared_daemon: Daemon, origin: ScriptedOrigin) -> None:
    origin.script = echo
    ws = Client(str(shared_daemon.config_path)).websocket(origin.url("/", "ws"))
    gc.collect()
    ws.send("x")
    assert ws.recv(timeout=10) == "x"
    ws.close()


def test_parts_that_are_no_messages_are_refused(client: Client, origin: ScriptedOrigin) -> None:
    origin.script = echo
    with client.websocket(origin.url("/", "ws")) as ws:
        with pytest.raises(TypeError, match="not int"):
            ws.send([1000])  # type: ignore[list-item]
        ws.send("still open")
        assert ws.recv(timeout=10) == "still open"


@pytest.mark.parametrize("size", [99_999, 100_000, 100_001, 200_001, 1_000_000])
def test_large_messages(client: Client, origin: ScriptedOrigin, size: int) -> None:
    origin.script = echo
    with client.websocket(origin.url("/", "ws")) as ws:
        ws.send(b"x" * size)
        assert b"".join(ws.recv_streaming()) == b"x" * size  # type: ignore[arg-type]
        ws.send("y" * size)
        assert len("".join(ws.recv_streaming())) == size  # type: ignore[arg-type]


def test_a_message_in_parts_is_one(client: Client, origin: ScriptedOrigin) -> None:
    frames: list[tuple[int, bytes]] = []

    def script(connection: Connection) -> None:
        accept(connection)
        while not frames or not frames[-1][0] & FIN:
            frames.append(read_frame(connection))
        connection.send(frame(TEXT, b"\xc3", fin=False) + frame(0, b"\xbc"))
        connection.expect_end()

    origin.script = script
    with client.websocket(origin.url("/", "ws")) as ws:
        ws.send(part for part in ("a", "b", "c"))
        assert ws.recv(timeout=10) == "ü"
        assert [payload for _, payload in frames] == [b"a", b"b", b"c"]
        with pytest.raises(TypeError):
            ws.send(5)  # type: ignore[arg-type]
        ws.__exit__(KeyboardInterrupt)  # the origin of this test would not answer a close
    origin.wait_closed()


def test_subprotocol_origin_and_headers(client: Client, origin: ScriptedOrigin) -> None:
    def script(connection: Connection) -> None:
        accept(connection, b"Sec-WebSocket-Protocol: b", b"X: y")
        connection.send(close_frame(1001, b"bye"))
        connection.expect_end()

    origin.script = script
    ws = client.websocket(
        origin.url("/", "ws"), subprotocols=["a", "b"], origin="http://o", headers={"H": "v"}
    )
    request = origin.requests[0]
    assert request.get(b"sec-websocket-protocol") == b"a, b"
    assert request.get(b"origin") == b"http://o"
    assert request.get(b"h") == b"v"
    assert ws.subprotocol == "b"
    assert ws.response.headers["x"] == "y"
    with pytest.raises(ConnectionClosedOK) as told:
        ws.recv(timeout=10)
    assert (told.value.code, told.value.reason) == (1001, "bye")
    assert (ws.close_code, ws.close_reason) == (1001, "bye")
    with pytest.raises(ConnectionClosedOK):
        ws.send("late")
    ws.close()


def test_iteration_ends_with_the_connection(client: Client, origin: ScriptedOrigin) -> None:
    def script(connection: Connection) -> None:
        accept(connection, tail=frame(TEXT, b"1") + frame(TEXT, b"2") + close_frame(1000))
        connection.expect_end()

    origin.script = script
    with client.websocket(origin.url("/", "ws")) as ws:
        assert list(ws) == ["1", "2"]


def test_an_error_is_raised_after_the_messages_before_it(
    client: Client, origin: ScriptedOrigin
) -> None:
    def script(connection: Connection) -> None:
        accept(connection, tail=frame(TEXT, b"1") + close_frame(4001, b"no"))
        connection.expect_end()

    origin.script = script
    with client.websocket(origin.url("/", "ws")) as ws:
        wait_until(lambda: ws.close_code == 4001, "the close")
        assert ws.recv() == "1"
        with pytest.raises(ConnectionClosedError) as told:
            ws.recv()
        assert (told.value.code, told.value.reason) == (4001, "no")


def test_our_close_has_code_and_reason(client: Client, origin: ScriptedOrigin) -> None:
    got: list[tuple[int, bytes]] = []

    def script(connection: Connection) -> None:
        accept(connection, tail=b"".join(frame(TEXT, b"x" * 1000) for _ in range(2000)))
        got.append(read_frame(connection))
        connection.send(close_frame(4000))
        connection.expect_end()

    origin.script = script
    ws = client.websocket(origin.url("/", "ws"))
    ws.close(4000, "enough")  # although two megabytes wait to be read
    ws.wait_closed()
    assert got == [(FIN | CLOSE, (4000).to_bytes(2) + b"enough")]
    assert ws.close_code == 4000
    for code in (999, 1005, 1006, 1015, 2999, 5000):
        with pytest.raises(ValueError, match="close code"):
            ws.close(code)


def test_an_exception_in_the_block_is_an_internal_error(
    client: Client, origin: ScriptedOrigin
) -> None:
    got: list[bytes] = []

    def script(connection: Connection) -> None:
        accept(connection)
        got.append(read_frame(connection)[1])
        connection.send(frame(CLOSE, got[0]))
        connection.expect_end()

    origin.script = script
    with (
        pytest.raises(ZeroDivisionError),
        client.websocket(origin.url("/", "ws")),
    ):
        _ = 1 / 0
    assert got == [(1011).to_bytes(2)]


def test_pings(client: Client, origin: ScriptedOrigin) -> None:
    got: list[tuple[int, bytes]] = []

    def script(connection: Connection) -> None:
        accept(connection, tail=frame(PING, b"theirs"))
        for _ in range(2):
            got.append(read_frame(connection))
        connection.send(frame(PONG, b"ours"))
        connection.wait_for("the end")

    origin.script = script
    ws = client.websocket(origin.url("/", "ws"))
    answered = ws.ping("ours")
    assert answered.wait(10)
    assert sorted(got) == [(FIN | PING, b"ours"), (FIN | PONG, b"theirs")]
    unanswered = ws.ping()
    assert not unanswered.is_set()
    origin.let("the end")
    assert unanswered.wait(10)  # nobody waits for ever
    with pytest.raises(ConnectionClosedError):
        ws.recv()
    with pytest.raises(ValueError, match="125"):
        ws.ping(b"x" * 126)


def test_a_wait_has_its_limit(client: Client, origin: ScriptedOrigin) -> None:
    def script(connection: Connection) -> None:
        accept(connection, tail=frame(TEXT, b"half", fin=False))
        connection.wait_for("more")
        connection.send(frame(0, b" way"))
        connection.expect_end()

    origin.script = script
    ws = client.websocket(origin.url("/", "ws"))
    for timeout in (0.3, 0):
        begun = time.monotonic()
        with pytest.raises(TimeoutError):
            ws.recv(timeout=timeout)
        assert time.monotonic() - begun < timeout + 10
    origin.let("more")
    assert ws.recv(timeout=10) == "half way"
    ws.__exit__(KeyboardInterrupt)


def test_a_message_is_no_larger_than_max_size(client: Client, origin: ScriptedOrigin) -> None:
    got: list[bytes] = []

    def script(connection: Connection) -> None:
        accept(connection, tail=frame(TEXT, b"x" * 60, fin=False) + frame(0, b"x" * 60))
        got.append(read_frame(connection)[1])
        connection.expect_end()

    origin.script = script
    ws = client.websocket(origin.url("/", "ws"), max_size=100)
    with pytest.raises(ConnectionClosedError, match="larger than 100 bytes"):
        ws.recv(timeout=10)
    origin.wait_closed()
    assert got[0][:2] == (1009).to_bytes(2)


def test_a_client_that_does_not_read_holds_little(client: Client, origin: ScriptedOrigin) -> None:
    sent = 0

    def script(connection: Connection) -> None:
        nonlocal sent
        accept(connection)
        while True:
            connection.send(frame(BINARY, b"x" * 10_000))
            sent += 10_000

    origin.script = script
    ws = client.websocket(origin.url("/", "ws"))
    still = -1
    while still != sent:
        still = sent
        time.sleep(0.3)
    assert sent < 20_000_000
    assert ws.recv() == b"x" * 10_000
    ws.__exit__(KeyboardInterrupt)
    origin.wait_closed()


def test_a_refusal_has_its_answer(client: Client, origin: ScriptedOrigin) -> None:
    origin.script = reply(b"HTTP/1.1 403 No\r\nX: y\r\nContent-Length: 4\r\n\r\nnope")
    with pytest.raises(InvalidStatus, match="403 No") as told:
        client.websocket(origin.url("/", "ws"))
    answer = told.value.response
    assert (answer.status_code, answer.content, answer.headers["x"]) == (403, b"nope", "y")
    with pytest.raises(ConnectFailed):
        client.websocket("ws://127.0.0.1:1/")
    with pytest.raises(BadRequest, match="ws and wss can be used here") as wrong:
        client.websocket("http://me:secret@127.0.0.1/?token=secret")
    assert (wrong.value.condition, wrong.value.error) == ("bad-request", "bad-uri")
    assert str(wrong.value.detail).startswith("ws and wss")
    assert "secret" not in str(wrong.value)


def test_a_handshake_has_its_limit(client: Client, origin: ScriptedOrigin) -> None:
    def script(connection: Connection) -> None:
        connection.read_head()
        connection.expect_end()

    origin.script = script
    begun = time.monotonic()
    with pytest.raises(ZurlTimeout):
        client.websocket(origin.url("/", "ws"), timeout=1)
    assert time.monotonic() - begun < 10
    origin.wait_closed()


def test_one_sends_while_the_other_receives(client: Client, origin: ScriptedOrigin) -> None:
    origin.script = echo
    with client.websocket(origin.url("/", "ws")) as ws:

        def send() -> None:
            for _ in range(10):
                ws.send(b"x" * 150_000)

        def receive() -> None:
            with pytest.raises(ConnectionClosedOK):
                ws.recv()

        senders = [threading.Thread(target=send) for _ in range(3)]
        for sender in senders:
            sender.start()
        got = [ws.recv(timeout=20) for _ in range(30)]
        assert got == [b"x" * 150_000] * 30
        for sender in senders:
            sender.join()
        receiver = threading.Thread(target=receive)
        receiver.start()
        wait_until(lambda: ws._call._receiving, "the other thread to receive")
        with pytest.raises(RuntimeError, match="received already"):
            ws.recv()
        ws.close()
        receiver.join(10)
        assert not receiver.is_alive()


def test_many_small_messages_wait_for_a_gateway_that_is_slow(
    start_daemon: Callable[..., tuple[Daemon, Worker]], origin: ScriptedOrigin
) -> None:
    """They cost few credits, or none: their number is limited as well."""
    origin.script = echo
    daemon, _ = start_daemon()
    number = 30_000
    with (
        Client(str(daemon.config_path)) as client,
        client.websocket(origin.url("/", "ws")) as ws,
    ):
        sent = 0

        def send() -> None:
            nonlocal sent
            for _ in range(number):
                ws.send("")
                sent += 1

        daemon.signal(signal.SIGSTOP)
        try:
            sender = threading.Thread(target=send)
            sender.start()
            sender.join(2)
            assert sent < number // 2
        finally:
            daemon.signal(signal.SIGCONT)
        for _ in range(number):
            assert ws.recv(timeout=20) == ""
        sender.join(DEADLINE)


def test_the_gateway_goes_away(
    start_daemon: Callable[..., tuple[Daemon, Worker]], origin: ScriptedOrigin
) -> None:
    daemon, _ = start_daemon()
    origin.script = echo
    with Client(str(daemon.config_path), timeout=20) as client:
        ws = client.websocket(origin.url("/", "ws"))
        daemon.signal(9)
        with pytest.raises(ConnectionLost) as told:
            ws.recv()
        assert isinstance(told.value, GatewayLost)


def test_it_needs_the_streaming_interface(client: Client) -> None:
    with (
        Client(Endpoints(req="ipc:///nowhere")) as other,
        pytest.raises(GatewayUnavailable, match="in_stream_spec"),
    ):
        other.websocket("ws://127.0.0.1:1/")
