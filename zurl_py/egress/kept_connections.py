"""Detects and closes kept connections that must not be used again.

libcurl checks a kept connection only when a request starts, and then trusts it for a second. In
that second a request may be lost on a connection that the peer has closed, or may take unsolicited
bytes for its answer, such as a load balancer's 408. The loop's epoll reports both.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Container
from typing import Final

import pycurl

__all__ = ["SWEEP_INTERVAL", "Endpoint", "KeptConnections", "Origin", "make_sweeper"]

Origin = tuple[str, str, int]
"""Scheme, host and port of a URI."""

Endpoint = tuple[str, int]
"""Address and port of a socket."""

SWEEP_INTERVAL: Final = 1.05
"""Seconds: libcurl looks through its kept connections no more often than once a second."""

_MAX_PEERS = 16_384
_ESTABLISHED = 1  # TCP_ESTABLISHED in <netinet/tcp.h>


class KeptConnections:
    """The sockets of one multi handle.

    Attributes:
        dead: descriptor by local address, of each kept connection that must not be used again.
        hosts: the host that a connection was opened to, by descriptor.
        ends: the origin's scheme, host and port, by the local address of each connection that was
            used by requests.
        multiplexed: peers that speak HTTP/2, which may send frames without a request.
        watched: the events that the epoll waits for, by descriptor.
    """

    __slots__ = ("_inodes", "_lost", "dead", "ends", "hosts", "multiplexed", "watched")

    def __init__(self, lost: Callable[[str], None]) -> None:
        self._lost = lost  # called with the name of a host that has closed a connection
        self.dead: dict[Endpoint, int] = {}
        self.hosts: dict[int, str] = {}
        self._inodes: dict[int, int] = {}
        self.ends: dict[Endpoint, Origin] = {}
        self.multiplexed: set[Endpoint] = set()
        self.watched: dict[int, int] = {}

    def opened(self, fd: int, host: str) -> None:
        """Note that a connection is being made to a host."""
        self.watched.pop(fd, None)  # of a connection that had this number and was closed unseen
        self.hosts[fd] = host
        self._inodes[fd] = _inode(fd)

    def signalled(self, fd: int) -> bool:
        """Handle a kept connection that became readable; returns whether it is dead now.

        With HTTP/1.1, unsolicited bytes belong to no answer (RFC 9112 section 9.2). With TLS they
        may be a late session ticket; then a good connection is lost.
        """
        try:
            with socket.socket(fileno=os.dup(fd)) as sock:
                here = sock.getsockname()[:2]
                state = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO) & 0xFF
                established = state == _ESTABLISHED
                if established and sock.getpeername()[:2] in self.multiplexed:
                    return False
        except OSError:  # closed, or not TCP: it has no local address to recognise it by
            return False
        self.dead[here] = fd
        host = self.hosts.get(fd)
        if host is not None:
            self._lost(host)
        return True

    def used(self, here: Endpoint, origin: Origin) -> None:
        """Note that a request goes out on a connection."""
        if len(self.ends) >= _MAX_PEERS:
            self.ends.clear()  # some connections then stay open until they expire
        self.ends[here] = origin

    def keep_only(self, wanted: Callable[[Origin], bool], in_use: Container[int]) -> set[int]:
        """End the idle connections to origins that are not wanted.

        Returns:
            The descriptors of connections to these origins that are in use.
        """
        leaving: set[int] = set()
        for fd in list(self.hosts):
            try:
                with socket.socket(fileno=os.dup(fd)) as sock:
                    here = sock.getsockname()[:2]
                    # By the local address: the descriptor may have been reused.
                    origin = self.ends.get(here)
                    if origin is None or wanted(origin):
                        continue
                    if fd in in_use:
                        leaving.add(fd)
                        continue
                    self.dead[here] = fd
                    sock.shutdown(socket.SHUT_RDWR)
            except OSError:  # closed meanwhile
                del self.hosts[fd]
        return leaving

    def speaks_http2(self, peer: Endpoint) -> None:
        """Note that bytes of this peer on a kept connection are no sign of its end."""
        if len(self.multiplexed) >= _MAX_PEERS:
            self.multiplexed.clear()
        self.multiplexed.add(peer)

    def open(self) -> set[int]:
        """The descriptors of open connections; those of closed ones are removed."""
        for fd in [fd for fd, inode in self._inodes.items() if _inode(fd) != inode]:
            del self._inodes[fd]
            self.hosts.pop(fd, None)
            self.watched.pop(fd, None)
        return set(self._inodes)

    def forget_closed(self) -> None:
        """Remove connections that libcurl has closed after checking all of its own."""
        self.dead = {here: fd for here, fd in self.dead.items() if _is(fd, here)}


def _inode(fd: int) -> int:
    """The inode of a socket, which differs when its number is reused; 0: it is closed."""
    try:
        return os.fstat(fd).st_ino
    except OSError:
        return 0


def _is(fd: int, here: Endpoint) -> bool:
    """Whether a descriptor is still the socket with this local address."""
    try:
        with socket.socket(fileno=os.dup(fd)) as sock:
            return bool(sock.getsockname()[:2] == here)
    except OSError:
        return False


def make_sweeper() -> pycurl.Curl:
    """A transfer without a connection, which makes libcurl check its kept connections."""
    curl = pycurl.Curl()
    curl.setopt(pycurl.URL, "http://127.0.0.1:1/")
    curl.setopt(pycurl.PROXY, "")
    curl.setopt(pycurl.NOSIGNAL, 1)
    # libcurl checks them when it looks for one to use. There is none for this URL.
    curl.setopt(pycurl.OPENSOCKETFUNCTION, _open_nothing)
    curl.setopt(pycurl.PREREQFUNCTION, _send_nothing)
    return curl


def _open_nothing(_purpose: int, _address: object) -> int:
    return int(pycurl.SOCKET_BAD)


def _send_nothing(*_connection: object) -> int:
    return int(pycurl.PREREQFUNC_ABORT)
