"""Look-ups of names, with coalescing (singleflight: one look-up for all that wait) and a cache.

libcurl's resolver does not coalesce: a thousand requests to one new name are a thousand look-ups on
twenty threads, where names whose servers are silent delay all others. And it caches "no such name"
as long as an address. So names are looked up here, by ``getaddrinfo`` on threads, and libcurl is
given the addresses (``CURLOPT_RESOLVE``).
"""

from __future__ import annotations

import os
import resource
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from ..cache import remember
from ..loop import READ, Loop

__all__ = ["Answer", "Resolver", "look_up"]

_Waiter = TypeVar("_Waiter")
Outcome = tuple[tuple[str, ...], str]
"""Addresses, and the reason if there are none; else ""."""

_MAX_KNOWN = 16_384  # names
# A name whose servers are silent holds a thread until the system's resolver gives up, usually 10 s.
_MAX_THREADS = 512
_DESCRIPTORS_PER_THREAD = 8  # one thread per so many descriptors: each look-up opens a socket
_IDLE_SECONDS = 10.0  # after this time an idle thread ends
_STACK = 256 * 1024  # bytes; getaddrinfo needs a quarter of that
_MAX_ADDRESSES = 16  # of one name; libcurl tries them in turn


class Answer:
    """The outcome of a look-up.

    Attributes:
        addresses: in the order in which to try them; empty if there are none.
        problem: the reason if there are none; "" if there are some.
        made_at: time when the look-up was requested, on the loop's clock.
        good_until: until when it may be used without another look-up.
    """

    __slots__ = ("addresses", "good_until", "made_at", "problem")

    def __init__(self, outcome: Outcome, made_at: float, good_until: float) -> None:
        self.addresses, self.problem = outcome
        self.made_at = made_at
        self.good_until = good_until

    def __repr__(self) -> str:
        found = ",".join(self.addresses) or self.problem
        return f"<Answer {found} made_at={self.made_at} good_until={self.good_until}>"


class Resolver(Generic[_Waiter]):
    """Looks names up for the transfers that wait for them.

    Args:
        loop: the event loop; all methods are for its thread.
        lifetime: seconds that addresses may be used; 0: look up each time.
        negative_lifetime: seconds that "no such name" is cached.
        look_up: returns the outcome for a name; called on other threads, may block, must not raise.

    Attributes:
        finished: there are outcomes to `collect`.
        observe: called after each look-up: whether it found addresses, and the seconds it took.
    """

    def __init__(
        self,
        loop: Loop,
        lifetime: float,
        negative_lifetime: float,
        look_up: Callable[[str], Outcome],
    ) -> None:
        self._loop = loop
        self.lifetime = lifetime
        self.negative_lifetime = negative_lifetime
        self._look_up = look_up
        self._known: dict[str, Answer] = {}
        self._waiting: dict[str, dict[_Waiter, None]] = {}  # dicts serve as ordered sets
        self._asked_at: dict[str, float] = {}
        self.finished: deque[tuple[str, Outcome | None]] = deque()
        self._jobs: deque[str] = deque()
        self._changed = threading.Condition()
        self._idle = 0
        self._threads = 0
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._most = max(1, min(_MAX_THREADS, descriptors // _DESCRIPTORS_PER_THREAD))
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.observe: Callable[[bool, float], None] = lambda *_: None
        self._closed = False
        loop.watch(self._wake, READ, self._woken)

    def __repr__(self) -> str:
        return f"<Resolver known={len(self._known)} waiting={len(self._waiting)}>"

    def __len__(self) -> int:
        """Number of names in the cache."""
        return len(self._known)

    def known(self, name: str) -> Answer | None:
        """The last outcome for a name, of whatever age; see ``good_until``."""
        return self._known.get(name)

    def distrust(self, name: str) -> None:
        """Have a name looked up again before its next use: its addresses cannot be reached."""
        answer = self._known.get(name)
        if answer is not None:
            answer.good_until = 0.0

    def ask(self, name: str, waiter: _Waiter) -> None:
        """Let ``waiter`` wait for the outcome of a look-up; one that is under way will do."""
        waiting = self._waiting.get(name)
        if waiting is not None:
            waiting[waiter] = None
            return
        self._waiting[name] = {waiter: None}
        self._asked_at[name] = self._loop.now
        known = self._known.get(name)
        self._enqueue(name, known is not None and bool(known.addresses))

    def waiting(self) -> list[_Waiter]:
        """All transfers that wait."""
        return [waiter for waiting in self._waiting.values() for waiter in waiting]

    def leave(self, name: str, waiter: _Waiter) -> None:
        """End the wait of ``waiter``."""
        waiting = self._waiting.get(name)
        if waiting is not None:
            waiting.pop(waiter, None)

    def collect(self) -> list[tuple[_Waiter, Answer]]:
        """The transfers whose look-up has ended, in order, with the outcome."""
        ended: list[tuple[_Waiter, Answer]] = []
        while self.finished:
            name, outcome = self.finished.popleft()
            if outcome is None:  # no transfer waited any more when its turn came
                if self._waiting.get(name):
                    self._enqueue(name, False)
                else:
                    del self._waiting[name], self._asked_at[name]
                continue
            self.observe(bool(outcome[0]), self._loop.now - self._asked_at[name])
            answer = self._remember(name, outcome)
            ended.extend((waiter, answer) for waiter in self._waiting.pop(name))
        return ended

    def _remember(self, name: str, outcome: Outcome) -> Answer:
        made_at = self._asked_at.pop(name)
        lifetime = self.lifetime if outcome[0] else self.negative_lifetime
        answer = Answer(outcome, made_at, self._loop.now + lifetime if lifetime else 0.0)
        remember(self._known, name, answer, _MAX_KNOWN)
        return answer

    def close(self) -> None:
        """Release the descriptor; threads end by themselves."""
        self._closed = True
        self._loop.unwatch(self._wake)
        with self._changed:
            self._jobs.clear()
            os.close(self._wake)
            self._changed.notify_all()

    # -- threads -----------------------------------------------------------------------------

    def _enqueue(self, name: str, was_found_before: bool) -> None:
        """Queue a look-up. Names that were found before go first: names that strangers invent, and
        whose servers are silent, must not delay them.
        """
        with self._changed:
            if was_found_before:
                self._jobs.appendleft(name)
            else:
                self._jobs.append(name)
            if self._idle >= len(self._jobs):
                self._changed.notify()
                return
            if self._threads >= self._most:
                return
            self._threads += 1
        self._start_thread()

    def _start_thread(self) -> None:
        before = threading.stack_size(_STACK)
        try:
            # Daemon threads: the process need not wait for a silent name server when it ends.
            threading.Thread(target=self._work, name="resolver", daemon=True).start()
        except RuntimeError:  # the system's limit: the running threads do the work
            self._fail_without_threads()
        finally:
            threading.stack_size(before)

    def _fail_without_threads(self) -> None:
        with self._changed:
            self._threads -= 1
            if not self._threads:
                self.finished.extend(
                    (name, ((), "no thread can be started")) for name in self._jobs
                )
                self._jobs.clear()
                os.eventfd_write(self._wake, 1)

    def _work(self) -> None:
        while (name := self._next_job()) is not None:
            outcome = self._look_up(name) if self._waiting.get(name) else None
            with self._changed:
                if self._closed:
                    return
                self.finished.append((name, outcome))
                os.eventfd_write(self._wake, 1)

    def _next_job(self) -> str | None:
        with self._changed:
            while not self._jobs and not self._closed:
                self._idle += 1
                woken = self._changed.wait(_IDLE_SECONDS)
                self._idle -= 1
                if not woken and not self._jobs:
                    break
            if self._jobs and not self._closed:
                return self._jobs.popleft()
            self._threads -= 1
            return None

    def _woken(self, fd: int, _events: int) -> None:
        os.eventfd_read(fd)


def look_up(name: str, ipv6: bool) -> Outcome:
    """Look a name up by the system's resolver.

    Args:
        name: a host name; with a dot at its end no search domain is tried.
        ipv6: include IPv6 addresses.
    """
    if name.rstrip(".").endswith(".onion"):
        return (), "names in .onion are not looked up (RFC 7686)"
    try:
        return _addresses(name, socket.AF_UNSPEC if ipv6 else socket.AF_INET), ""
    except socket.gaierror as error:
        if not ipv6 and error.errno in _NO_SUCH_FAMILY and _has_ipv6(name):
            return (), "it has IPv6 addresses only, and allow_ipv6 is off"
        return (), _PROBLEMS.get(error.errno or 0) or str(error.strerror)
    except (OSError, UnicodeError) as error:
        return (), str(error)


def _addresses(name: str, family: int) -> tuple[str, ...]:
    # As bytes: text would be encoded by Python's IDNA codec.
    found = socket.getaddrinfo(name.encode("ascii"), None, family, socket.SOCK_STREAM)
    # Addresses with a zone are link-local; CURLOPT_RESOLVE does not accept them.
    unique = dict.fromkeys(str(item[4][0]) for item in found if "%" not in str(item[4][0]))
    return tuple(unique)[:_MAX_ADDRESSES]


def _has_ipv6(name: str) -> bool:
    try:
        return bool(_addresses(name, socket.AF_INET6))
    except OSError:
        return False


_NO_SUCH_FAMILY = frozenset((socket.EAI_NODATA, socket.EAI_ADDRFAMILY))
_PROBLEMS = {
    socket.EAI_NONAME: "no such name",
    socket.EAI_NODATA: "it has no address",
    socket.EAI_AGAIN: "the name servers do not answer",
    socket.EAI_FAIL: "the name servers refuse to answer",
}
