"""Runs coroutines for threads and for tasks, so that code with ``await`` is written only once.

All waiting is done by a ``Signal``. A thread's signal blocks in ``wait``; so a coroutine that only
waits for such signals never suspends, and one step runs it to its end.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, Protocol, TypeVar

__all__ = ["Runtime", "Signal", "ThreadRuntime", "current_runtime", "iterate", "run"]

_T = TypeVar("_T")


def run(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine that only waits for signals of a ``ThreadRuntime``; returns its result."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    coroutine.close()
    raise RuntimeError("a coroutine awaited something asynchronous in a synchronous client")


def iterate(items: AsyncIterator[_T]) -> Iterator[_T]:
    """The items of an asynchronous iterator of that kind."""
    try:
        while True:
            yield run(anext(items))  # type: ignore[arg-type]
    except StopAsyncIteration:
        return


class Signal(Protocol):
    """An event for one waiter, set by another thread. It may be set before the wait begins."""

    runtime: Runtime

    def set(self) -> None:
        """Wake the waiter, or the next one. Called by ``Runtime.wake``."""

    async def wait(self) -> None:
        """Wait until it is set, and unset it."""


class Runtime(Protocol):
    """The environment of the caller: threads, asyncio or trio."""

    def signal(self) -> Signal:
        """A signal for one waiter."""

    def wake(self, signals: list[Signal]) -> None:
        """Set signals of this runtime. Called by another thread."""


class _ThreadSignal:
    __slots__ = ("_lock", "runtime")

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self._lock = threading.Lock()
        self._lock.acquire()

    def set(self) -> None:
        try:
            self._lock.release()
        except RuntimeError:  # it is set already
            pass

    async def wait(self) -> None:
        self._lock.acquire()


class ThreadRuntime:
    """Threads that block."""

    def signal(self) -> Signal:
        return _ThreadSignal(self)

    def wake(self, signals: list[Signal]) -> None:
        for signal in signals:
            signal.set()


class _AsyncioSignal:
    __slots__ = ("_future", "_is_set", "runtime")

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self._is_set = False
        self._future: asyncio.Future[None] | None = None

    def set(self) -> None:
        self._is_set = True
        future = self._future
        if future is not None and not future.done():
            future.set_result(None)

    async def wait(self) -> None:
        if not self._is_set:
            _check_loop(self.runtime)
            self._future = asyncio.get_running_loop().create_future()
            try:
                await self._future
            finally:
                self._future = None
        self._is_set = False


class _AsyncioRuntime:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)

    def signal(self) -> Signal:
        return _AsyncioSignal(self)

    def wake(self, signals: list[Signal]) -> None:
        loop = self._loop()
        if loop is None:
            return
        try:
            loop.call_soon_threadsafe(_set_all, signals)
        except RuntimeError:  # the loop is closed, so nobody waits
            pass


class _TrioSignal:
    __slots__ = ("_event", "runtime")

    def __init__(self, runtime: Runtime, event: Any) -> None:
        self.runtime = runtime
        self._event = event

    def set(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        _check_loop(self.runtime)
        await self._event.wait()
        self._event = type(self._event)()


class _TrioRuntime:
    def __init__(self, trio: Any, token: Any) -> None:
        self._trio = trio
        self._token = weakref.ref(token)

    def signal(self) -> Signal:
        return _TrioSignal(self, self._trio.Event())

    def wake(self, signals: list[Signal]) -> None:
        token = self._token()
        if token is None:
            return
        try:
            token.run_sync_soon(_set_all, signals)
        except self._trio.RunFinishedError:
            pass


def _set_all(signals: list[Signal]) -> None:
    for signal in signals:
        signal.set()


def _check_loop(runtime: Runtime) -> None:
    """Refuse to wait where nobody would be woken.

    Raises:
        RuntimeError: another event loop runs than that of the signal.
    """
    if current_runtime() is not runtime:
        raise RuntimeError("this was opened in another event loop, which alone can wait for it")


def current_runtime() -> Runtime:
    """The runtime of the calling coroutine: asyncio or trio, also under anyio.

    Raises:
        RuntimeError: it is neither.
    """
    try:
        loop: Any = asyncio.get_running_loop()
    except RuntimeError:
        trio = sys.modules.get("trio")
        if trio is None:
            raise RuntimeError("AsyncClient runs on asyncio or trio; neither is running") from None
        token = trio.lowlevel.current_trio_token()
        return _known(token) or _remember(token, _TrioRuntime(trio, token))
    return _known(loop) or _remember(loop, _AsyncioRuntime(loop))


# One for each loop, so that the signals of all its tasks are set together. It has only a weak
# reference to its loop; otherwise neither would ever be freed.
_runtimes: weakref.WeakKeyDictionary[Any, Runtime] = weakref.WeakKeyDictionary()


def _known(loop: Any) -> Runtime | None:
    return _runtimes.get(loop)


def _remember(loop: Any, runtime: Runtime) -> Runtime:
    _runtimes[loop] = runtime
    return runtime
