"""Several gateways, gateways that come and go, a gateway of the process's own, forks."""

import gc
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

from tests.support import (
    DEADLINE,
    ROOT,
    Connection,
    Daemon,
    ScriptedOrigin,
    Worker,
    reply,
    wait_until,
)
from tests.support.websocket import echo, switch
from zurl_py.client import (
    Client,
    ClientClosed,
    Direction,
    Endpoints,
    GatewayLost,
    GatewayUnavailable,
    PacketTrace,
    PolicyViolation,
    Timeout,
    ZurlError,
    embedded,
)
from zurl_py.zhttp import Envelope, Format, RequestPacket

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


def hanging(connection: Connection) -> None:
    connection.read_request()
    connection.expect_end()


@pytest.fixture
def two(start_daemon: Callable[..., tuple[Daemon, Worker]]) -> list[Daemon]:
    return [start_daemon(instance_id=name)[0] for name in ("one", "two")]


def in_background(what: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    """Runs something in a thread; what it returns or raises is in the list."""
    results: list[object] = []

    def run() -> None:
        try:
            results.append(what())
        except ZurlError as error:
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, results


def test_gateways_are_used_in_turn(two: list[Daemon], origin: ScriptedOrigin) -> None:
    origin.script = reply(OK)
    with Client([str(daemon.config_path) for daemon in two], timeout=20) as client:
        wait_for_both(client, two)
        for _ in range(7):
            client.get(origin.url())

        def counts() -> list[int]:
            return [log.count("GET " + origin.url()) for log in (one.log() for one in two)]

        wait_until(lambda: sum(counts()) >= 7, "seven requests in the logs")
        assert min(counts()) >= 3


def test_a_gateway_that_is_away_gets_no_requests(two: list[Daemon], origin: ScriptedOrigin) -> None:
    origin.script = reply(OK)
    with Client([str(daemon.config_path) for daemon in two], timeout=20) as client:
        client.get(origin.url())
        two[0].stop()
        lost = 0
        for _ in range(6):
            try:
                assert client.post(origin.url()).content == b"hello"
            except GatewayLost:
                lost += 1
        assert lost <= 1  # what was asked before the client had seen it go
        two[0].start()
        before = two[0].log().count("POST")

        def asked_again() -> bool:
            client.post(origin.url())
            return two[0].log().count("POST") > before

        wait_until(asked_again, "the one that is back to be asked", interval=0.05)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize(("method", "times"), [("GET", 2), ("PUT", 2), ("POST", 1), ("PATCH", 1)])
def test_idempotent_requests_are_retried_once(
    two: list[Daemon], origin: ScriptedOrigin, method: str, times: int, number: int
) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        if len(origin.requests) == 1:
            connection.expect_end()
        else:
            connection.send(OK)

    origin.script = script
    with Client([str(daemon.config_path) for daemon in two], timeout=20) as client:
        wait_for_both(client, two)
        thread, results = in_background(lambda: client.request(method, origin.url()).content)
        origin.wait_request()
        line = f"{method} {origin.url()}"
        busy = wait_until(lambda: [one for one in two if line in one.log()], "a line in a log")
        busy[0].signal(number)
        thread.join(2 * DEADLINE)
        assert len(origin.requests) == times
        if times == 2:
            assert results == [b"hello"]
        else:
            assert type(results[0]) is GatewayLost


def test_one_that_drains_gets_no_more(
    start_daemon: Callable[..., tuple[Daemon, Worker]], origin: ScriptedOrigin
) -> None:
    two = [start_daemon(instance_id=name, drain_timeout=60)[0] for name in ("one", "two")]
    origin.script = held_and_others
    with Client([str(daemon.config_path) for daemon in two], timeout=20) as client:
        wait_for_both(client, two)
        thread, results = in_background(lambda: client.get(origin.url("/held")).content)
        origin.wait_request()
        busy = wait_until(lambda: [one for one in two if "/held" in one.log()], "a line in a log")
        busy[0].signal(signal.SIGTERM)
        busy[0].wait_log("stopping")
        for _ in range(4):
            assert client.post(origin.url(), content=b"x").content == b"hello"
            assert client.post(origin.url(), content=iter([b"x", b"y"])).content == b"hello"
            with client.websocket(origin.url("/socket", "ws")) as ws:
                assert ws.recv(timeout=20) == "hi"
        assert len(origin.requests) == 13
        assert busy[0].alive
        origin.let("go on")
        thread.join(20)
        assert results == [b"hello"]
        busy[0].wait()


def test_what_came_too_late_waits_for_the_successor(
    start_daemon: Callable[..., tuple[Daemon, Worker]], origin: ScriptedOrigin
) -> None:
    daemon, _ = start_daemon(drain_timeout=60)
    origin.script = held_and_others
    with Client(str(daemon.config_path), timeout=20) as client:
        held, answer = in_background(lambda: client.get(origin.url("/held")).content)
        origin.wait_request()
        daemon.signal(signal.SIGTERM)
        daemon.wait_log("stopping")
        late, results = in_background(lambda: client.post(origin.url(), content=b"x").content)
        daemon.wait_log("the gateway is stopping")
        origin.let("go on")
        held.join(20)
        assert answer == [b"hello"]
        daemon.wait()
        daemon.start()
        late.join(20)
        assert results == [b"hello"]
        assert len(origin.requests) == 2


def held_and_others(connection: Connection) -> None:
    request = connection.read_request()
    if request.get(b"upgrade"):
        connection.send(switch(request))
        connection.send(b"\x81\x02hi\x88\x02\x03\xe8")  # and its close frame
        connection.expect_end()
        return
    if b"/held" in request.line:
        connection.wait_for("go on")
    connection.send(OK)


def wait_for_both(client: Client, two: list[Daemon]) -> None:
    def both() -> bool:
        with pytest.raises(ZurlError):
            client.get("http://127.0.0.1:1/warm-up")
        return all("warm-up" in daemon.log() for daemon in two)

    wait_until(both, "both gateways to be there")


def test_requests_with_a_byte_of_an_answer_are_not_retried(
    two: list[Daemon], origin: ScriptedOrigin
) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")
        connection.expect_end()

    origin.script = script
    with Client([str(daemon.config_path) for daemon in two], timeout=20) as client:
        wait_for_both(client, two)
        with client.stream("GET", origin.url()) as answer:
            parts = answer.iter_bytes()
            assert next(parts) == b"hel"
            for daemon in two:
                daemon.signal(signal.SIGKILL)
            with pytest.raises(GatewayLost):
                next(parts)
    assert len(origin.requests) == 1


def test_the_last_answers_of_a_gateway_that_stops_are_used(tmp_path: Path) -> None:
    endpoints = {name: f"ipc://{tmp_path}/{name}" for name in ("in_", "in_stream", "out")}
    with zmq.Context() as context:
        pull, dealer = context.socket(zmq.PULL), context.socket(zmq.DEALER)
        publisher = context.socket(zmq.XPUB)
        for socket, name in ((pull, "in_"), (dealer, "in_stream"), (publisher, "out")):
            socket.linger = 0
            socket.bind(endpoints[name])
        with Client(Endpoints(**endpoints), timeout=20) as client:
            thread, results = in_background(lambda: client.get("http://stops.example/").content)
            assert publisher.recv().startswith(b"\1")  # it has subscribed
            request = RequestPacket.parse(pull.recv())
            assert request.sender is not None
            assert request.id is not None
            pull.close()
            dealer.close()
            assert not publisher.poll(50)  # it reads on
            answer = Envelope(Format.TNETSTRING, b"gw", request.id)
            packet = answer.encode({"seq": 0, "code": 200, "reason": b"OK", "body": b"last"})
            publisher.send(request.sender + b" " + packet)
            publisher.close(linger=1000)
            thread.join(20)
        assert results == [b"last"]


def test_a_listener_that_is_no_gateway(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        conf = tmp_path / "zurl.conf"
        conf.write_text(f"[General]\nin_req_spec=tcp://127.0.0.1:{port}\n")
        with (
            Client(conf, timeout=Timeout(connect=0.5)) as client,
            pytest.raises(GatewayUnavailable, match=f"tcp://127.0.0.1:{port}"),
        ):
            client.get("http://127.0.0.1:1/")


def test_every_packet_can_be_seen(shared_daemon: Daemon, origin: ScriptedOrigin) -> None:
    seen: list[PacketTrace] = []
    origin.script = reply(OK)
    with Client(str(shared_daemon.config_path), on_packet=seen.append) as client:
        client.get(origin.url())
        wait_until(lambda: len(seen) >= 3, "three packets")
    first, *others = seen
    assert (first.direction, first.socket, first.seq) == (Direction.SENT, "in", 0)
    assert first.fields["method"] == b"GET"
    assert first.fields["from"].startswith(b"zurl-py-")
    received = [packet for packet in others if packet.direction is Direction.RECEIVED]
    assert [packet.seq for packet in received] == list(range(len(received)))
    assert {packet.socket for packet in received} == {"out"}
    assert received[-1].fields["body"] == b"hello"


@pytest.mark.parametrize("letter", ["T", "M", "J"])
def test_formats(shared_daemon: Daemon, origin: ScriptedOrigin, letter: str) -> None:
    seen: list[PacketTrace] = []
    origin.script = reply(OK)
    with Client(str(shared_daemon.config_path), format=letter, on_packet=seen.append) as client:
        assert client.post(origin.url(), content=b"body").content == b"hello"
        with client.stream("POST", origin.url(), content=b"x" * 300_000) as answer:
            assert answer.read() == b"hello"
    assert {packet.message[:1] for packet in seen} == {letter.encode()}


# -- embedded --------------------------------------------------------------------------------------


@pytest.fixture
def embedded_gateways() -> Iterator[None]:
    """None is left behind."""
    yield
    embedded._stop_all()


def directories() -> set[str]:
    return {str(child.directory) for child in embedded._children.values()}


@pytest.mark.usefixtures("embedded_gateways")
def test_an_embedded_gateway_denies_private_addresses(origin: ScriptedOrigin) -> None:
    origin.script = reply(OK)
    with Client("embedded") as client:
        for url in (origin.url(), "http://localhost/", "http://169.254.169.254/", "http://[::1]/"):
            with pytest.raises(PolicyViolation):
                client.get(url)
    assert not origin.requests


@pytest.mark.usefixtures("embedded_gateways")
def test_equal_settings_share_one(origin: ScriptedOrigin) -> None:
    origin.script = reply(OK)
    policy = {"allow": "127.0.0.1"}
    with Client("embedded", policy=policy) as one, Client("embedded", policy=policy) as other:
        assert one.get(origin.url()).content == other.get(origin.url()).content == b"hello"
        assert len(directories()) == 1
        with Client("embedded", policy={"deny": "@own"}) as third:
            assert third.get(origin.url()).content == b"hello"
        assert len(directories()) == 2


@pytest.mark.usefixtures("embedded_gateways")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_one_that_died_is_started_again(origin: ScriptedOrigin, number: int) -> None:
    origin.script = reply(OK)
    with Client("embedded", policy={"deny": ""}) as client:
        client.get(origin.url())
        (child,) = embedded._children.values()
        assert child._process is not None
        child._process.send_signal(number)
        wait_until(lambda: child._keeper and not child._keeper.is_alive(), "its end")
        assert client.get(origin.url()).content == b"hello"


@pytest.mark.usefixtures("embedded_gateways")
def test_invalid_settings_are_reported(origin: ScriptedOrigin) -> None:
    with Client("embedded", policy={"timeout": "soon"}) as client:
        with pytest.raises(GatewayUnavailable, match="timeout: found 'soon'"):
            client.get(origin.url())
        begun = time.monotonic()
        with pytest.raises(GatewayUnavailable, match="timeout: found 'soon'"):
            client.get(origin.url())
        assert time.monotonic() - begun < 15


@pytest.mark.usefixtures("embedded_gateways")
def test_a_long_name_of_the_temporary_directory(
    origin: ScriptedOrigin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The paths of sockets are shorter."""
    origin.script = reply(OK)
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with Client("embedded", policy={"deny": ""}) as client:
        assert client.get(origin.url()).content == b"hello"


def test_settings_are_written_in_any_locale(origin: ScriptedOrigin) -> None:
    origin.script = reply(OK)
    code = (
        "from zurl_py.client import Client\n"
        "policy = {'deny': 'gr\\xfc\\xdfe.example'}\n"
        f"print(Client('embedded', policy=policy).get({origin.url()!r}).status_code)"
    )
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **plain},
        cwd=ROOT,
        capture_output=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == (b"200\n", b"")


@pytest.mark.usefixtures("embedded_gateways")
def test_a_misspelt_key_of_the_policy_is_reported(origin: ScriptedOrigin) -> None:
    with (
        Client("embedded", policy={"alow_ports": "443"}) as client,
        pytest.raises(GatewayUnavailable, match=r"unknown key 'alow_ports'.*allow_ports"),
    ):
        client.get(origin.url())


_USES = """
import os, sys, time
from zurl_py.client import Client, embedded
client = Client("embedded", policy={"deny": ""})
client.get(sys.argv[1])
(child,) = embedded._children.values()
print(child._process.pid, child.directory, flush=True)
"""


@pytest.mark.parametrize(
    "end", ["", "time.sleep(60)", "os._exit(3)", "os.kill(os.getpid(), 9)", "1 / 0"]
)
def test_it_ends_with_its_parent(origin: ScriptedOrigin, end: str) -> None:
    origin.script = reply(OK)
    parent = subprocess.Popen(
        [sys.executable, "-c", _USES + end, origin.url()],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        text=True,
    )
    assert parent.stdout is not None
    pid, directory = parent.stdout.readline().split()
    if "sleep" in end:
        parent.terminate()
    parent.wait(20)
    parent.stdout.close()
    wait_until(lambda: not os.path.exists(f"/proc/{pid}"), "the end of the gateway")
    wait_until(lambda: not os.path.exists(directory), "its directory to be gone")


# -- processes and threads -------------------------------------------------------------------------


def in_child(what: Callable[[], bool]) -> bool:
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = 0 if what() else 1
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_by_fork_has_sockets_of_its_own(client: Client, origin: ScriptedOrigin) -> None:
    origin.script = reply(OK)
    assert client.get(origin.url()).content == b"hello"
    for _ in range(2):
        assert in_child(lambda: client.get(origin.url()).content == b"hello")
        assert client.get(origin.url()).content == b"hello"


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_what_the_parent_had_open_is_an_error_in_a_child(
    client: Client, origin: ScriptedOrigin
) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsome")
        connection.wait_for("more")
        connection.send(b"more")

    def refused(what: Callable[[], object]) -> bool:
        signal.alarm(10)
        try:
            what()
        except ClientClosed as error:
            return "fork" in str(error)
        return False

    origin.script = script
    with client.stream("GET", origin.url()) as answer:
        parts = answer.iter_bytes()
        assert next(parts) == b"some"
        assert in_child(lambda: refused(lambda: next(parts)))
        assert in_child(lambda: answer.close() is None)
        origin.let("more")
        assert next(parts) == b"more"
    origin.script = echo
    with client.websocket(origin.url("/", "ws")) as ws:
        assert in_child(lambda: refused(ws.recv))
        assert in_child(lambda: refused(lambda: ws.send("x")))
        assert in_child(lambda: refused(ws.close))
        ws.send("y")
        assert ws.recv(timeout=10) == "y"


@pytest.mark.usefixtures("embedded_gateways")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_by_fork_has_an_embedded_gateway_of_its_own(origin: ScriptedOrigin) -> None:
    origin.script = reply(OK)
    with Client("embedded", policy={"deny": ""}) as client:
        client.get(origin.url())
        mine = directories()

        def other() -> bool:
            content = client.get(origin.url()).content
            theirs = directories()
            embedded._stop_all()
            return content == b"hello" and len(theirs) == 1 and theirs != mine

        assert in_child(other)
        assert client.get(origin.url()).content == b"hello"


def test_a_client_without_a_reference_releases_its_sockets(
    shared_daemon: Daemon, origin: ScriptedOrigin
) -> None:
    origin.script = reply(OK)

    before = set(threading.enumerate())
    client = Client(str(shared_daemon.config_path))
    client.get(origin.url())
    (its,) = (t for t in set(threading.enumerate()) - before if t.name == "zurl_py.client")
    del client
    gc.collect()
    wait_until(lambda: not its.is_alive(), "its thread to end")
