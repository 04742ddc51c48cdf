"""Admission: which requests may begin a session now, and which wait for their worker's share."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

__all__ = ["Admission", "Waiting"]

_MAX_WAITING: Final = 10_000  # requests; while so many wait, no more are read
_MAX_WAITING_SIZE: Final = 64 << 20  # bytes of requests that wait
_MIN_SHARED: Final = 4  # slots; fewer are not divided into shares

_Request = TypeVar("_Request")


@dataclass(slots=True, eq=False)
class Waiting(Generic[_Request]):
    """A request that waits for its worker's share.

    Attributes:
        worker: the worker that sent it.
        key: the worker's address and the request's id, for a cancel; None if it has no id.
        request: the request itself.
        size: its bytes.
        deadline: time when it times out; seconds.
    """

    worker: bytes
    key: Hashable
    request: _Request
    size: int
    deadline: float | None


class Admission(Generic[_Request]):
    """Counts open sessions, and keeps requests of workers that already have their share of them.

    When most slots are taken, some are kept free for workers that have few: a worker whose requests
    all hang takes at most its share, and requests of others are served meanwhile. Requests beyond a
    share wait here, in order and within bounds. While no slot is free, requests are not read, and
    wait in ZeroMQ.

    Args:
        max_open: open sessions; 0: no limit.
        max_per_worker: open sessions of one worker; 0: no limit.

    Attributes:
        turns_away: requests are read in order to be rejected, also while no slot is free.
        paused: no requests are read for now.
        open: number of open sessions.
        waiting: number of requests that wait here.
    """

    def __init__(self, max_open: int, max_per_worker: int = 0) -> None:
        self.configure(max_open, max_per_worker)
        self._open_by_worker: dict[bytes, int] = {}
        self._waiting: dict[bytes, deque[Waiting[_Request]]] = {}
        self._by_key: dict[Hashable, Waiting[_Request]] = {}
        self.waiting = 0
        self._size = 0
        self.turns_away = False
        self.paused = False
        self.open = 0

    def configure(self, max_open: int, max_per_worker: int) -> None:
        """Set the limits for sessions that begin from now on."""
        self._max_open = max_open
        self._max_per_worker = max_per_worker

    def __repr__(self) -> str:
        workers = len(self._open_by_worker)
        return f"<Admission open={self.open} workers={workers} waiting={self.waiting}>"

    def __contains__(self, key: Hashable) -> bool:
        """Whether a request with this key waits."""
        return key in self._by_key

    def has_room(self) -> bool:
        """Whether another request may be read."""
        return (
            not self.paused
            and (not self._max_open or self.open < self._max_open or self.turns_away)
            and (
                not self.waiting or (self.waiting < _MAX_WAITING and self._size < _MAX_WAITING_SIZE)
            )
        )

    def enter(self, worker: bytes) -> bool:
        """Count a session of this worker if it may begin now; else the request has to `wait`."""
        if self.waiting and worker in self._waiting:
            return False
        # If half of the slots are free, only the limit per worker applies.
        if (self._max_per_worker or self.open * 2 >= self._max_open) and not self._has_share(
            worker
        ):
            return False
        self.begin(worker)
        return True

    def begin(self, worker: bytes) -> None:
        """Count a session of this worker that begins, whatever its share is."""
        self.open += 1
        by_worker = self._open_by_worker
        by_worker[worker] = by_worker[worker] + 1 if worker in by_worker else 1

    def ended(self, worker: bytes) -> None:
        """Count the end of a session of this worker."""
        self.open -= 1
        left = self._open_by_worker[worker] - 1
        if left:
            self._open_by_worker[worker] = left
        else:
            del self._open_by_worker[worker]

    def wait(self, waiting: Waiting[_Request]) -> None:
        """Keep a request until its worker may begin another session."""
        self._waiting.setdefault(waiting.worker, deque()).append(waiting)
        if waiting.key is not None:
            self._by_key[waiting.key] = waiting
        self.waiting += 1
        self._size += waiting.size

    def forget(self, key: Hashable) -> Waiting[_Request] | None:
        """Remove the request with this key, which was cancelled; None if none waits."""
        waiting = self._by_key.get(key)
        if waiting is not None:
            self._remove(waiting)
        return waiting

    def admitted(self) -> Iterator[Waiting[_Request]]:
        """Remove and count the requests that may begin now, one of each worker in turn."""
        found = bool(self._waiting)
        while found:
            found = False
            for worker in list(self._waiting):
                if worker in self._waiting and self._has_share(worker):
                    waiting = self._waiting[worker][0]
                    self._remove(waiting)
                    self.begin(worker)
                    found = True
                    yield waiting

    def overdue(self, now: float) -> list[Waiting[_Request]]:
        """Remove and count the requests whose deadline has come."""
        late = [
            waiting
            for queue in self._waiting.values()
            for waiting in queue
            if waiting.deadline is not None and waiting.deadline <= now
        ]
        for waiting in late:
            self._remove(waiting)
            self.begin(waiting.worker)
        return late

    def drain(self) -> list[Waiting[_Request]]:
        """Remove and count all requests that wait."""
        all_ = [waiting for queue in self._waiting.values() for waiting in queue]
        for waiting in all_:
            self._remove(waiting)
            self.begin(waiting.worker)
        return all_

    def _remove(self, waiting: Waiting[_Request]) -> None:
        queue = self._waiting[waiting.worker]
        queue.remove(waiting)
        if not queue:
            del self._waiting[waiting.worker]
        self._by_key.pop(waiting.key, None)
        self.waiting -= 1
        self._size -= waiting.size

    def _has_share(self, worker: bytes) -> bool:
        if self._max_per_worker and self._open_by_worker.get(worker, 0) >= self._max_per_worker:
            return False
        most = self._max_open
        if not most or self.open * 2 < most:
            return True
        if self.open >= most:
            return False
        return most < _MIN_SHARED or self._open_by_worker.get(worker, 0) < self._share(worker)

    def _share(self, worker: bytes) -> int:
        """Slots for one worker: all but a tenth for each other one, and a tenth for a new one."""
        others = len(self._open_by_worker) + 1 - (worker in self._open_by_worker)
        most = self._max_open
        return most - min(most // 2, max(1, most // 10) * others)
