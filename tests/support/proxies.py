"""Proxies that lead to where they are asked to, as scripts of `ScriptedOrigin`: all on loopback."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading

from tests.support.origin import Connection

__all__ = ["Socks5", "tunnel"]


def tunnel(connection: Connection) -> None:
    """An HTTP proxy that knows CONNECT alone."""
    request = connection.read_request()
    method, authority, _ = request.line.split(b" ")
    if method != b"CONNECT":
        connection.send(b"HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n")
        return
    port = int(authority.rpartition(b":")[2])
    with socket.create_connection(("127.0.0.1", port)) as inner:
        connection.send(b"HTTP/1.1 200 Connected\r\nX-Proxy: yes\r\n\r\n")
        _join(connection.sock, inner)


class Socks5:
    """A SOCKS proxy (RFC 1928), without a login.

    Attributes:
        asked: the hosts that it was asked for: names as they came, addresses as text.
    """

    def __init__(self) -> None:
        self.asked: list[bytes] = []

    def __call__(self, connection: Connection) -> None:
        _, count = connection.read_exactly(2)
        connection.read_exactly(count)
        connection.send(b"\5\0")
        kind = connection.read_exactly(4)[3]
        if kind == 3:
            self.asked.append(connection.read_exactly(connection.read_exactly(1)[0]))
        else:
            self.asked.append(socket.inet_ntoa(connection.read_exactly(4)).encode())
        (port,) = struct.unpack("!H", connection.read_exactly(2))
        with socket.create_connection(("127.0.0.1", port)) as inner:
            connection.send(b"\5\0\0\1" + socket.inet_aton("127.0.0.1") + struct.pack("!H", port))
            _join(connection.sock, inner)


def _join(outer: socket.socket, inner: socket.socket) -> None:
    """Hands on what comes on either side, until the outer one has ended."""
    back = threading.Thread(target=_pump, args=(inner, outer))
    back.start()
    _pump(outer, inner)
    with contextlib.suppress(OSError):
        inner.shutdown(socket.SHUT_RDWR)
    back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
