"""The thread that owns the store: it takes batches from the loop and returns results to it.

Messages that come during a commit are written by the next one. So batches grow with the load, and a
single message need not wait.
"""

from __future__ import annotations

import os
import queue
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

from ..messages import QuestionError
from ..model import Accepted, Claim, Claimed, Endpoint, Finish, Finished, NewDelivery, Recovered
from .base import Continued, Query, QueryResult, Store, StoreFull, StoreUnavailable

__all__ = ["StoreThread"]

_BATCH: Final = 64  # accepts in one commit
_RETRY: Final = 0.5  # seconds until results that could not be written are tried again

_Result = TypeVar("_Result")
Answer = Callable[[QueryResult | Exception], None]


class StoreThread:
    """A store, and the thread that calls it.

    Args:
        store: only this thread may use it from now on.
        now: returns the time, seconds since 1970.
        on_accepted: called with a batch, its results, and endpoints that are new to the loop.
        on_not_accepted: called with a batch that was not written, and the error.
        on_claimed: called with results of ``claim``.
        on_not_claimed: called with claims that failed, and the error.
        on_finished: called with results of ``finish``.
        on_recovered: called with results of ``recover``.
        on_lost: called when other processes may have taken over leased deliveries.
        on_trouble: called with an error of the store, and with None when it works again.

    Attributes:
        fd: a descriptor, readable when there are results; then call ``deliver_results``.
        kept: number of results of attempts that could not be written yet.
        observe_commit: called with the duration of each ``accept``, and its rows; on the thread.
    """

    def __init__(
        self,
        store: Store,
        now: Callable[[], float],
        on_accepted: Callable[[list[NewDelivery], list[Accepted], list[Endpoint]], None],
        on_not_accepted: Callable[[list[NewDelivery], Exception], None],
        on_claimed: Callable[[list[Claimed]], None],
        on_not_claimed: Callable[[list[Claim], Exception], None],
        on_finished: Callable[[list[Finished]], None],
        on_recovered: Callable[[list[Recovered]], None],
        on_lost: Callable[[], None],
        on_trouble: Callable[[Exception | None], None],
    ) -> None:
        self._store = store
        self._now = now
        self._on_accepted = on_accepted
        self._on_not_accepted = on_not_accepted
        self._on_claimed = on_claimed
        self._on_not_claimed = on_not_claimed
        self._on_finished = on_finished
        self._on_recovered = on_recovered
        self._on_lost = on_lost
        self._on_trouble = on_trouble
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.kept = 0
        self.observe_commit: Callable[[float, int], None] = lambda seconds, rows: None
        self._queue: queue.SimpleQueue[tuple[str, Any, Any]] = queue.SimpleQueue()
        self._results: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._kept: list[Finish] = []
        self._claims: list[Claim] = []
        self._asked: set[str] = set()  # verbs without arguments that are in the queue
        self._troubled = False
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)

    # -- called on the loop --------------------------------------------------------------------

    def start(self) -> None:
        """Begin, with ``recover``."""
        self.recover()
        self._thread.start()

    def accept(self, batch: list[NewDelivery]) -> None:
        """Write deliveries."""
        self._queue.put(("accept", batch, None))

    def claim(self, batch: list[Claim]) -> None:
        """Lease deliveries."""
        self._queue.put(("claim", batch, None))

    def finish(self, batch: list[Finish]) -> None:
        """End leases."""
        self._queue.put(("finish", batch, None))

    def query(self, query: Query, answer: Answer) -> None:
        """Run a query; ``answer`` is called with the result, or the exception."""
        self._queue.put(("query", query, answer))

    def recover(self) -> None:
        """Call ``recover`` of the store, unless that is in the queue already."""
        if "recover" not in self._asked:
            self._asked.add("recover")
            self._queue.put(("recover", None, None))

    def renew(self) -> None:
        """Extend the leases, unless that is in the queue already."""
        if "renew" not in self._asked:
            self._asked.add("renew")
            self._queue.put(("renew", None, None))

    def call_on_loop(self, call: Callable[..., None], *arguments: Any) -> None:
        """Call a function on the loop; may be used on any thread."""
        self._post(call, *arguments)

    def deliver_results(self) -> None:
        """Call the callbacks with the results."""
        try:
            os.eventfd_read(self.fd)
        except BlockingIOError:
            pass
        results = self._results
        while results:
            call, arguments = results.popleft()
            call(*arguments)

    def stop(self, timeout: float) -> bool:
        """Finish the queued work, and end. Returns False if it took too long."""
        self._queue.put(("stop", None, None))
        self._thread.join(timeout)
        ended = not self._thread.is_alive()
        if ended:
            self.deliver_results()
            os.close(self.fd)
        return ended

    # -- on the thread -------------------------------------------------------------------------

    def _run(self) -> None:
        stopping = False
        while not stopping:
            stopping = self._turn(self._take())
        self._write_kept()
        self._store.close()

    def _take(self) -> list[tuple[str, Any, Any]]:
        """All queued work; sleeps until there is some."""
        taken: list[tuple[str, Any, Any]] = []
        try:
            if not self._claims:
                taken.append(self._queue.get(timeout=_RETRY if self._kept else None))
            while True:
                taken.append(self._queue.get_nowait())
        except queue.Empty:
            return taken

    def _turn(self, operations: Iterable[tuple[str, Any, Any]]) -> bool:
        accepts: list[NewDelivery] = []
        finishes: list[Finish] = []
        stopping = False
        if self._kept:
            self._write_kept()
        for verb, content, answer in operations:
            if verb == "accept":
                accepts += content
            elif verb == "finish":
                finishes += content
            elif verb == "claim":
                self._claims += content
            elif verb == "query":
                # Work that was queued before the query has to be done before it.
                self._accept(accepts)
                self._finish(finishes)
                accepts, finishes = [], []
                self._query(content, answer)
            elif verb == "recover":
                self._recover()
            elif verb == "renew":
                self._renew()
            else:
                stopping = True
        self._accept(accepts)  # first, as senders wait for it
        self._finish(finishes)
        if self._claims:
            # Claims take longest: messages that have come meanwhile are accepted between them.
            claims = self._claims[: self._store.claims_at_once]
            del self._claims[: len(claims)]
            self._claim(claims)
        if self._store.lost:
            self._store.lost = False
            self._post(self._on_lost)
        return stopping

    def _accept(self, accepts: list[NewDelivery]) -> None:
        for start in range(0, len(accepts), _BATCH):
            batch = accepts[start : start + _BATCH]
            began = self._now()
            try:
                results = _guarded(self._store.accept, batch, began)
            except (StoreFull, StoreUnavailable) as error:
                self._trouble(error)
                self._post(self._on_not_accepted, batch, error)
                continue
            self.observe_commit(self._now() - began, len(batch))
            self._well()
            fresh = {
                result.endpoint
                for new, result in zip(batch, results, strict=True)
                if result.endpoint and not new.known
            }
            endpoints = [self._store.endpoint(number) for number in fresh]
            self._post(self._on_accepted, batch, results, endpoints)

    def _claim(self, claims: list[Claim]) -> None:
        try:
            results = _guarded(self._store.claim, claims, self._now())
        except StoreUnavailable as error:
            self._trouble(error)
            self._post(self._on_not_claimed, claims, error)
            return
        self._post(self._on_claimed, results)

    def _finish(self, finishes: list[Finish]) -> None:
        if not finishes:
            return
        if self._kept:  # keep the order: one of these may be of the same delivery
            self._keep(finishes)
            return
        try:
            results = _guarded(self._store.finish, finishes, self._now())
        except (StoreFull, StoreUnavailable) as error:
            self._trouble(error)
            self._keep(finishes)
            return
        self._post(self._on_finished, results)

    def _keep(self, finishes: list[Finish]) -> None:
        self._kept += finishes
        self.kept = len(self._kept)

    def _write_kept(self) -> None:
        """Try again to write results that could not be written."""
        while self._kept:
            batch = self._kept[:_BATCH]
            try:
                results = _guarded(self._store.finish, batch, self._now())
            except (StoreFull, StoreUnavailable):
                return
            del self._kept[: len(batch)]
            self.kept = len(self._kept)
            self._post(self._on_finished, results)
        self._well()

    def _query(self, query: Query, answer: Answer) -> None:
        try:
            result = _guarded(self._store.query, query, self._now())
        except QuestionError as failure:
            self._post(answer, failure)
            return
        except StoreUnavailable as error:
            self._trouble(error)
            self._post(answer, error)
            return
        if isinstance(result.again, Continued):
            self._queue.put(("query", result.again, answer))  # after other work
        else:
            self._post(answer, result)

    def _recover(self) -> None:
        self._asked.discard("recover")
        try:
            recovered = _guarded(self._store.recover, self._now())
        except StoreUnavailable as error:
            self._trouble(error)
            return
        self._well()
        self._post(self._on_recovered, recovered)

    def _renew(self) -> None:
        self._asked.discard("renew")
        try:
            _guarded(self._store.renew, self._now())
        except StoreUnavailable as error:
            self._trouble(error)

    def _trouble(self, error: Exception) -> None:
        self._troubled = True
        self._post(self._on_trouble, error)

    def _well(self) -> None:
        if self._troubled and not self._kept:
            self._troubled = False
            self._post(self._on_trouble, None)

    def _post(self, call: Callable[..., None], *arguments: Any) -> None:
        self._results.append((call, arguments))
        os.eventfd_write(self.fd, 1)


def _guarded(verb: Callable[..., _Result], *arguments: Any) -> _Result:
    """Call the store. A bug in it must not end the thread, and leave all without an answer."""
    try:
        return verb(*arguments)
    except (QuestionError, StoreFull, StoreUnavailable):
        raise
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        raise StoreUnavailable(
            f"internal error, {type(error).__name__}: {error}, {where.name} line {where.lineno}"
        ) from error
