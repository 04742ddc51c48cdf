"""Who may begin a session now, and who waits: room for all, and a share for each worker."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

__all__ = ["Admission", "Waiting"]

_MAX_WAITING: Final = 10_000  # requests that wait here; no more are read then
_MAX_WAITING_SIZE: Final = 64 << 20  # bytes of theirs
_FEWEST_SHARED: Final = 4  # slots; of fewer there is nothing to share out

_Request = TypeVar("_Request")


@dataclass(slots=True, eq=False)
class Waiting(Generic[_Request]):
    """A request that waits for its worker's share.

    Attributes:
        worker: whose it is.
        key: its name, by which it can be cancelled; None if it has none.
        request: what was asked.
        size: bytes of it.
        deadline: when it is to be told that its time is up; seconds.
    """

    worker: bytes
    key: Hashable
    request: _Request
    size: int
    deadline: float | None


class Admission(Generic[_Request]):
    """Counts open sessions, and keeps requests of workers who have their share of them.

    Where slots are short, some are held free for workers who have few: a worker whose requests
    all hang takes at most its share, and those of others are served meanwhile. What goes beyond a
    share waits here, in its order and within bounds; what finds no slot at all is not read, and
    waits in ZeroMQ.

    Args:
        max_open: sessions at once; 0: no limit.
        max_per_worker: the same for one worker; 0: no limit.

    Attributes:
        accepting: new requests are read; not any more when the daemon stops.
        shut: none are read for now.
        open: sessions open.
    """

    def __init__(self, max_open: int, max_per_worker: int = 0) -> None:
        self.configure(max_open, max_per_worker)
        self._held: dict[bytes, int] = {}
        self._waiting: dict[bytes, deque[Waiting[_Request]]] = {}
        self._by_key: dict[Hashable, Waiting[_Request]] = {}
        self._count = 0
        self._size = 0
        self.accepting = True
        self.shut = False
        self.open = 0

    def configure(self, max_open: int, max_per_worker: int) -> None:
        """Let other limits hold for what begins from now on."""
        self._max_open = max_open
        self._max_per_worker = max_per_worker

    def __repr__(self) -> str:
        return f"<Admission open={self.open} workers={len(self._held)} waiting={self._count}>"

    def __contains__(self, key: Hashable) -> bool:
        """Whether a request with this name waits."""
        return key in self._by_key

    @property
    def waiting(self) -> int:
        """Requests that wait here."""
        return self._count

    def has_room(self) -> bool:
        """Whether another request may be read."""
        return (
            self.accepting
            and not self.shut
            and (not self._max_open or self.open < self._max_open)
            and self._count < _MAX_WAITING
            and self._size < _MAX_WAITING_SIZE
        )

    def accept_all(self) -> None:
        """Let everything be read, as nothing will begin any more."""
        self.accepting, self.shut = True, False
        self.configure(0, 0)

    def enter(self, worker: bytes) -> bool:
        """Count one more session of this worker, if it may begin now; else it has to `wait`."""
        if worker in self._waiting or not self._has_share(worker):
            return False
        self.begin(worker)
        return True

    def begin(self, worker: bytes) -> None:
        """Count one more session of this worker: it may begin, or has waited long enough."""
        self.open += 1
        held = self._held
        held[worker] = held[worker] + 1 if worker in held else 1

    def ended(self, worker: bytes) -> None:
        """A session of this worker has ended."""
        self.open -= 1
        held = self._held[worker] - 1
        if held:
            self._held[worker] = held
        else:
            del self._held[worker]

    def wait(self, waiting: Waiting[_Request]) -> None:
        """Keep a request until its worker may begin one more."""
        self._waiting.setdefault(waiting.worker, deque()).append(waiting)
        if waiting.key is not None:
            self._by_key[waiting.key] = waiting
        self._count += 1
        self._size += waiting.size

    def forget(self, key: Hashable) -> Waiting[_Request] | None:
        """Take out the request with this name, which was cancelled."""
        waiting = self._by_key.get(key)
        if waiting is not None:
            self._remove(waiting)
        return waiting

    def admitted(self) -> Iterator[Waiting[_Request]]:
        """Take out what may begin now, one of each worker in turn, and count it."""
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
        """Take out what has waited until its deadline, and count it."""
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
        """Take out all that wait, and count it."""
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
        self._count -= 1
        self._size -= waiting.size

    def _has_share(self, worker: bytes) -> bool:
        if self._max_per_worker and self._held.get(worker, 0) >= self._max_per_worker:
            return False
        most = self._max_open
        if not most or self.open * 2 < most:
            return True
        if self.open >= most:
            return False
        return most < _FEWEST_SHARED or self._held.get(worker, 0) < self._share(worker)

    def _share(self, worker: bytes) -> int:
        """Slots that one worker may have: all but a tenth for each other, and for one to come."""
        others = len(self._held) + 1 - (worker in self._held)
        most = self._max_open
        return most - min(most // 2, max(1, most // 10) * others)
