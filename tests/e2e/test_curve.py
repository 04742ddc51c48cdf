"""tcp endpoints with keys: which clients may connect, their privileges, and their addresses."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
import zmq.auth
from click.testing import CliRunner

from tests.support import Connection, Daemon, ScriptedOrigin, Worker, free_port, reply
from zurl_py.cli.keygen import keygen
from zurl_py.config import ConfigError, load

_KEYS = ("in_spec", "in_stream_spec", "out_spec", "in_req_spec")
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def make(directory: Path, name: str, *options: str) -> tuple[bytes, bytes]:
    """A pair of keys, made by the command; public and secret, as pyzmq reads them."""
    result = CliRunner().invoke(keygen, [name, "--directory", str(directory), *options])
    assert result.exit_code == 0, result.output
    public, secret = zmq.auth.load_certificate(directory / f"{name}.key_secret")
    assert secret is not None
    return public, secret


class KeyWorker(Worker):
    """A worker with keys of its own."""

    def __init__(
        self, daemon: Daemon, server: bytes, keys: tuple[bytes, bytes], address: bytes
    ) -> None:
        self._server, self._keys = server, keys
        super().__init__(daemon, address=address)

    def _socket(
        self, kind: int, key: str, hwm: int, mandatory: bool = False, topic: bytes | None = None
    ) -> zmq.Socket[bytes]:
        socket = self.context.socket(kind)
        socket.linger = 0
        socket.reconnect_ivl = 10
        socket.curve_publickey, socket.curve_secretkey = self._keys
        socket.curve_serverkey = self._server
        if mandatory:
            socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        if topic is not None:
            socket.subscribe(topic)
        socket.connect(self.daemon.endpoints[key])
        return socket


class Site:
    """A daemon with keys, and workers that connect to it by theirs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clients = folder / "clients"
        self.clients.mkdir()
        self.server, _ = make(folder, "server")
        self.secrets: dict[str, tuple[bytes, bytes]] = {}
        for name, options in {"a": (), "b": (), "poor": ("--privileges", "connect-host")}.items():
            self.add(name, *options)
        specs: dict[str, Any] = {key: f"tcp://127.0.0.1:{free_port()}" for key in _KEYS}
        specs["in_req_spec"] = f"ipc://{folder}/req,{specs['in_req_spec']}"
        self.daemon = Daemon(
            **specs,
            curve_server_key_file=folder / "server.key_secret",
            curve_clients_dir=self.clients,
        ).start()
        self.daemon.endpoints["in_req_spec"] = specs["in_req_spec"].partition(",")[2]
        self.workers: list[Worker] = []

    def add(self, name: str, *options: str) -> None:
        self.secrets[name] = make(self.folder, name, *options)
        (self.folder / f"{name}.key").rename(self.clients / f"{name}.key")

    def worker(self, name: str, address: bytes | None = None) -> KeyWorker:
        keys = self.secrets[name]
        made = KeyWorker(self.daemon, self.server, keys, address or name.encode())
        self.workers.append(made)
        return made

    def close(self) -> None:
        for worker in self.workers:
            worker.close()
        self.daemon.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.close()


def test_a_client_with_a_key_is_served(site: Site, origin: ScriptedOrigin) -> None:
    origin.script = reply(_OK)
    worker = site.worker("a").ready()
    assert worker.request(method="GET", uri=origin.url())["code"] == 200
    session = worker.start(method="GET", uri=origin.url(), stream=True)
    session.next()
    session.credit(9)
    session.finish()
    assert session.body == b"hi"


def test_clients_without_key_are_refused_and_logged_once(site: Site) -> None:
    site.secrets["stranger"] = zmq.curve_keypair()
    site.worker("a").ready()
    stranger = site.worker("stranger")
    stranger.send_req({"id": "1", "uri": "x:"})
    plain = stranger.context.socket(zmq.DEALER)
    plain.linger = 0
    plain.connect(site.daemon.endpoints["in_req_spec"])
    plain.send_multipart([b"", b'J{"id":"1","uri":"x:"}'])
    site.daemon.wait_log("a connection from 127.0.0.1 was refused: its key ")
    assert not stranger.dealer.poll(300)
    assert not plain.poll(0)
    assert site.daemon.log().count("was refused: its key") == 1
    plain.close()


def test_over_ipc_no_key_is_needed(site: Site) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.linger = 0
    socket.connect(f"ipc://{site.folder}/req")
    socket.send_multipart([b"", b'J{"id":"1","uri":"x:"}'])
    assert socket.poll(10_000)
    context.destroy(linger=0)


def test_privileges_are_those_of_the_key(site: Site, origin: ScriptedOrigin) -> None:
    origin.script = reply(_OK)
    rich, poor = site.worker("a").ready(), site.worker("poor").ready()
    fields: dict[str, Any] = {"method": "GET", "uri": origin.url(), "user_data": {"n": 1}}
    assert rich.request(**fields, ignore_policies=True)["code"] == 200
    assert poor.request(**fields)["code"] == 200
    assert poor.request(**fields, connect_host="127.0.0.1")["code"] == 200
    for name in ("ignore_policies", "ignore_tls_errors", "trust_connect_host"):
        wish: dict[str, Any] = {name: True}
        refused = poor.request(**fields, id="1", **wish)
        assert refused["condition"] == b"policy-violation"
        assert refused["ext"]["error"] == b"privilege"
        assert (refused["id"], refused["seq"]) == (b"1", 0)
        session = poor.start(**fields, stream=True, **wish)
        (refused,) = session.finish()
        assert refused["condition"] == b"policy-violation"
        assert (refused["seq"], refused["from"]) == (0, b"gw")
        assert refused["user-data"] == {b"n": 1}
    assert len(origin.requests) == 3


def _gated(connection: Connection) -> None:
    connection.read_request()
    connection.wait_for("go on")
    connection.send(_OK)


def test_an_address_belongs_to_the_key_that_used_it_first(
    site: Site, origin: ScriptedOrigin
) -> None:
    origin.script = _gated
    owner, thief = site.worker("a", b"shared").ready(), site.worker("b").ready()
    session = owner.start(method="GET", uri=origin.url(), stream=True)
    session.next()
    origin.wait_request()
    thief.push({"from": b"shared", "id": b"new", "method": "GET", "uri": origin.url("/new")})
    site.daemon.wait_log("from 'shared' does not belong to the key of b")
    thief.follow({"from": b"shared", "id": session.id, "seq": 1, "type": "cancel"})
    thief.follow({"id": session.id, "seq": 1, "type": "credit"})
    thief.ready()
    origin.let("go on")
    session.credit(9)  # with the number that is next: nobody has taken it
    session.finish()
    assert session.body == b"hi"
    assert [request.line for request in origin.requests] == [b"GET / HTTP/1.1"]
    # One's own is one's own over another connection as well.
    site.worker("a", b"shared").ready()


def test_answers_are_read_by_the_owner_of_their_address(site: Site, origin: ScriptedOrigin) -> None:
    origin.script = reply(_OK)
    owner = site.worker("a", b"mine").ready()
    thief = site.worker("b").ready()
    for topic in (b"mine ", b"mine", b"", b"mi", b"mine T"):
        thief.sub.subscribe(topic)
    site.daemon.wait_log("b may not subscribe to 'mine T'")
    for number in range(3):
        session = owner.start(b"%d" % number, method="GET", uri=origin.url())
        session.finish()
        assert session.body == b"hi"
    assert not thief.sub.poll(200)
    # Its own subscription holds, and goes with the connection; the owner's stays.
    own = thief.start(method="GET", uri=origin.url())
    own.finish()
    thief.close()
    owner.ready()
    again = site.worker("b").ready()
    again.start(method="GET", uri=origin.url()).finish()


def test_keys_of_clients_are_read_anew(site: Site) -> None:
    first = site.worker("a").ready()
    site.add("late")
    (site.clients / "a.key").unlink()
    site.daemon.signal(signal.SIGHUP)
    site.daemon.wait_log("changed: keys of clients")
    site.worker("late").ready()
    first.send_req({"id": "1", "method": "GET", "uri": "http://127.0.0.1:1/"})
    refused = first.recv_req()
    assert refused["ext"]["error"] == b"privilege"


def test_keygen_keeps_secrets_and_overwrites_nothing(tmp_path: Path) -> None:
    make(tmp_path, "x")
    secret = tmp_path / "x.key_secret"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert "secret-key" not in (tmp_path / "x.key").read_text()
    before = secret.read_text()
    assert CliRunner().invoke(keygen, ["x", "-d", str(tmp_path)]).exit_code == 1
    assert secret.read_text() == before
    for wrong in (["../x"], ["y", "--privileges", "everything"], []):
        assert CliRunner().invoke(keygen, wrong).exit_code == 2


Change = Callable[[Path], None]


@pytest.mark.parametrize(
    ("lines", "change", "words"),
    [
        ("curve_server_key_file={}/server.key_secret", None, "curve_clients_dir is not; both"),
        ("curve_clients_dir={}", None, "curve_server_key_file is not; both"),
        ("curve_server_key_file={}/none\ncurve_clients_dir={}", None, "cannot read"),
        ("curve_server_key_file={}/server.key\ncurve_clients_dir={}", None, "has no secret-key"),
        (
            "curve_server_key_file={0}/server.key_secret\ncurve_clients_dir={0}/none",
            None,
            "cannot re",
        ),
        (
            "curve_server_key_file={0}/server.key_secret\ncurve_clients_dir={0}",
            lambda folder: (folder / "x.key").write_text('curve\n public-key = "short"\n'),
            "a public-key that is not 40 characters of Z85; zurl-py keygen",
        ),
        (
            "curve_server_key_file={0}/server.key_secret\ncurve_clients_dir={0}",
            lambda folder: (folder / "x.key").write_text((folder / "server.key").read_text()),
            "has the same key as that of server",
        ),
        (
            "curve_server_key_file={0}/server.key_secret\ncurve_clients_dir={0}",
            lambda folder: (folder / "server.key").write_text(
                'privileges = "all"\n' + (folder / "server.key").read_text()
            ),
            "privileges: found 'all', allowed: ignore-policies, ",
        ),
    ],
)
def test_faults_of_key_files(tmp_path: Path, lines: str, change: Change | None, words: str) -> None:
    make(tmp_path, "server")
    if change is not None:
        change(tmp_path)
    conf = tmp_path / "zurl.conf"
    written = lines.replace("{}", "{0}").format(tmp_path)
    conf.write_text(f"in_req_spec=tcp://*:5555\ndeny=@private\n{written}\n")
    with pytest.raises(ConfigError) as caught:
        load(str(conf))
    assert words in str(caught.value)
    assert caught.value.line


def test_a_secret_that_others_can_read_is_warned_of(tmp_path: Path) -> None:
    make(tmp_path, "server")
    conf = tmp_path / "zurl.conf"
    conf.write_text(
        f"in_req_spec=tcp://*:5555\ndeny=@private\ncurve_clients_dir={tmp_path}\n"
        f"curve_server_key_file={tmp_path}/server.key_secret\n"
    )
    assert load(str(conf)).warnings == ()
    os.chmod(tmp_path / "server.key_secret", 0o640)
    (warning,) = load(str(conf)).warnings
    assert warning.endswith(f"others may read {tmp_path}/server.key_secret: chmod 600")
    assert "secret" not in repr(load(str(conf)).curve)
