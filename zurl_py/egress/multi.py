"""One libcurl multi handle on the event loop.

libcurl's callbacks only record here: a socket callback changes the epoll, a timer callback a
deadline, the notification callback a flag. All calls back into libcurl come from the loop's turn.
"""

from __future__ import annotations

import pycurl

from ..loop import READ, WRITE, Loop, Timer
from .lookups import NameGate

__all__ = ["DNS_CACHE_SECONDS", "Multi"]

# libcurl scans its whole DNS cache after each transfer, unless its entries never age: then one
# transfer a second with a normal timeout prunes for all.
DNS_CACHE_SECONDS = 60
_PRUNE_INTERVAL = 1.0  # seconds

_EVENTS = {
    pycurl.POLL_NONE: 0,
    pycurl.POLL_IN: READ,
    pycurl.POLL_OUT: WRITE,
    pycurl.POLL_INOUT: READ | WRITE,
}
_READABLE = pycurl.CSELECT_IN
_WRITABLE = pycurl.CSELECT_OUT


class Multi:
    """A ``CurlMulti`` with its sockets in the loop's epoll.

    Args:
        loop: the event loop.
        due: list shared by all multi handles; those that libcurl wants called now are put there.
        finished: list shared by all multi handles; those with results to read are put there.
    """

    def __init__(self, loop: Loop, due: list[Multi], finished: list[Multi]) -> None:
        self.active = 0  # transfers added and not yet removed
        self.names = NameGate()
        self.broken: str | None = None  # why no transfer of this handle can be trusted any more
        self._loop = loop
        self._due = due
        self._is_due = False
        self._finished = finished
        self._is_finished = False
        self._next_prune = loop.now  # of the DNS cache
        self._careful_until = 0.0
        self._wanted: dict[int, int] = {}  # socket: events libcurl waits for
        self._timer = Timer(self._make_due)
        curl = self._curl = pycurl.CurlMulti()
        curl.setopt(pycurl.M_SOCKETFUNCTION, self._socket_wanted)
        curl.setopt(pycurl.M_TIMERFUNCTION, self._timer_wanted)
        curl.setopt(pycurl.M_NOTIFYFUNCTION, self._notified)
        curl.notify_enable(pycurl.M_NOTIFY_INFO_READ)

    def limit_connections(self, most: int) -> None:
        """Close idle connections where there are more than this (``CURLMOPT_MAXCONNECTS``).

        It has to be set: libcurl's default, four times the running transfers, evicts at every
        dip, and each eviction looks at all connections.
        """
        self._curl.setopt(pycurl.M_MAXCONNECTS, most)

    def must_age_names(self, now: float) -> bool:
        """Whether the next transfer has to look at the age of what is in the DNS cache."""
        if now >= self._next_prune:
            if now >= self._next_prune + DNS_CACHE_SECONDS:
                # Any name may be too old, until this transfer has ended and pruned.
                self._careful_until = now + _PRUNE_INTERVAL
            self._next_prune = now + _PRUNE_INTERVAL
            return True
        return now < self._careful_until

    def add(self, curl: pycurl.Curl) -> None:
        """Start a transfer; it moves at the next ``kick``."""
        self._curl.add_handle(curl)
        self.active += 1

    def remove(self, curl: pycurl.Curl) -> None:
        """Take a transfer out, finished or not; an unfinished one loses its connection."""
        self.active -= 1
        self._curl.remove_handle(curl)

    def kick(self) -> None:
        """Let libcurl do what its timers ask for; call it for every multi handle in ``due``."""
        self._is_due = False
        self._act(pycurl.SOCKET_TIMEOUT, 0)

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
        return ended

    def close(self) -> None:
        """Close all connections; no transfer may be left."""
        self._loop.cancel_timer(self._timer)
        self._curl.close()
        for fd in list(self._wanted):
            self._loop.unwatch(fd)

    # -- called by the loop ------------------------------------------------------------------

    def _ready(self, fd: int, events: int) -> None:
        if fd not in self._wanted:
            # A pooled connection that its peer closed; libcurl finds out when it looks at it.
            self._loop.unwatch(fd)
            return
        # A hang-up or an error counts as readable: the next read tells libcurl which it was.
        action = _READABLE if events & ~WRITE else 0
        if events & WRITE:
            action |= _WRITABLE
        self._act(fd, action)

    def _make_due(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._due.append(self)

    def _act(self, fd: int, action: int) -> None:
        try:
            self._curl.socket_action(fd, action)
        except pycurl.error as error:
            # After an error here the state of all transfers of this handle is uncertain.
            self.broken = str(error)
            self._notified()

    # -- called by libcurl: record, never raise, never call libcurl ----------------------------

    def _socket_wanted(self, what: int, fd: int, _multi: object, _data: object) -> int:
        if what == pycurl.POLL_REMOVE:
            # The connection goes to the pool or is closed. It stays in the epoll, as leaving and
            # coming back would be two system calls per request; a close takes it out by itself.
            self._wanted.pop(fd, None)
            return 0
        events = _EVENTS.get(what, 0)
        self._wanted[fd] = events
        try:
            self._loop.watch(fd, events, self._ready)
        except OSError:  # no such descriptor: libcurl will see it too
            pass
        return 0

    def _timer_wanted(self, milliseconds: int) -> int:
        if milliseconds > 0:
            self._loop.set_timer(self._timer, self._loop.now + milliseconds / 1000.0)
        elif milliseconds == 0:
            self._make_due()
        else:
            self._loop.cancel_timer(self._timer)
        return 0

    def _notified(self, *_: object) -> None:
        if not self._is_finished:
            self._is_finished = True
            self._finished.append(self)
