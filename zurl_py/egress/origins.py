"""Knowledge about origins: which HTTP versions they speak, and connections that are being made."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from ..cache import remember
from ..loop import Loop, Timer

__all__ = ["SHARE_TIMEOUT", "WITHOUT_QUIC", "FirstConnections", "Origins"]

_Waiter = TypeVar("_Waiter")

WITHOUT_QUIC = 300.0
"""Seconds until QUIC is tried again with an origin that could not be reached over it."""

_WARM = 1.0  # seconds after a connection was made in which no request waits for another's
_MAX_ORIGINS = 16_384
SHARE_TIMEOUT = 1.0
"""Seconds that a request waits for another's connection, to share it."""


class Origins:
    """The version of HTTP that each origin spoke last, by host and port: 1, 2 or 3."""

    __slots__ = ("_only_http2", "_versions", "_without_quic")

    def __init__(self) -> None:
        self._only_http2: dict[tuple[str, int], bool] = {}
        self._versions: dict[tuple[str, int], int] = {}
        self._without_quic: dict[tuple[str, int], float] = {}

    def refused_http1(self, origin: tuple[str, int]) -> None:
        """Note that an origin does not speak HTTP/1.1."""
        remember(self._only_http2, origin, True, _MAX_ORIGINS)

    def takes_http1(self, origin: tuple[str, int]) -> bool:
        """Whether to try HTTP/1.1."""
        return origin not in self._only_http2

    def quic_failed(self, origin: tuple[str, int], now: float) -> None:
        """Note that TCP connected before QUIC: do not try QUIC again for a while."""
        remember(self._without_quic, origin, now + WITHOUT_QUIC, _MAX_ORIGINS)

    def takes_quic(self, origin: tuple[str, int], now: float) -> bool:
        """Whether to try QUIC."""
        return self._without_quic.get(origin, 0.0) <= now

    def version(self, origin: tuple[str, int]) -> int | None:
        """The version that an origin spoke last; None if that is not known."""
        return self._versions.get(origin)

    def spoke(self, origin: tuple[str, int], version: int) -> None:
        """Note the version of an origin's answer."""
        if self._versions.get(origin) != version:
            remember(self._versions, origin, version, _MAX_ORIGINS)


class FirstConnections(Generic[_Waiter]):
    """Connections that are being made to origins which may speak HTTP/2.

    Twenty simultaneous requests to a new origin are to share one connection. So the first connects,
    and the others wait until it has a connection, but for a second at most, as there may never be
    one. (libcurl's own ``CURLOPT_PIPEWAIT`` has no such limit.)

    Attributes:
        released: transfers whose wait is over.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._leaders: dict[object, _Waiter] = {}
        self._waiting: dict[object, deque[_Waiter]] = {}
        self._timers: dict[object, Timer] = {}
        self._warm_until: dict[object, float] = {}
        self.released: list[_Waiter] = []

    def is_warm(self, key: object) -> bool:
        """Whether there was a connection within the last second: then no transfer needs to wait."""
        return self._loop.now < self._warm_until.get(key, 0.0)

    def leads(self, key: object) -> bool:
        """Whether a transfer is connecting for others."""
        return key in self._leaders

    def lead(self, key: object, leader: _Waiter) -> None:
        """Let ``leader`` connect for others; `settle` has to follow."""
        self._leaders[key] = leader

    def wait(self, key: object, waiter: _Waiter) -> None:
        """Wait for the connection that is being made."""
        waiting = self._waiting.get(key)
        if waiting is None:
            waiting = self._waiting[key] = deque()
            timer = self._timers[key] = Timer(lambda: self._release(key))
            self._loop.set_timer(timer, self._loop.now + SHARE_TIMEOUT)
        waiting.append(waiter)

    def leave(self, key: object, waiter: _Waiter) -> None:
        """End the wait of ``waiter``."""
        waiting = self._waiting.get(key)
        if waiting is not None and waiter in waiting:
            waiting.remove(waiter)
        elif waiter in self.released:
            self.released.remove(waiter)

    def waiting(self) -> list[_Waiter]:
        """All transfers that wait."""
        return [waiter for waiting in self._waiting.values() for waiter in waiting]

    def settle(self, key: object, leader: _Waiter, connected: bool) -> None:
        """The leader has connected, or has failed: release those that wait."""
        if self._leaders.get(key) is leader:
            del self._leaders[key]
            if connected:
                remember(self._warm_until, key, self._loop.now + _WARM, _MAX_ORIGINS)
            self._release(key)

    def _release(self, key: object) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            self._loop.cancel_timer(timer)
            self.released.extend(self._waiting.pop(key))
