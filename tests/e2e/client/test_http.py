"""HTTP through a running daemon: whole answers, streams, uploads, ends of every kind."""

import gc
import io
import pickle
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import (
    DEADLINE,
    Connection,
    Daemon,
    ScriptedOrigin,
    Worker,
    ask_until_in_time,
    reply,
    wait_until,
)
from zurl_py.client import (
    BadRequest,
    Client,
    ClientClosed,
    ConnectFailed,
    ConnectTimeout,
    Endpoints,
    GatewayLost,
    GatewayUnavailable,
    HTTPStatusError,
    MaxSizeExceeded,
    PacketTrace,
    PolicyViolation,
    PoolTimeout,
    ReadTimeout,
    Response,
    StreamError,
    Timeout,
    WriteTimeout,
    ZurlError,
)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


def answer(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *headers, b"", body]
    return b"\r\n".join(lines)


def test_an_answer(client: Client, origin: ScriptedOrigin) -> None:
    origin.script = reply(answer(b'{"a": "\xc3\xa9"}', b"X: 1", b"x: 2", status=b"201 Made"))
    made = client.post(origin.url("/p"), json={"q": 1}, headers={"A": "b"}, params={"k": "v"})
    assert (made.status_code, made.reason) == (201, "Made")
    assert made.headers.get_list("x") == ["1", "2"]
    assert made.content == b'{"a": "\xc3\xa9"}'
    assert made.text == '{"a": "é"}'
    assert made.json() == {"a": "é"}
    assert made.raise_for_status() is made
    assert made.is_success
    request = origin.wait_request()
    assert request.line == b"POST /p?k=v HTTP/1.1"
    assert request.body == b'{"q":1}'
    assert request.get(b"content-type") == b"application/json"
    assert request.get(b"a") == b"b"
    assert (request.get(b"user-agent") or b"").startswith(b"zurl-py/")


def test_bytes_of_every_value_go_both_ways(client: Client, origin: ScriptedOrigin) -> None:
    every = bytes(range(256)) * 40
    origin.script = reply(answer(every))
    assert client.put(origin.url(), content=every).content == every
    assert origin.wait_request().body == every


@pytest.mark.parametrize("size", [0, 1, 199_999, 200_000, 400_000, 400_001, 3_000_000])
def test_bodies_of_all_sizes(client: Client, origin: ScriptedOrigin, size: int) -> None:
    body = b"x" * size
    origin.script = reply(answer(body))
    assert client.post(origin.url(), content=body).content == body
    request = origin.wait_request()
    assert request.body == body
    assert request.framing == "length"


def test_status_errors(client: Client, origin: ScriptedOrigin) -> None:
    origin.script = reply(answer(b"no", status=b"404 Not Found"))
    with pytest.raises(HTTPStatusError, match="404 Not Found") as told:
        client.get(origin.url()).raise_for_status()
    assert told.value.response.content == b"no"


def test_iterators_and_files_are_uploaded_in_parts(client: Client, origin: ScriptedOrigin) -> None:
    origin.script = reply(OK)
    client.post(origin.url(), content=(b"%d," % number for number in range(10_000)))
    request = origin.wait_request()
    assert request.framing == "chunked"
    assert request.body == b"".join(b"%d," % number for number in range(10_000))
    client.post(origin.url(), content=io.BytesIO(b"y" * 500_000))
    request = origin.wait_request(2)
    assert (request.framing, request.length) == ("length", 500_000)
    client.post(origin.url(), content=iter(()))
    assert origin.wait_request(3).body == b""


def test_many_small_parts_wait_for_a_gateway_that_is_slow(
    start_daemon: Callable[..., tuple[Daemon, Worker]], origin: ScriptedOrigin
) -> None:
    origin.script = reply(OK)
    daemon, _ = start_daemon()

    def parts() -> Iterator[bytes]:
        yield b"y"
        daemon.signal(signal.SIGSTOP)
        threading.Timer(1, daemon.signal, (signal.SIGCONT,)).start()
        for _ in range(40_000):
            yield b"y"

    with Client(str(daemon.config_path)) as client:
        assert client.post(origin.url(), content=parts()).content == b"hello"
    assert len(origin.wait_request().body) == 40_001


def test_parts_of_a_body_are_bytes_or_text(client: Client, origin: ScriptedOrigin) -> None:
    origin.script = reply(OK)
    client.post(origin.url(), content=iter(["a", b"b", bytearray(b"c")]))  # type: ignore[arg-type]
    assert origin.wait_request().body == b"abc"
    with pytest.raises(TypeError, match="bytes or text, not int"):
        client.post(origin.url(), content=iter([5]))  # type: ignore[arg-type]


def test_an_answer_without_a_reference_is_cancelled(client: Client, origin: ScriptedOrigin) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsome")
        connection.expect_end()

    origin.script = script
    request = client.build_request("GET", origin.url(), timeout=None)
    parts = client.send(request, stream=True).iter_bytes()
    assert next(parts) == b"some"
    gc.collect()
    assert not origin.closed
    del parts
    gc.collect()
    origin.wait_closed()


def test_an_iterator_that_fails_cancels_its_request(client: Client, origin: ScriptedOrigin) -> None:
    def failing() -> Iterator[bytes]:
        yield b"some"
        raise OSError("the disk")

    origin.script = reply(OK)
    with pytest.raises(OSError, match="the disk"):
        client.post(origin.url(), content=failing())
    origin.wait_closed()


def test_an_upload_goes_no_faster_than_the_origin_takes_it(
    client: Client, origin: ScriptedOrigin
) -> None:
    taken = 0

    def pieces() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(1000):
            taken += 100_000
            yield b"x" * 100_000

    def script(connection: Connection) -> None:
        connection.read_head()
        connection.wait_for("go on")

    origin.script = script
    with pytest.raises(WriteTimeout):
        client.post(origin.url(), content=pieces(), timeout=Timeout(write=0.5))
    origin.let("go on")
    assert taken < 20_000_000  # buffers of this machine, and credits


def test_a_stream_is_read_as_it_comes(client: Client, origin: ScriptedOrigin) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
        connection.wait_for("more")
        connection.send(b"later")

    origin.script = script
    with client.stream("GET", origin.url()) as made:
        assert made.status_code == 200
        with pytest.raises(StreamError, match="was not read"):
            _ = made.content
        parts = made.iter_bytes()
        assert next(parts) == b"first"
        origin.let("more")
        assert b"".join(parts) == b"later"
        with pytest.raises(StreamError, match="already"):
            next(made.iter_bytes())


def test_an_answer_keeps_its_client(shared_daemon: Daemon, origin: ScriptedOrigin) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsome")
        connection.wait_for("more")
        connection.send(b"more")

    def opened() -> Response:
        client = Client(str(shared_daemon.config_path))
        return client.send(client.build_request("GET", origin.url()), stream=True)

    origin.script = script
    made = opened()
    assert pickle.loads(pickle.dumps(made)).status_code == 200
    gc.collect()
    origin.let("more")
    assert made.read() == b"somemore"


def test_a_body_that_can_be_read_once_is_not_sent_empty(
    client: Client, origin: ScriptedOrigin
) -> None:
    origin.script = reply(OK)
    for once in (iter([b"a", b"b"]), io.BytesIO(b"ab")):
        request = client.build_request("POST", origin.url(), content=once)
        client.send(request)
        with pytest.raises(StreamError, match="read already"):
            client.send(request)
    for often in ([b"a", b"b"], b"ab"):
        request = client.build_request("POST", origin.url(), content=often)
        for _ in range(2):
            client.send(request)
            assert origin.requests[-1].body == b"ab"


def some_and_hang(connection: Connection) -> None:
    connection.read_request()
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsome")
    connection.expect_end()


def test_an_answer_that_another_thread_closes_ends_its_reader(
    client: Client, origin: ScriptedOrigin
) -> None:
    origin.script = some_and_hang
    made = client.send(client.build_request("GET", origin.url(), timeout=None), stream=True)
    parts = made.iter_bytes()
    assert next(parts) == b"some"
    raised: list[Exception] = []

    def read() -> None:
        try:
            next(parts)
        except Exception as error:
            raised.append(error)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(0.2)
    made.close()
    reader.join(10)
    assert [type(error) for error in raised] == [StreamError]
    assert "closed" in str(raised[0])


def test_lines_text_and_pieces(client: Client, origin: ScriptedOrigin) -> None:
    text = "eins\r\nzwei\n\nü\rlast"
    origin.script = reply(
        answer(text.encode("latin-1"), b"Content-Type: text/plain; charset=latin-1")
    )
    with client.stream("GET", origin.url()) as made:
        assert list(made.iter_lines()) == ["eins", "zwei", "", "ü", "last"]
    with client.stream("GET", origin.url()) as made:
        assert "".join(made.iter_text()) == text
    with client.stream("GET", origin.url()) as made:
        assert [len(piece) for piece in made.iter_bytes(7)] == [7, 7, 4]
    with client.stream("GET", origin.url()) as made:
        assert made.read() == made.content == text.encode("latin-1")


def test_a_client_that_stops_reading_stops_the_origin(
    client: Client, origin: ScriptedOrigin
) -> None:
    sent = 0

    def script(connection: Connection) -> None:
        nonlocal sent
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.send(b"x" * 65536)
            sent += 65536

    origin.script = script
    with client.stream("GET", origin.url()) as made:
        parts = made.iter_bytes()
        next(parts)
        still = -1
        while still != sent:  # until everything on the way is full
            still = sent
            time.sleep(0.3)
        assert sent < 20_000_000
        begun = time.monotonic()
    origin.wait_closed()  # cancelled
    assert time.monotonic() - begun < 10
    with pytest.raises(StreamError, match="closed"):
        made.read()


def hanging(connection: Connection) -> None:
    connection.read_request()
    connection.expect_end()


def test_the_whole_time_is_limited(client: Client, origin: ScriptedOrigin) -> None:
    origin.script = hanging
    begun = time.monotonic()
    with pytest.raises(ReadTimeout) as told:
        client.get(origin.url(), timeout=1)
    assert 0.9 < time.monotonic() - begun < 10
    assert told.value.request is not None
    assert told.value.request.url == origin.url()
    origin.wait_closed()


def test_one_number_is_also_the_limit_for_connecting(
    client: Client, origin: ScriptedOrigin
) -> None:
    """A connection without TLS is not made."""
    origin.script = lambda connection: connection.expect_end()
    uri = origin.url(scheme="https")
    ask_until_in_time(lambda: client.get(uri, timeout=0.3), ConnectTimeout)


def test_silence_is_limited_and_progress_is_not(client: Client, origin: ScriptedOrigin) -> None:
    def dripping(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n")
        for _ in range(10):
            time.sleep(0.25)
            connection.send(b"x")
        connection.expect_end()

    origin.script = dripping
    begun = time.monotonic()
    with pytest.raises(ReadTimeout, match=r"nothing came for 1\.5 seconds"):
        client.get(origin.url(), timeout=Timeout(read=1.5))
    assert time.monotonic() - begun > 3.9
    origin.wait_closed()


def test_time_in_which_no_caller_waits_is_not_silence(
    client: Client, origin: ScriptedOrigin
) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na")
        connection.wait_for("more")
        connection.send(b"b")

    origin.script = script
    with client.stream("GET", origin.url(), timeout=Timeout(read=1.5)) as made:
        parts = made.iter_bytes()
        assert next(parts) == b"a"
        time.sleep(2)
        threading.Timer(0.1, origin.let, ("more",)).start()
        assert next(parts) == b"b"


def test_failures_have_their_types(client: Client, origin: ScriptedOrigin) -> None:
    with pytest.raises(ConnectFailed):
        client.get("http://127.0.0.1:1/")
    for url in ("ftp://127.0.0.1/", "nonsense", "", "ws://127.0.0.1/", "WSS://127.0.0.1/"):
        with pytest.raises(BadRequest):
            client.get(url)
    with pytest.raises(BadRequest):
        client.get(origin.url(), headers={"a": "b\r\nc: d"})
    origin.script = reply(answer(b"x" * 100))
    with pytest.raises(MaxSizeExceeded):
        client.get(origin.url(), max_size=99)
    assert len(client.get(origin.url(), max_size=100).content) == 100


def test_a_refusal_of_the_policy_has_its_exception(
    start_daemon: Callable[..., tuple[Daemon, Worker]],
) -> None:
    daemon, _ = start_daemon(deny="@private")
    with (
        Client(str(daemon.config_path)) as client,
        pytest.raises(PolicyViolation) as told,
    ):
        client.get("http://127.0.0.1:1/")
    assert told.value.condition == "policy-violation"
    assert "http://127.0.0.1:1/" in str(told.value)


def test_options_reach_the_daemon(client: Client, origin: ScriptedOrigin) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(
            b"HTTP/1.1 302 Found\r\nLocation: http://b.invalid/\r\nContent-Length: 0\r\n\r\n"
        )
        connection.read_request()
        connection.send(OK)

    origin.script = script
    made = client.get(
        "http://a.invalid/",
        connect_host="127.0.0.1",
        connect_port=origin.port,
        follow_redirects=True,
        user_data={"a": [1]},
    )
    assert made.content == b"hello"
    assert made.user_data == {"a": [1]}
    assert origin.wait_request(2).get(b"host") == b"b.invalid"


def test_fire_and_forget(client: Client, origin: ScriptedOrigin) -> None:
    origin.script = reply(OK)
    client.send_nowait("POST", origin.url("/hook"), json={"a": 1})
    request = origin.wait_request()
    assert (request.line, request.body) == (b"POST /hook HTTP/1.1", b'{"a":1}')


def test_what_was_sent_before_the_end_is_sent(
    shared_daemon: Daemon, origin: ScriptedOrigin
) -> None:
    origin.script = reply(OK)
    with Client(str(shared_daemon.config_path)) as client:
        for number in range(50):
            client.send_nowait("GET", origin.url(f"/{number}"))
    origin.wait_request(50)


def test_one_client_serves_many_threads(client: Client, origin: ScriptedOrigin) -> None:
    def script(connection: Connection) -> None:
        while True:
            connection.send(answer(connection.read_request().line.split()[1]))

    origin.script = script
    wrong: list[object] = []

    def ask(name: int) -> None:
        for number in range(20):
            path = f"/{name}/{number}"
            content = client.get(origin.url(path)).content
            if content != path.encode():
                wrong.append((path, content))

    threads = [threading.Thread(target=ask, args=(name,)) for name in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_with_the_request_interface_alone(
    start_daemon: Callable[..., tuple[Daemon, Worker]], origin: ScriptedOrigin
) -> None:
    daemon, _ = start_daemon(interfaces=("req",))
    origin.script = reply(answer(b"x" * 300_000))
    with Client(str(daemon.config_path)) as client:
        assert len(client.get(origin.url()).content) == 300_000
        client.post(origin.url(), content=(b"abc" for _ in range(100_000)))
        assert len(origin.wait_request(2).body) == 300_000
        with client.stream("GET", origin.url()) as made:
            assert sum(map(len, made.iter_bytes())) == 300_000
        with pytest.raises(ConnectFailed):
            client.get("http://127.0.0.1:1/")
        client.send_nowait("GET", origin.url("/note"))
        assert origin.wait_request(4).line == b"GET /note HTTP/1.1"


def test_a_full_gateway_and_a_closed_client(
    start_daemon: Callable[..., tuple[Daemon, Worker]], origin: ScriptedOrigin
) -> None:
    daemon, _ = start_daemon(max_open_requests=1)
    origin.script = hanging
    client = Client(str(daemon.config_path), timeout=20)
    failed: list[ZurlError] = []

    def ask() -> None:
        try:
            client.get(origin.url())
        except ZurlError as error:
            failed.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    origin.wait_request()
    with pytest.raises(PoolTimeout):
        client.get(origin.url(), timeout=Timeout(pool=0.3))
    client.close()
    thread.join(DEADLINE)
    assert type(failed[0]) is ClientClosed
    origin.wait_closed()  # cancelled
    with pytest.raises(ClientClosed):
        client.get(origin.url())


def test_a_gateway_that_goes_away_fails_its_requests(
    start_daemon: Callable[..., tuple[Daemon, Worker]], origin: ScriptedOrigin
) -> None:
    daemon, _ = start_daemon()
    origin.script = hanging
    with Client(str(daemon.config_path), timeout=20) as client:

        def kill() -> None:
            origin.wait_request()
            daemon.signal(9)
            daemon.wait()

        killer = threading.Thread(target=kill)
        killer.start()
        with pytest.raises(GatewayLost, match="went away"):
            client.get(origin.url())
        killer.join()
        origin.script = reply(OK)
        daemon.start()
        assert client.get(origin.url()).content == b"hello"  # it is back
        with client.stream("GET", origin.url()) as made:  # and can be written to
            made.close()


def test_requests_that_the_gateway_did_not_get_are_not_sent_later(
    start_daemon: Callable[..., tuple[Daemon, Worker]], origin: ScriptedOrigin
) -> None:
    daemon, _ = start_daemon()
    origin.script = reply(OK)
    with Client(str(daemon.config_path), timeout=0.3) as client:
        client.get(origin.url("/1"), timeout=10)
        daemon.stop()
        with pytest.raises(ZurlError):
            client.post(origin.url("/2"), content=b"x")
        daemon.start()
        assert client.get(origin.url("/3"), timeout=10).content == b"hello"
    wait_until(lambda: len(origin.requests) == 2, "two requests")
    assert [request.line.split()[1] for request in origin.requests] == [b"/1", b"/3"]


def test_a_missing_gateway_is_reported_in_time(tmp_path: object) -> None:
    ends = Endpoints(
        in_=f"ipc://{tmp_path}/in", in_stream=f"ipc://{tmp_path}/is", out=f"ipc://{tmp_path}/out"
    )
    with Client(ends, timeout=Timeout(connect=0.3)) as client:
        begun = time.monotonic()
        with pytest.raises(ZurlError, match=f"ipc://{tmp_path}/out: no such socket"):
            client.get("http://127.0.0.1:1/")
        assert 0.25 < time.monotonic() - begun < 10
        with pytest.raises(ZurlError, match="no such socket"):
            client.send_nowait("GET", "http://127.0.0.1:1/")
        begun = time.monotonic()
        client.close()
        assert time.monotonic() - begun < 0.7


@pytest.mark.parametrize(
    ("endpoint", "why"),
    [("ipc:///" + "x" * 200, "File name too long"), ("tcp://127.0.0.1:x", "Invalid argument")],
)
def test_an_endpoint_that_nobody_can_have(endpoint: str, why: str) -> None:
    client = Client(Endpoints(req=endpoint), timeout=Timeout(connect=0.3))
    with client, pytest.raises(GatewayUnavailable, match=f"{endpoint}: {why}"):
        client.get("http://127.0.0.1:1/")
    ends = Endpoints(in_=endpoint, in_stream="tcp://127.0.0.1:1", out="tcp://127.0.0.1:1")
    client = Client(ends, timeout=Timeout(connect=0.3))
    with client, pytest.raises(GatewayUnavailable, match=f"{endpoint}: {why}"):
        client.get("http://127.0.0.1:1/")


def test_the_reason_is_that_of_the_last_attempt(tmp_path: Path) -> None:
    """A gateway that ends may accept one connection more, and close it."""
    path = tmp_path / "in-req"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def accept_one() -> None:
        listener.accept()[0].close()
        listener.close()

    ending = threading.Thread(target=accept_one)
    ending.start()
    client = Client(Endpoints(req=f"ipc://{path}"), timeout=Timeout(connect=1))
    with client, pytest.raises(GatewayUnavailable, match="nobody listens there"):
        client.get("http://127.0.0.1:1/")
    ending.join()


def test_values_that_no_packet_can_hold_do_not_disturb_other_requests(
    client: Client, origin: ScriptedOrigin
) -> None:
    origin.script = reply(OK)
    assert client.get(origin.url()).content == b"hello"
    for wrong in ({"user_data": object()}, {"ext": {"x": {1, 2}}}):
        with pytest.raises(BadRequest) as refused:
            client.get(origin.url(), **wrong)
        assert str(refused.value.detail).startswith("no packet can hold it")
        with pytest.raises(BadRequest):
            client.get(origin.url() + "\udc80")
        assert client.get(origin.url()).content == b"hello"


def test_an_observer_that_fails_is_ignored(shared_daemon: Daemon, origin: ScriptedOrigin) -> None:
    seen: list[PacketTrace] = []

    def observe(packet: PacketTrace) -> None:
        seen.append(packet)
        raise ZeroDivisionError

    origin.script = reply(OK)
    with Client(str(shared_daemon.config_path), on_packet=observe) as client:
        assert client.get(origin.url()).content == b"hello"
        assert client.get(origin.url()).content == b"hello"
    assert len(seen) == 1
