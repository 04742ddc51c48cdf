"""One libcurl multi handle on the event loop.

libcurl's callbacks only record here: a socket callback changes the epoll, a timer callback a
deadline, the notification callback a flag. All calls back into libcurl come from the loop's turn.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pycurl

from ..cache import remember
from ..loop import READ, WRITE, Loop, Timer
from .kept_connections import SWEEP_INTERVAL, KeptConnections, Origin, make_sweeper

__all__ = ["Multi"]

_EVENTS = {
    pycurl.POLL_NONE: 0,
    pycurl.POLL_IN: READ,
    pycurl.POLL_OUT: WRITE,
    pycurl.POLL_INOUT: READ | WRITE,
}
_REMOVE = pycurl.POLL_REMOVE
_READABLE = pycurl.CSELECT_IN
_WRITABLE = pycurl.CSELECT_OUT
_MAX_NAMES = 4096  # in libcurl's DNS cache


class Multi:
    """A ``CurlMulti`` with its sockets in the loop's epoll.

    Args:
        loop: the event loop.
        due: list of all multi handles whose libcurl is to be called now; this one adds itself.
        finished: list of all multi handles with results to read; this one adds itself.
        lost: called with the name of a host that has closed a kept connection.

    Attributes:
        active: number of transfers added and not yet removed.
        broken: the error after which the state of its transfers is unknown; "" for none.
        kept: its sockets.
        slow_in: the turn of the loop (its time) of the last call of libcurl that took long.
    """

    def __init__(
        self,
        loop: Loop,
        due: list[Multi],
        finished: list[Multi],
        lost: Callable[[str], None],
    ) -> None:
        self.active = 0
        self.broken: str | None = None
        self.slow_in = -1.0
        self.kept = KeptConnections(lost)
        self._is_wanted: Callable[[Origin], bool] = bool
        self._leaving: set[int] = set()  # sockets whose connections are closed after their use
        self._left = False  # some of these are idle now
        self._sweeper: pycurl.Curl | None = None  # of `_sweep`, while it runs
        self._sweep_timer = Timer(self._sweep)
        self._loop = loop
        self._due = due
        self._is_due = False
        self._finished = finished
        self._is_finished = False
        self._names: dict[str, tuple[str, ...]] = {}  # given to libcurl, by host:port
        self._wanted: dict[int, int] = {}  # events that libcurl waits for, by socket
        self._timer = Timer(self._make_due)
        curl = self._curl = pycurl.CurlMulti()
        curl.setopt(pycurl.M_SOCKETFUNCTION, self._socket_wanted)
        curl.setopt(pycurl.M_TIMERFUNCTION, self._timer_wanted)
        curl.setopt(pycurl.M_NOTIFYFUNCTION, self._notified)
        curl.notify_enable(pycurl.M_NOTIFY_INFO_READ)

    def __repr__(self) -> str:
        state = f"broken={self.broken!r}" if self.broken else f"active={self.active}"
        return f"<Multi {state} sockets={len(self._wanted)}>"

    def limit_connections(self, most: int) -> None:
        """Close idle connections where there are more than this (``CURLMOPT_MAXCONNECTS``).

        libcurl's default, four times the running transfers, closes connections whenever there are
        fewer transfers for a moment, and to choose one it searches all of them.
        """
        self._curl.setopt(pycurl.M_MAXCONNECTS, most)

    def limit_hosts(self, most: int) -> None:
        """Open at most this many connections to one host; further transfers wait in libcurl."""
        self._curl.setopt(pycurl.M_MAX_HOST_CONNECTIONS, most)

    def addresses_to_tell(self, host: str, port: int, addresses: tuple[str, ...]) -> list[str]:
        """The ``CURLOPT_RESOLVE`` entries for the next transfer to a host.

        There are none if libcurl has the addresses already. It keeps them: its cache never expires
        here (see `EasyHandle`), and ``+`` lets an entry be replaced.
        """
        key = f"{host}:{port}"
        names = self._names
        if names.get(key) == addresses:
            return []
        forgotten = [f"-{name}" for name in names] if len(names) >= _MAX_NAMES else []
        remember(names, key, addresses, _MAX_NAMES)
        return [*forgotten, f"+{key}:{','.join(map(_bracketed, addresses))}"]

    def add(self, curl: pycurl.Curl) -> None:
        """Add a transfer; libcurl starts it at the next ``kick``."""
        self._curl.add_handle(curl)
        self.active += 1

    def remove(self, curl: pycurl.Curl) -> None:
        """Remove a transfer, finished or not; the connection of an unfinished one is closed."""
        self.active -= 1
        self._curl.remove_handle(curl)

    def call(self) -> None:
        """Request a call of libcurl in this turn or the next, whatever its timer says."""
        self._make_due()

    def kick(self) -> None:
        """Call libcurl for its timers; to be called for each multi handle in ``due``."""
        self._is_due = False
        self._act(pycurl.SOCKET_TIMEOUT, 0)

    def go_on(self) -> None:
        """Call libcurl for its timers, whether this multi handle is in ``due`` or not."""
        self._act(pycurl.SOCKET_TIMEOUT, 0)

    def serves(self, fd: int) -> bool:
        """Whether a socket is one of those that libcurl waits for."""
        return fd in self._wanted

    def unwatch(self, fd: int) -> None:
        """Stop watching the socket of a transfer that is paused."""
        self._loop.unwatch(fd)
        self.kept.watched.pop(fd, None)

    def results(self) -> list[tuple[pycurl.Curl, int, str]]:
        """The transfers that ended: handle, libcurl code (0 is success), message."""
        self._is_finished = False
        ended: list[tuple[pycurl.Curl, int, str]] = []
        queued = 1
        while queued:
            queued, good, bad = self._curl.info_read()
            for curl in good:
                ended.append((curl, 0, ""))
            ended.extend(bad)
        if self._sweeper is not None and any(curl is self._sweeper for curl, _, _ in ended):
            self._swept()
        return ended

    def idle(self) -> set[int]:
        """Descriptors of the idle connections."""
        return self.kept.open() - self._wanted.keys()

    def close(self) -> None:
        """Close all connections; no transfer may be left."""
        self._loop.cancel_timer(self._timer)
        self._loop.cancel_timer(self._sweep_timer)
        if self._sweeper is not None:
            self._curl.remove_handle(self._sweeper)
            self._sweeper = None
        self._curl.close()
        for fd in list(self._wanted):
            self._loop.unwatch(fd)
        # libcurl may ask to be called while it closes; that must not happen any more.
        if self._is_due:
            self._due.remove(self)
        if self._is_finished:
            self._finished.remove(self)

    # -- called by the loop ------------------------------------------------------------------

    def _ready(self, fd: int, events: int) -> None:
        if fd not in self._wanted:
            if not events & ~WRITE:
                # It was still watched for writing, and is writable: that means nothing.
                self._watch(fd, READ)
                return
            # A kept connection that its peer has closed, or that has unsolicited bytes.
            self._loop.unwatch(fd)
            self.kept.watched.pop(fd, None)
            if self.kept.signalled(fd):
                self._sweep_soon()
            return
        # A hang-up or an error counts as readable: libcurl's next read returns it.
        action = _READABLE if events & ~WRITE else 0
        if events & WRITE:
            action |= _WRITABLE
        self._act(fd, action)

    def keep_only(self, wanted: Callable[[Origin], bool]) -> None:
        """Close connections to unwanted origins: idle ones now, others after their use."""
        self._is_wanted = wanted
        self._leaving = self.kept.keep_only(wanted, self._wanted)
        if self.kept.dead:
            self._sweep_soon()

    def _sweep_soon(self) -> None:
        if self._sweeper is None and self._sweep_timer.bucket is None:
            self._loop.set_timer(self._sweep_timer, self._loop.now + SWEEP_INTERVAL)

    def _sweep(self) -> None:
        """Have libcurl close dead connections; by itself it does so only when a request starts."""
        if self._left:
            self._left = False
            self.keep_only(self._is_wanted)
        if self.broken is None:
            self._sweeper = make_sweeper()
            self._curl.add_handle(self._sweeper)

    def _swept(self) -> None:
        if self._sweeper is not None:
            self._curl.remove_handle(self._sweeper)
            self._sweeper = None
        self.kept.forget_closed()
        if self.kept.dead:  # libcurl skips the check within a second after another
            self._sweep_soon()

    def _watch(self, fd: int, events: int) -> None:
        self._loop.watch(fd, events, self._ready)
        # Where a socket is closed and its number used again, only `KeptConnections.opened` tells.
        # So the state of descriptors that libcurl makes for itself is unknown, except for the
        # eventfd that each multi handle has for its whole life.
        if fd in self.kept.hosts or _is_eventfd(fd):
            self.kept.watched[fd] = events

    def _make_due(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._due.append(self)

    def _act(self, fd: int, action: int) -> None:
        try:
            self._curl.socket_action(fd, action)
        except pycurl.error as error:
            # After an error here the state of all transfers of this handle is unknown.
            self.broken = str(error)
            self._notified()

    # -- called by libcurl: record, never raise, never call libcurl ----------------------------

    def _socket_wanted(self, what: int, fd: int, _multi: object, _data: object) -> int:
        if what == _REMOVE:
            # The connection is kept or closed. It stays in the epoll: to remove and add it again
            # would be two system calls per request, and a close removes it anyway.
            self._wanted.pop(fd, None)
            if fd in self._leaving:
                self._left = True
                self._sweep_soon()
            return 0
        events = _EVENTS.get(what, 0)
        self._wanted[fd] = events
        if self.kept.watched.get(fd) != events:  # else it was kept, and waits for the same
            try:
                self._watch(fd, events)
            except OSError:  # no such descriptor: libcurl finds that out itself
                pass
        return 0

    def _timer_wanted(self, milliseconds: int) -> int:
        if milliseconds == 0:
            self._make_due()
        elif milliseconds > 0:
            self._loop.set_timer(self._timer, self._loop.now + milliseconds / 1000.0)
        elif self._timer.bucket is not None:
            self._loop.cancel_timer(self._timer)
        return 0

    def _notified(self, *_: object) -> None:
        if not self._is_finished:
            self._is_finished = True
            self._finished.append(self)


def _is_eventfd(fd: int) -> bool:
    return os.readlink(f"/proc/self/fd/{fd}") == "anon_inode:[eventfd]"


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
