"""An HTTP origin whose every byte is scripted.

A script is a function of one `Connection`; it runs in a thread of its own for each connection
that is accepted, with blocking calls, and reads like the exchange that it plays:

    def script(connection):
        request = connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\\r\\n")
        connection.wait_for("go on")        # until the test says origin.let("go on")
        connection.send(b"Content-Length: 0\\r\\n\\r\\n")
"""

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.support.deadline import DEADLINE, wait_until

_CHUNK = 65536


class PeerClosed(Exception):
    """The peer ended the connection where the script wanted to read more."""


class Request:
    """A request as it came over the wire.

    Attributes:
        connection: number of the connection, from 0.
        head: request line and headers, as sent, with the empty line.
        raw: every byte of the request that has come so far.
        body: the body that has come so far, without chunking.
        framing: "none", "length" or "chunked".
        complete: whether the end of the body has come.
    """

    def __init__(self, connection: int, head: bytes) -> None:
        self.connection = connection
        self.head = head
        self.raw = head
        self.body = b""
        self.complete = False
        self.framing = "none"
        self.length = 0
        length = self.get(b"content-length")
        if b"chunked" in (self.get(b"transfer-encoding") or b"").lower():
            self.framing = "chunked"
        elif length is not None:
            self.framing = "length"
            with contextlib.suppress(ValueError):
                self.length = int(length)

    @property
    def line(self) -> bytes:
        """The request line."""
        return self.head.split(b"\r\n", 1)[0]

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Headers in order; values as sent but for the blanks around them."""
        pairs = []
        for line in self.head.split(b"\r\n")[1:-2]:
            name, _, value = line.partition(b":")
            pairs.append((name, value.strip()))
        return pairs

    def get(self, name: bytes) -> bytes | None:
        """The first value of a header, by name in lower case; None if there is none."""
        for candidate, value in self.headers:
            if candidate.lower() == name:
                return value
        return None

    def __repr__(self) -> str:
        return f"<{self.connection}: {self.line!r} {len(self.body)} {self.complete}>"


class Connection:
    """One accepted connection, for use by the script."""

    def __init__(self, origin: "ScriptedOrigin", sock: socket.socket, number: int) -> None:
        self.origin = origin
        self.number = number
        self.sock = sock
        self.received = b""
        self._buffer = b""

    def _fill(self) -> None:
        try:
            data = self.sock.recv(_CHUNK)
        except (ConnectionError, ssl.SSLError) as error:
            raise PeerClosed(str(error)) from None
        if not data:
            raise PeerClosed("end of stream")
        self.received += data
        self._buffer += data

    def read_until(self, marker: bytes) -> bytes:
        """Reads up to and including `marker`."""
        while marker not in self._buffer:
            self._fill()
        end = self._buffer.index(marker) + len(marker)
        data, self._buffer = self._buffer[:end], self._buffer[end:]
        return data

    def read_exactly(self, count: int) -> bytes:
        """Reads `count` bytes."""
        while len(self._buffer) < count:
            self._fill()
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data

    def read_some(self) -> bytes:
        """Reads what is there, at least a byte."""
        if not self._buffer:
            self._fill()
        data, self._buffer = self._buffer, b""
        return data

    def read_head(self) -> Request:
        """Reads request line and headers; the request is on record from here on."""
        request = Request(self.number, self.read_until(b"\r\n\r\n"))
        self.origin.requests.append(request)
        return request

    def read_body(self, request: Request) -> Request:
        """Reads the body of `request` to its end, recording every part as it comes."""
        if request.framing == "chunked":
            self._read_chunks(request)
        while request.framing == "length" and len(request.body) < request.length:
            if not self._buffer:
                self._fill()
            self._take(request, min(len(self._buffer), request.length - len(request.body)))
        request.complete = True
        return request

    def _take(self, request: Request, count: int) -> None:
        data = self.read_exactly(count)
        request.raw += data
        request.body += data

    def _read_chunks(self, request: Request) -> None:
        while True:
            line = self.read_until(b"\r\n")
            request.raw += line
            size = int(line.split(b";")[0], 16)
            if size == 0:
                break
            end = len(request.body) + size
            while len(request.body) < end:
                if not self._buffer:
                    self._fill()
                self._take(request, min(len(self._buffer), end - len(request.body)))
            request.raw += self.read_exactly(2)
        while True:
            line = self.read_until(b"\r\n")
            request.raw += line
            if line == b"\r\n":
                return

    def read_request(self) -> Request:
        """Reads a whole request."""
        return self.read_body(self.read_head())

    def expect_end(self) -> None:
        """Reads until the peer hangs up; what comes before that is kept in `received`."""
        with contextlib.suppress(PeerClosed):
            while True:
                self._fill()
        self._buffer = b""  # no request will be made of it

    def send(self, data: bytes) -> None:
        """Sends all of `data`; PeerClosed if the peer is gone."""
        try:
            self.sock.sendall(data)
        except (ConnectionError, ssl.SSLError) as error:
            raise PeerClosed(str(error)) from None

    def wait_for(self, gate: str) -> None:
        """Waits until the test opens `gate` with `origin.let(gate)`."""
        if not self.origin.gate(gate).wait(DEADLINE):
            raise AssertionError(f"nobody opened the gate {gate!r}")

    def half_close(self) -> None:
        """Ends our direction of the stream."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Ends the connection with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()
        self._buffer = b""

    def close(self) -> None:
        """Ends the connection in the ordinary way."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        self._buffer = b""  # what had come of a body is not the next request


Script = Callable[[Connection], None]


def reply(*answers: bytes, close: bool = False) -> Script:
    """Script: each request gets the next of `answers`, the last one for ever after.

    With `close` the connection ends after the first answer.
    """

    def script(connection: Connection) -> None:
        index = 0
        while True:
            connection.read_request()
            connection.send(answers[min(index, len(answers) - 1)])
            index += 1
            if close:
                return

    return script


class ScriptedOrigin:
    """A TCP or TLS server on loopback that does what `script` says.

    Attributes:
        script: run for each connection accepted from now on; may be replaced at any time.
        requests: every request whose head has come, in order.
        connections: how many connections were accepted.
        closed: numbers of the connections whose script has ended.
        errors: what scripts raised, except for a peer that hung up.
        handshake_errors: TLS handshakes that failed.
        handshakes: TLS handshakes wait while this is not set.
    """

    def __init__(
        self,
        script: Script | None = None,
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
        backlog: int = 512,
    ) -> None:
        self.script = script or reply(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        self.requests: list[Request] = []
        self.connections = 0
        self.closed: list[int] = []
        self.errors: list[BaseException] = []
        self.handshake_errors: list[BaseException] = []
        self.handshakes = threading.Event()
        self.handshakes.set()
        self.live: dict[int, Connection] = {}
        self.tls = tls
        self.host = host
        self._gates: dict[str, threading.Event] = {}
        self._lock = threading.Lock()
        self._stopping = False
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.socket(family, socket.SOCK_STREAM)
        self._listener.bind((host, 0))
        self._listener.listen(backlog)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def authority(self) -> str:
        """Host and port as in a URI."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def url(self, path: str = "/", scheme: str | None = None, host: str | None = None) -> str:
        """URI of `path` here; by another name of this host if `host` is given."""
        scheme = scheme or ("https" if self.tls else "http")
        authority = f"{host}:{self.port}" if host else self.authority
        return f"{scheme}://{authority}{path}"

    def gate(self, name: str) -> threading.Event:
        """The event that scripts wait for under this name."""
        with self._lock:
            return self._gates.setdefault(name, threading.Event())

    def let(self, name: str) -> None:
        """Opens a gate."""
        self.gate(name).set()

    def wait_request(self, count: int = 1, complete: bool = True) -> Request:
        """Waits for the `count`-th request (its head only, unless `complete`)."""

        def found() -> Request | None:
            requests = [item for item in list(self.requests) if item.complete or not complete]
            return requests[count - 1] if len(requests) >= count else None

        request = wait_until(found, f"request {count} at the origin, has {self.requests}")
        assert request is not None
        return request

    def wait_closed(self, count: int = 1) -> None:
        """Waits until `count` connections have ended."""
        wait_until(lambda: len(self.closed) >= count, f"{count} connections ended")

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            if self._stopping:
                sock.close()
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            number = self.connections
            connection = Connection(self, sock, number)
            self.live[number] = connection
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: Connection) -> None:
        try:
            if self.tls is not None:
                try:
                    self.handshakes.wait(DEADLINE)
                    connection.sock = self.tls.wrap_socket(connection.sock, server_side=True)
                except OSError as error:  # ssl.SSLError is one
                    self.handshake_errors.append(error)
                    return
            self.script(connection)
        except PeerClosed:
            pass
        except OSError as error:
            if not self._stopping and connection.sock.fileno() != -1:
                self.errors.append(error)
        except BaseException as error:
            self.errors.append(error)
        finally:
            connection.close()
            self.live.pop(connection.number, None)
            self.closed.append(connection.number)

    def close(self) -> None:
        """Stops listening and ends every connection; raises what a script has raised."""
        self._stopping = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self._listener.close()
        self.handshakes.set()
        with self._lock:
            for event in self._gates.values():
                event.set()
        for connection in list(self.live.values()):
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)
        if self.errors:
            raise self.errors[0]

    def __enter__(self) -> "ScriptedOrigin":
        return self

    def __exit__(self, *args: object) -> None:
        self.close()


@contextmanager
def dead_port() -> Iterator[int]:
    """A port on 127.0.0.1 that refuses connections, and that nobody else gets meanwhile."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    try:
        yield sock.getsockname()[1]
    finally:
        sock.close()
