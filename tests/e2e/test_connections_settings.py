"""How connections are made: by key, by section, by message; and what a reload changes."""

from __future__ import annotations

import resource
import shutil
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import (
    CertificateAuthority,
    Connection,
    Daemon,
    ScriptedOrigin,
    Worker,
    reply,
    wait_until,
)
from tests.support.daemon import free_port
from tests.support.messages import Message

Start = Callable[..., tuple[Daemon, Worker]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def within(milliseconds: int, worker: Worker, uri: str) -> Message:
    """The answer to a request with a timeout."""
    worker.send_req({"method": "GET", "uri": uri, "timeout": milliseconds})
    return worker.recv_req()


# -- the socket --------------------------------------------------------------------------------


def test_connections_come_from_the_source_address(
    start_daemon: Start, origin: ScriptedOrigin
) -> None:
    peers: list[str] = []

    def script(connection: Connection) -> None:
        peers.append(connection.sock.getpeername()[0])
        reply(OK)(connection)

    origin.script = script
    daemon, worker = start_daemon(source_address="127.0.0.7,::1")
    assert worker.request(method="GET", uri=origin.url()).get("code") == 200
    daemon.section("127.0.0.1", source_address="127.0.0.8")
    assert worker.request(method="GET", uri=origin.url()).get("code") == 200
    assert peers == ["127.0.0.7", "127.0.0.8"]


def test_a_source_address_of_another_machine_is_named(
    start_daemon: Start, origin: ScriptedOrigin
) -> None:
    _, worker = start_daemon(source_address="192.0.2.1")
    answer = worker.request(method="GET", uri=origin.url())
    assert answer.get("condition") == b"remote-connection-failed"
    assert b"Cannot assign requested address" in answer["ext"]["detail"]


def keepalive_timers(port: int) -> list[int]:
    """Of each connection to a port of this machine: kernel's timer, 2 is keep-alive."""
    timers = []
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[2].split(":")[1], 16) == port and fields[3] == "01":
            timers.append(int(fields[5].split(":")[0], 16))
    return timers


@pytest.mark.parametrize(("seconds", "timer"), [(None, 2), (0, 0)])
@pytest.mark.parametrize("scheme", ["http", "ws"])
def test_tcp_probes_silent_origins(
    start_daemon: Start, origin: ScriptedOrigin, seconds: int | None, timer: int, scheme: str
) -> None:
    origin.script = lambda connection: connection.expect_end()
    _, worker = start_daemon(tcp_keepalive=seconds)
    worker.start(method="GET", uri=origin.url(scheme=scheme), stream=True, credits=10)

    def found() -> bool:
        return bool(origin.connections) and set(keepalive_timers(origin.port)) == {timer}

    wait_until(found, "the kernel's timer")


# -- TLS -----------------------------------------------------------------------------------------


def client_hello(sock: socket.socket) -> bytes:
    """The first record of a TLS connection."""
    data = b""
    while len(data) < 5 or len(data) < 5 + struct.unpack("!H", data[3:5])[0]:
        data += sock.recv(65536)
    return data


@pytest.mark.parametrize("scheme", ["https", "wss"])
def test_the_client_hello_fits_one_segment(
    worker: Worker, origin: ScriptedOrigin, scheme: str
) -> None:
    hellos: list[bytes] = []
    origin.script = lambda connection: hellos.append(client_hello(connection.sock))
    uri = origin.url(scheme=scheme, host="localhost")
    worker.start(method="GET", uri=uri, stream=True, credits=1).finish()
    assert len(hellos[0]) <= 600
    assert b"\x11\xec" in hellos[0], "X25519MLKEM768 is offered, without a share"


def test_groups_are_a_setting(start_daemon: Start, origin: ScriptedOrigin) -> None:
    hellos: list[bytes] = []
    origin.script = lambda connection: hellos.append(client_hello(connection.sock))
    _, worker = start_daemon(tls_groups="X25519MLKEM768:X25519")
    worker.request(method="GET", uri=origin.url(scheme="https", host="localhost"))
    assert len(hellos[0]) > 1200


def test_the_oldest_version_of_tls_is_a_setting(
    start_daemon: Start, authority: CertificateAuthority
) -> None:
    context = authority.server_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with ScriptedOrigin(reply(OK), tls=context) as origin:
        daemon, worker = start_daemon(environment={"SSL_CERT_FILE": authority.path})
        uri = origin.url(host="localhost")
        assert worker.request(method="GET", uri=uri).get("code") == 200
        daemon.section(f"localhost:{origin.port}", tls_min_version="1.3")
        answer = worker.request(method="GET", uri=uri)
        assert answer.get("condition") == b"tls-error"


def test_a_new_ca_file_is_in_force_at_once(
    start_daemon: Start, authority: CertificateAuthority, tmp_path: Path
) -> None:
    file = tmp_path / "ca.pem"
    shutil.copy(authority.path, file)
    with ScriptedOrigin(reply(OK), tls=authority.server_context()) as origin:
        daemon, worker = start_daemon(ca_file=str(file))
        uri = origin.url(host="localhost")
        assert worker.request(method="GET", uri=uri).get("code") == 200
        stranger = CertificateAuthority()
        shutil.copy(stranger.path, file)
        daemon.reload()
        origin.wait_closed(1)
        for stream in (False, True):
            if stream:
                session = worker.start(method="GET", uri=uri, stream=True, credits=9)
                answer = session.finish()[-1]
            else:
                answer = worker.request(method="GET", uri=uri)
            assert answer.get("condition") == b"tls-error"
            assert answer["ext"]["error"].startswith(b"certificate-")
        shutil.copy(authority.path, file)
        daemon.reload()
        assert worker.request(method="GET", uri=uri).get("code") == 200
        # What cannot be used leaves all as it was.
        file.write_text("no certificate")
        daemon.reload()
        assert worker.request(method="GET", uri=uri).get("code") == 200
        assert str(file) in daemon.log().split("no certificates in PEM")[0].splitlines()[-1]
        stranger.close()


def test_a_reload_leaves_connections_of_the_same_settings(
    start_daemon: Start, origin: ScriptedOrigin
) -> None:
    origin.script = reply(OK)
    daemon, worker = start_daemon()
    worker.request(method="GET", uri=origin.url())
    daemon.section("other.test", http_version="1.1")
    worker.request(method="GET", uri=origin.url())
    assert origin.connections == 1
    daemon.section("127.0.0.1", http_version="1.1")
    origin.wait_closed(1)
    worker.request(method="GET", uri=origin.url())
    assert origin.connections == 2


def test_a_reload_lets_what_is_open_end_in_its_own_time(
    start_daemon: Start, origin: ScriptedOrigin
) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.wait_for("go on")
        connection.send(OK)
        connection.expect_end()

    origin.script = script
    daemon, worker = start_daemon()
    worker.send_req({"method": "GET", "uri": origin.url(), "id": "open"})
    origin.wait_request()
    daemon.write_config(tcp_keepalive=9)
    daemon.reload()
    origin.let("go on")
    assert worker.recv_req().get("code") == 200
    origin.wait_closed(1)


# -- proxies -----------------------------------------------------------------------------------


def test_some_hosts_have_a_proxy_and_some_have_none(
    start_daemon: Start, origin: ScriptedOrigin
) -> None:
    origin.script = reply(OK)
    with ScriptedOrigin(reply(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nproxy")) as proxy:
        daemon, worker = start_daemon(
            proxy=f"http://127.0.0.1:{proxy.port}", no_proxy="127.0.0.0/8,*.direct.test"
        )
        assert worker.request(method="GET", uri=origin.url()).body == b"hi"
        assert worker.request(method="GET", uri="http://x.test/").body == b"proxy"
        uri = origin.url(host="localhost")
        assert worker.request(method="GET", uri=uri).body == b"proxy"
        daemon.section("localhost", proxy="")
        assert worker.request(method="GET", uri=uri).body == b"hi"
        daemon.write_config(proxy="", no_proxy="")
        daemon.section("*.proxied.test", proxy=f"http://127.0.0.1:{proxy.port}")
        assert worker.request(method="GET", uri="http://a.proxied.test/").body == b"proxy"
        assert worker.request(method="GET", uri=origin.url()).body == b"hi"


@pytest.mark.parametrize("host", ["localhost", "a.localhost", "127.0.0.1"])
def test_addresses_behind_socks5_are_checked(start_daemon: Start, host: str) -> None:
    """The name is looked up here, so its addresses are ours to judge; the proxy is not asked."""
    with ScriptedOrigin() as proxy:
        _, worker = start_daemon(proxy=f"socks5://127.0.0.1:{proxy.port}", deny="127.0.0.0/8,::1")
        fields: tuple[dict[str, Any], ...] = ({}, {"stream": True, "credits": 9})
        for field in fields:
            session = worker.start(method="GET", uri=f"http://{host}:{free_port()}/", **field)
            answer = session.finish()[-1]
            assert answer.get("condition") == b"policy-violation"
        assert proxy.connections == 0


# -- limits ------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_section", [True, False])
def test_connections_to_a_host_are_limited_and_the_rest_waits(
    start_daemon: Start, origin: ScriptedOrigin, by_section: bool
) -> None:
    most = 0
    lock = threading.Lock()
    now: set[int] = set()

    def script(connection: Connection) -> None:
        nonlocal most
        while True:
            connection.read_request()
            with lock:
                now.add(connection.number)
                most = max(most, len(now))
            time.sleep(0.03)
            with lock:
                now.discard(connection.number)
            connection.send(OK)

    origin.script = script
    daemon, worker = start_daemon(max_connections_per_host=0 if by_section else 2)
    if by_section:
        daemon.section("127.0.0.1", max_connections=2)
    for number in range(12):
        worker.send_req({"method": "GET", "uri": origin.url(), "id": f"{number}"})
    assert [worker.recv_req().get("code") for _ in range(12)] == [200] * 12
    assert most == 2
    assert origin.connections == 2


def test_a_request_that_waits_for_a_connection_has_its_own_timeout(
    start_daemon: Start, origin: ScriptedOrigin
) -> None:
    origin.script = lambda connection: connection.expect_end()
    _, worker = start_daemon(max_connections_per_host=1)
    worker.start(method="GET", uri=origin.url(scheme="ws"), credits=9)
    wait_until(lambda: origin.connections == 1, "the WebSocket's connection")
    answer = within(300, worker, origin.url())
    assert answer.get("condition") == b"session-timeout"
    assert origin.connections == 1


def test_a_host_that_keeps_failing_gets_no_requests(
    start_daemon: Start, origin: ScriptedOrigin
) -> None:
    origin.script = reply(OK)
    _, worker = start_daemon(max_host_errors=3)
    dead = free_port()
    uri = f"http://127.0.0.1:{dead}/"
    answers = [worker.request(method="GET", uri=uri) for _ in range(5)]
    assert {answer.get("condition") for answer in answers} == {b"remote-connection-failed"}
    names = [answer["ext"]["error"] for answer in answers]
    assert names == [b"connection-refused"] * 3 + [b"host-failing"] * 2
    assert worker.request(method="GET", uri=origin.url()).get("code") == 200


def test_a_host_that_takes_connections_and_resets_them_counts_as_failing(
    start_daemon: Start, authority: CertificateAuthority
) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.reset()

    with ScriptedOrigin(script, tls=authority.server_context()) as origin:
        _, worker = start_daemon(max_host_errors=2, environment={"SSL_CERT_FILE": authority.path})
        uri = origin.url(host="localhost")
        names = [worker.request(method="GET", uri=uri)["ext"]["error"] for _ in range(3)]
    assert names == [b"connection-reset", b"connection-reset", b"host-failing"]


def test_a_silent_host_counts_as_failing(start_daemon: Start, origin: ScriptedOrigin) -> None:
    origin.script = lambda connection: connection.expect_end()
    _, worker = start_daemon(max_host_errors=2)
    answers = [within(100, worker, origin.url()) for _ in range(3)]
    names = [answer["ext"]["error"] for answer in answers]
    assert names == [b"total-timeout", b"total-timeout", b"host-failing"]


def test_a_timeout_by_section(start_daemon: Start, origin: ScriptedOrigin) -> None:
    origin.script = lambda connection: connection.expect_end()
    daemon, worker = start_daemon()
    daemon.section("127.0.0.1", timeout=1)
    begin = time.monotonic()
    answer = worker.request(method="GET", uri=origin.url())
    assert answer["ext"]["error"] == b"idle-timeout"
    assert time.monotonic() - begin < 15


def test_a_time_limit_for_connecting(worker: Worker, origin: ScriptedOrigin) -> None:
    """TLS counts as connecting."""
    origin.script = lambda connection: connection.expect_end()
    answer = worker.request(
        method="GET",
        uri=origin.url(scheme="https", host="localhost"),
        ext={"connect-timeout": 200},
    )
    assert answer.get("condition") == b"connection-timeout"
    assert answer["ext"]["error"] == b"connect-timeout"


def test_descriptors_run_out_and_come_back(start_daemon: Start, origin: ScriptedOrigin) -> None:
    """A reserve is left for workers, who can still connect."""

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.wait_for("answer")
        connection.send(OK)

    origin.script = script
    daemon, worker = start_daemon()
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (160, 160))
    daemon.write_config(tcp_keepalive=8)
    daemon.reload()  # makes new pools of handles, which look at the limit
    count, refused = 200, 80
    for number in range(count):
        worker.send_req({"method": "GET", "uri": origin.url(), "id": f"{number}"})
    answers = [worker.recv_req() for _ in range(refused)]
    assert {answer.get("condition") for answer in answers} == {b"remote-connection-failed"}
    assert b"no descriptor is left" in answers[0]["ext"]["detail"]
    with Worker(daemon, address=b"another") as another:
        another.ready()
    origin.let("answer")
    for _ in range(count - refused):
        worker.recv_req()
    assert worker.request(method="GET", uri=origin.url()).get("code") == 200
