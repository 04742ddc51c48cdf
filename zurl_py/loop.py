"""The event loop: one epoll, timers and signals, in one thread.

Everything that can wake the daemon is a descriptor of the one epoll: libcurl's sockets, WebSocket
connections, the ZeroMQ sockets' notification descriptors and a pipe for signals. The cost of a
wake-up therefore does not depend on how many connections are open.
"""

from __future__ import annotations

import heapq
import os
import select
import signal
import time
from collections.abc import Callable

__all__ = ["HANG_UP", "READ", "WRITE", "Loop", "Timer"]

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
HANG_UP = select.EPOLLRDHUP  # the peer will send no more; what it sent may be unread

# A deadline further away than this waits in a bucket one second wide; when that fires, early, the
# timer moves to a fine one. So no more than a few hundred buckets exist, however many timers do.
_COARSE_AFTER = 4.0
_FINE = 64.0  # fine buckets per second: a timer fires at most 1/64 s late
# Seconds of one turn for what descriptors have to say; who was not heard is first in the next one.
_EVENTS_SHARE = 0.002
_LONGEST_WAIT = 60.0  # seconds
_MAX_EVENTS = 256  # descriptors handled in one turn, so that a flood cannot starve timers


class Timer:
    """A deadline that can be moved for next to nothing.

    Moving it later only writes ``when``; the loop looks at it when the old moment comes.
    """

    __slots__ = ("_bucket", "callback", "when")

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback = callback
        self.when = 0.0  # seconds on the loop's clock
        self._bucket: float | None = None  # key of the bucket it waits in

    @property
    def is_set(self) -> bool:
        """It will fire."""
        return self._bucket is not None


class Loop:
    """Descriptors, timers and signals.

    Args:
        clock: seconds that only grow; tests give their own.

    Attributes:
        observe_lag: told by how many seconds timers fire late.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.now = clock()  # seconds; refreshed once per turn, good enough for every deadline
        self.epoll = select.epoll()
        self._urgent: set[int] = set()  # descriptors that are heard in every turn
        self._unheard: dict[int, int] = {}  # those that the last turn had no time for: their places
        self._handlers: dict[int, Callable[[int, int], None]] = {}
        self._buckets: dict[float, set[Timer]] = {}
        self._bucket_heap: list[float] = []
        self._signals: list[int] = []
        self.observe_lag: Callable[[float], None] | None = None
        self._signal_pipe: tuple[int, int] | None = None

    # -- descriptors -------------------------------------------------------------------------

    def watch(
        self, fd: int, events: int, handler: Callable[[int, int], None], urgent: bool = False
    ) -> None:
        """Call ``handler(fd, events)`` when ``fd`` is ready; also changes an existing watch.

        ``urgent`` is for what is quickly handled and must not wait behind a flood by strangers.

        A descriptor may have been closed and opened again under the same number behind our back,
        which takes it out of the epoll: then modify fails, and we register.
        """
        self._handlers[fd] = handler
        if urgent:
            self._urgent.add(fd)
        try:
            self.epoll.modify(fd, events)
        except FileNotFoundError:
            self.epoll.register(fd, events)

    def unwatch(self, fd: int) -> None:
        """Forget ``fd``; harmless if it is unknown or closed."""
        self._urgent.discard(fd)
        if self._handlers.pop(fd, None) is not None:
            # OSError: closed already, or closed and not registered again.
            try:
                self.epoll.unregister(fd)
            except OSError:
                pass

    # -- timers ------------------------------------------------------------------------------

    def set_timer(self, timer: Timer, when: float) -> None:
        """Let ``timer`` fire at ``when`` (seconds on the loop's clock), and at no other moment."""
        timer.when = when
        bucket = timer._bucket
        if bucket is not None:
            if bucket <= when:
                return  # looked at when its bucket comes
            self._buckets[bucket].discard(timer)
        self._place(timer)

    def cancel_timer(self, timer: Timer) -> None:
        """Take back a timer; harmless if it is not set."""
        if timer._bucket is not None:
            self._buckets[timer._bucket].discard(timer)
            timer._bucket = None

    def _place(self, timer: Timer) -> None:
        when = max(timer.when, self.now)
        if when - self.now > _COARSE_AFTER:
            key = when // 1.0
        else:
            key = (when * _FINE // 1.0 + 1.0) / _FINE
        timer._bucket = key
        bucket = self._buckets.get(key)
        if bucket is None:
            self._buckets[key] = {timer}
            heapq.heappush(self._bucket_heap, key)
        else:
            bucket.add(timer)

    def _fire_timers(self) -> None:
        now = self.now
        heap = self._bucket_heap
        if self.observe_lag is not None and self._buckets[heap[0]]:
            self.observe_lag(now - heap[0])
        while heap and heap[0] <= now:
            key = heap[0]
            bucket = self._buckets[key]
            while bucket:
                # One by one, so that a timer that raises takes no other with it.
                timer = bucket.pop()
                timer._bucket = None
                if timer.when > now:
                    self._place(timer)
                else:
                    timer.callback()
            heapq.heappop(heap)
            del self._buckets[key]

    def _drop_empty_buckets(self) -> None:
        heap = self._bucket_heap
        while heap and not self._buckets[heap[0]]:
            del self._buckets[heapq.heappop(heap)]

    @property
    def timers(self) -> int:
        """Timers that are set."""
        return sum(map(len, self._buckets.values()))

    # -- signals -----------------------------------------------------------------------------

    def catch_signals(self, *signals: int) -> None:
        """Collect these signals for ``take_signals`` and let them wake the loop."""
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._signal_pipe = (reader, writer)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in signals:
            signal.signal(number, lambda n, _frame: self._signals.append(n))
        self.watch(reader, READ, _empty, urgent=True)

    def take_signals(self) -> list[int]:
        """The signals that came since the last call, in order."""
        taken, self._signals = self._signals, []
        return taken

    # -- running -----------------------------------------------------------------------------

    def turn(self, wait: bool) -> None:
        """Wait for events (or only look, if not ``wait``), then call what is ready and due."""
        timeout, heap = 0.0, self._bucket_heap
        if wait:
            if heap and not self._buckets[heap[0]]:
                self._drop_empty_buckets()
            timeout = _LONGEST_WAIT
            if heap:
                left = heap[0] - self.clock()
                if left < timeout:
                    timeout = left if left > 0.0 else 0.0
        events = self.epoll.poll(timeout, _MAX_EVENTS)
        self.now = self.clock()
        if self._unheard:
            events.sort(key=self._precedence)
        self._hear(events)
        if heap and heap[0] <= self.now:
            self._fire_timers()

    def _precedence(self, event: tuple[int, int]) -> int:
        fd = event[0]
        return -1 if fd in self._urgent else self._unheard.get(fd, _MAX_EVENTS)

    def _hear(self, events: list[tuple[int, int]]) -> None:
        """Call the handlers, as far as there is time; the epoll tells of the others again."""
        handlers, clock = self._handlers, self.clock
        until = self.now + _EVENTS_SHARE
        late = False
        unheard: dict[int, int] = {}
        for fd, mask in events:
            if late and fd not in self._urgent:
                unheard[fd] = len(unheard)
                continue
            # Gone if an earlier event of this turn closed it.
            handler = handlers.get(fd)
            if handler is not None:
                handler(fd, mask)
                late = clock() > until
        self._unheard = unheard

    def close(self) -> None:
        """Release the descriptors."""
        if self._signal_pipe is not None:
            signal.set_wakeup_fd(-1)
            for fd in self._signal_pipe:
                os.close(fd)
        self.epoll.close()


def _empty(fd: int, _events: int) -> None:
    """Take the wake-up bytes of signals out of their pipe."""
    os.read(fd, 512)
