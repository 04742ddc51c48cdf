"""The network that surrounds a daemon in its namespace: listeners on all addresses, and a DNS."""

import base64
import hashlib
import json
import selectors
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.labs.ssrf.namespace import RESOLVER

PUBLIC4 = "93.184.215.14"
OTHER_PUBLIC4 = "93.184.215.15"
PUBLIC6 = "2606:4700:4700::1111"
PUBLIC = frozenset((PUBLIC4, OTHER_PUBLIC4, PUBLIC6))
PORTS = (21, 22, 25, 70, 80, 443, 1080, 3128, 5000, 6379, 8080, 9200, 11211)
PROXY_PORT = 3128
_WEBSOCKET = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@dataclass(frozen=True)
class Arrival:
    """Something that reached a listener: a connection, or a request on one.

    Attributes:
        kind: "connection" or "request".
        address: whom it was for.
    """

    kind: str
    address: str
    port: int
    head: str = ""

    @property
    def is_breach(self) -> bool:
        """It was for a forbidden address, or for a proxy that is not configured."""
        return self.address not in PUBLIC or self.port == PROXY_PORT


def answer_with(code: int, *headers: tuple[str, str], body: str = "") -> str:
    """Path of a URL to which the listeners answer with this, whatever the host."""
    text = json.dumps({"code": code, "headers": headers, "body": body})
    return "/" + base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def redirect_to(location: str, code: int = 302) -> str:
    """Path of a URL that leads elsewhere."""
    return answer_with(code, ("Location", location))


class Listeners:
    """TCP listeners on all addresses, of both versions, on the ports of `PORTS`."""

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._fences: list[threading.Event] = []
        self._sockets: list[socket.socket] = []
        self._selector.register(self._woken, selectors.EVENT_READ, self._on_wake)
        for port in PORTS:
            for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
                listener = socket.socket(family)
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                listener.bind((address, port))
                listener.listen(128)
                listener.setblocking(False)
                self._sockets.append(listener)
                self._selector.register(listener, selectors.EVENT_READ, self._on_connection)
        threading.Thread(target=self._serve, daemon=True).start()

    def fence(self) -> None:
        """Returns when everything that was connected or sent before is in `arrivals`."""
        done = threading.Event()
        self._fences.append(done)
        self._wake.send(b"x")
        if not done.wait(10):
            raise AssertionError("the listeners are stuck")

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                assert isinstance(key.fileobj, socket.socket)
                if key.fileobj.fileno() >= 0:  # a fence may have come before, and closed it
                    key.data(key.fileobj)

    def _on_wake(self, woken: socket.socket) -> None:
        woken.recv(100)
        # A connection that a daemon has made is in the backlog: accept them all, then read.
        for listener in self._sockets:
            self._on_connection(listener)
        for key in list(self._selector.get_map().values()):
            if isinstance(key.data, _Peer):
                assert isinstance(key.fileobj, socket.socket)
                key.data(key.fileobj)
        while self._fences:
            self._fences.pop().set()

    def _on_connection(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except BlockingIOError:
                return
            connection.setblocking(False)
            address, port = connection.getsockname()[:2]
            self.arrivals.append(Arrival("connection", address, port))
            peer = _Peer(address, port, self.arrivals.append, self._close)
            self._selector.register(connection, selectors.EVENT_READ, peer)

    def _close(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        connection.close()


@dataclass
class _Peer:
    """One connection: reads requests and answers as their paths say."""

    address: str
    port: int
    report: Callable[[Arrival], None]
    close: Callable[[socket.socket], None]
    received: bytes = b""

    def __call__(self, connection: socket.socket) -> None:
        try:
            while True:
                data = connection.recv(65536)
                if not data:
                    self.close(connection)
                    return
                self.received += data
                if not self.received[:1].isalpha():  # TLS: we have no certificate for them
                    self.close(connection)
                    return
                while b"\r\n\r\n" in self.received:
                    head, _, self.received = self.received.partition(b"\r\n\r\n")
                    text = head.decode("latin-1")
                    self.report(Arrival("request", self.address, self.port, text))
                    connection.send(self._answer(text))
        except BlockingIOError:
            return
        except OSError:
            self.close(connection)

    def _answer(self, head: str) -> bytes:
        target = head.split(" ", 2)[1] if head.count(" ") >= 2 else ""
        told = _told(target.rpartition("/")[2])
        if told is not None:
            lines = [f"HTTP/1.1 {told['code']} X"]
            lines += [f"{name}: {value}" for name, value in told["headers"]]
            body = told["body"].encode()
            return _join(lines, body)
        key = [line for line in head.split("\r\n") if line.lower().startswith("sec-websocket-key:")]
        if key:
            secret = key[0].partition(":")[2].strip().encode()
            accept = base64.b64encode(hashlib.sha1(secret + _WEBSOCKET).digest()).decode()
            lines = [
                "HTTP/1.1 101 Switching Protocols",
                "Upgrade: websocket",
                "Connection: Upgrade",
                f"Sec-WebSocket-Accept: {accept}",
            ]
            return ("\r\n".join(lines) + "\r\n\r\n").encode()
        return _join(["HTTP/1.1 200 OK"], f"this is {self.address}".encode())


def _told(path: str) -> dict[str, Any] | None:
    try:
        told = json.loads(base64.urlsafe_b64decode(path + "=" * (-len(path) % 4)))
    except ValueError:
        return None
    return told if isinstance(told, dict) else None


def _join(lines: list[str], body: bytes) -> bytes:
    lines += [f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode("latin-1", "replace") + body


@dataclass
class Name:
    """What the DNS has for a name.

    Attributes:
        answers: address lists, one for each time that it is asked; the last is repeated.
        cname: the name that these are addresses of.
        silent: never answers.
    """

    answers: list[list[str]]
    cname: str | None = None
    silent: bool = False
    asked: dict[int, int] = field(default_factory=dict)

    def addresses(self, kind: int) -> list[str]:
        """The addresses of one kind (1: A, 28: AAAA), counting the question."""
        number = self.asked.get(kind, 0)
        self.asked[kind] = number + 1
        answer = self.answers[min(number, len(self.answers) - 1)]
        return [text for text in answer if (":" in text) == (kind == 28)]


class NameServer:
    """A scripted DNS server on UDP."""

    def __init__(self) -> None:
        self.names: dict[str, Name] = {}
        self.asked: list[str] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((RESOLVER, 53))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            query, client = self._socket.recvfrom(4096)
            answer = self._answer(query)
            if answer is not None:
                self._socket.sendto(answer, client)

    def _answer(self, query: bytes) -> bytes | None:
        end = query.index(b"\0", 12) + 1
        question = query[12 : end + 4]
        name = _read_name(query[12:end]).lower()
        (kind,) = struct.unpack("!H", query[end : end + 2])
        self.asked.append(name)
        entry = self.names.get(name)
        if entry is None:
            return _message(query, question, [], code=3)
        if entry.silent:
            return None
        records = []
        owner = b"\xc0\x0c"
        if entry.cname is not None:
            target = _write_name(entry.cname)
            records.append(owner + struct.pack("!HHIH", 5, 1, 0, len(target)) + target)
            owner = target
        if kind in (1, 28):
            for text in entry.addresses(kind):
                family = socket.AF_INET6 if kind == 28 else socket.AF_INET
                packed = socket.inet_pton(family, text)
                records.append(owner + struct.pack("!HHIH", kind, 1, 0, len(packed)) + packed)
        return _message(query, question, records)


def _message(query: bytes, question: bytes, records: list[bytes], code: int = 0) -> bytes:
    header = query[:2] + struct.pack("!HHHHH", 0x8580 | code, 1, len(records), 0, 0)
    return header + question + b"".join(records)


def _read_name(data: bytes) -> str:
    labels = []
    while data[0]:
        labels.append(data[1 : 1 + data[0]].decode("latin-1"))
        data = data[1 + data[0] :]
    return ".".join(labels)


def _write_name(name: str) -> bytes:
    labels = name.strip(".").split(".")
    return b"".join(bytes((len(label),)) + label.encode("latin-1") for label in labels) + b"\0"
