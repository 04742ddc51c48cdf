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

READ = select.EPOLLIN  # there are bytes to read, or the end
WRITE = select.EPOLLOUT  # there is room for bytes to write
HANG_UP = select.EPOLLRDHUP  # the peer will send no more; what it sent may be unread

# A deadline further away than this (seconds) waits in a bucket one second wide; when that fires,
# early, the timer moves to a fine one. So there are a few hundred buckets at most, for any number
# of timers.
_COARSE_AFTER = 4.0
_FINE = 64.0  # fine buckets per second: a timer fires at most 1/64 s late
# Seconds of one turn for handlers of descriptors; the remaining ones are first in the next turn.
_EVENTS_SHARE = 0.001
_LONG = 0.0005  # seconds; a handler that takes longer is noted
_LONGEST_WAIT = 60.0  # seconds
_MAX_EVENTS = 256  # descriptors handled in one turn, so that a flood cannot starve timers


class Timer:
    """A deadline that is cheap to move.

    Moving it later only sets ``when``; the loop checks it at the former moment.

    Attributes:
        callback: called when the timer fires.
        when: the deadline, in seconds on the loop's clock.
        bucket: key of the bucket that it waits in; None: it is not set. Only the loop changes it.
    """

    __slots__ = ("bucket", "callback", "when")

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback = callback
        self.when = 0.0  # seconds on the loop's clock
        self.bucket: float | None = None

    def __repr__(self) -> str:
        name = getattr(self.callback, "__qualname__", "")
        return f"<Timer {name} {f'when={self.when:.3f}' if self.bucket is not None else 'not set'}>"


class Loop:
    """Descriptors, timers and signals.

    Args:
        clock: monotonic seconds; tests pass their own.

    Attributes:
        clock: the same.
        now: seconds on that clock at the start of this turn.
        epoll: the one epoll.
        signals: signals that came and were not taken yet; see ``take_signals``.
        slow: descriptors whose handlers took longer than half a millisecond; whoever examines them
            clears the list.
        observe_lag: called with the number of seconds by which timers fire late.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.now = clock()  # seconds; refreshed once per turn, good enough for every deadline
        self.epoll = select.epoll()
        self.slow: list[int] = []
        self._urgent: set[int] = set()  # descriptors that are handled in every turn
        self._deferred: dict[int, int] = {}  # those left over from the last turn, with their order
        self._handlers: dict[int, Callable[[int, int], None]] = {}
        self._buckets: dict[float, set[Timer]] = {}
        self._bucket_heap: list[float] = []
        self.signals: list[int] = []
        self.observe_lag: Callable[[float], None] | None = None
        self._signal_pipe: tuple[int, int] | None = None

    def __repr__(self) -> str:
        return f"<Loop now={self.now:.3f} descriptors={len(self._handlers)} timers={self.timers}>"

    # -- descriptors -------------------------------------------------------------------------

    def watch(
        self, fd: int, events: int, handler: Callable[[int, int], None], urgent: bool = False
    ) -> None:
        """Call ``handler(fd, events)`` when ``fd`` is ready; also changes an existing watch.

        Args:
            urgent: handle it in every turn, also during a flood; for handlers that return quickly.

        A library may have closed a descriptor and opened another with the same number, which
        removes it from the epoll: then modify fails, and it is registered again.
        """
        self._handlers[fd] = handler
        if urgent:
            self._urgent.add(fd)
        try:
            self.epoll.modify(fd, events)
        except FileNotFoundError:
            self.epoll.register(fd, events)

    def unwatch(self, fd: int) -> None:
        """Stop watching ``fd``; does nothing if it is unknown or closed."""
        self._urgent.discard(fd)
        if self._handlers.pop(fd, None) is not None:
            # OSError: closed already, or closed and not registered again.
            try:
                self.epoll.unregister(fd)
            except OSError:
                pass

    # -- timers ------------------------------------------------------------------------------

    def set_timer(self, timer: Timer, when: float) -> None:
        """Have ``timer`` fire once, at ``when`` (seconds on the loop's clock)."""
        timer.when = when
        bucket = timer.bucket
        if bucket is not None:
            if bucket <= when:
                return  # checked when its bucket fires
            self._buckets[bucket].discard(timer)
        self._place(timer)

    def cancel_timer(self, timer: Timer) -> None:
        """Cancel a timer; does nothing if it is not set."""
        if timer.bucket is not None:
            self._buckets[timer.bucket].discard(timer)
            timer.bucket = None

    def _place(self, timer: Timer) -> None:
        when = max(timer.when, self.now)
        if when - self.now > _COARSE_AFTER:
            key = when // 1.0
        else:
            key = (when * _FINE // 1.0 + 1.0) / _FINE
        timer.bucket = key
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
                # One by one, so that no other timer is lost if one raises.
                timer = bucket.pop()
                timer.bucket = None
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
        """Number of timers that are set."""
        return sum(map(len, self._buckets.values()))

    # -- signals -----------------------------------------------------------------------------

    def catch_signals(self, *signals: int) -> None:
        """Collect these signals for ``take_signals`` and let them wake the loop."""
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._signal_pipe = (reader, writer)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in signals:
            signal.signal(number, lambda n, _frame: self.signals.append(n))
        self.watch(reader, READ, _drain_pipe, urgent=True)

    def take_signals(self) -> list[int]:
        """The signals that came since the last call, in order."""
        taken, self.signals = self.signals, []
        return taken

    # -- running -----------------------------------------------------------------------------

    def turn(self, wait: bool) -> None:
        """Call the handlers of ready descriptors and the callbacks of timers that are due.

        Args:
            wait: wait for the first of them; else only poll.
        """
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
        if self._deferred:
            events.sort(key=self._precedence)
        self._dispatch(events)
        if heap and heap[0] <= self.now:
            self._fire_timers()

    def _precedence(self, event: tuple[int, int]) -> int:
        fd = event[0]
        return -1 if fd in self._urgent else self._deferred.get(fd, _MAX_EVENTS)

    def _dispatch(self, events: list[tuple[int, int]]) -> None:
        """Call handlers until the time is used up; the epoll reports the other events again."""
        handlers, clock = self._handlers, self.clock
        began = self.now
        until = began + _EVENTS_SHARE
        late = False
        deferred: dict[int, int] = {}
        for fd, mask in events:
            if late and fd not in self._urgent:
                deferred[fd] = len(deferred)
                continue
            # None if the handler of an earlier event has closed it.
            handler = handlers.get(fd)
            if handler is not None:
                handler(fd, mask)
                ended = clock()
                if ended - began > _LONG:
                    self.slow.append(fd)
                began = ended
                late = ended > until
        self._deferred = deferred

    def close(self) -> None:
        """Release the descriptors."""
        if self._signal_pipe is not None:
            signal.set_wakeup_fd(-1)
            for fd in self._signal_pipe:
                os.close(fd)
        self.epoll.close()


def _drain_pipe(fd: int, _events: int) -> None:
    """Drain the wake-up pipe of signals."""
    os.read(fd, 512)
