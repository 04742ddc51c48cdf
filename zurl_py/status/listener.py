"""The status listener: accepts a few connections at a time, for a few seconds each."""

from __future__ import annotations

import errno
import os
import socket

from ..config.listener import Listener
from ..log import Log
from ..loop import READ, Loop, Timer
from ..messaging.obstacles import listener_obstacle
from ..messaging.sockets import BindError
from .connection import Connection
from .monitors import Monitors
from .pages import Pages

__all__ = ["StatusListener"]

MAX_CONNECTIONS = 16
_BACKLOG = 64
_ACCEPT_RETRY = 1.0  # seconds until the next attempt to accept


class StatusListener:
    """Listens on an address, and answers requests.

    Args:
        mode: of a Unix socket; None: by the umask.

    Raises:
        BindError: the address is taken, or does not belong to this machine.
    """

    def __init__(
        self,
        address: Listener,
        mode: int | None,
        loop: Loop,
        log: Log,
        pages: Pages,
        monitors: Monitors,
    ) -> None:
        self.address = address
        self._loop = loop
        self._log = log
        self._pages = pages
        self._monitors = monitors
        self._connections: set[Connection] = set()
        self._pause = Timer(self._watch)
        obstacle = listener_obstacle(address)
        if obstacle is not None:
            raise BindError(f"metrics_listen: cannot bind {address}: {obstacle.reason}")
        try:
            self._socket = _bind(address, mode)
        except OSError as error:
            reason = error.strerror or str(error)
            raise BindError(f"metrics_listen: cannot bind {address}: {reason}") from None
        self._inode = os.stat(address.path).st_ino if address.path else 0
        self._watch()

    def __len__(self) -> int:
        return len(self._connections)

    def _watch(self) -> None:
        self._loop.watch(self._socket.fileno(), READ, self._accept)

    def _accept(self, _fd: int, _events: int) -> None:
        for _ in range(MAX_CONNECTIONS):  # further connections wake the loop again
            try:
                accepted, _ = self._socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS):
                    # The socket stays readable: without a pause this would be a busy loop.
                    self._loop.unwatch(self._socket.fileno())
                    when = self._loop.now + _ACCEPT_RETRY
                    self._loop.set_timer(self._pause, when)
                    self._log.warning(f"status listener: {error.strerror}", "status-listener")
                return
            if len(self._connections) >= MAX_CONNECTIONS:
                accepted.close()
                continue
            accepted.setblocking(False)
            connection = Connection(
                accepted, self._loop, self._pages, self._monitors, self._connections.discard
            )
            self._connections.add(connection)
            connection.start()

    def close(self) -> None:
        """Close all connections, and the socket with its file."""
        self._loop.cancel_timer(self._pause)
        self._loop.unwatch(self._socket.fileno())
        self._socket.close()
        for connection in list(self._connections):
            connection.close()
        if self.address.path:
            try:
                # Only our own: another daemon may have bound the path since.
                if os.stat(self.address.path).st_ino == self._inode:
                    os.unlink(self.address.path)
            except OSError:
                pass


def _bind(address: Listener, mode: int | None) -> socket.socket:
    family = socket.AF_INET
    if address.path:
        family = socket.AF_UNIX
    elif ":" in address.host:
        family = socket.AF_INET6
    listening = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        if address.path:
            _bind_path(listening, address.path, mode)
        else:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listening.bind((address.host, address.port))
        listening.listen(_BACKLOG)
    except BaseException:
        listening.close()
        raise
    return listening


def _bind_path(listening: socket.socket, path: str, mode: int | None) -> None:
    """Bind a Unix socket; its mode is in force before a client can connect."""
    if os.path.lexists(path):
        os.unlink(path)  # nobody listens: a daemon that was killed has left it behind
    before = os.umask(0o777 & ~mode) if mode is not None else None
    try:
        listening.bind(path)
    finally:
        if before is not None:
            os.umask(before)
    if mode is not None:
        os.chmod(path, mode)
