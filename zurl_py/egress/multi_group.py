"""Groups of multi handles, and the choice of one for the next transfer."""

from __future__ import annotations

from collections.abc import Callable

import pycurl

from .multi import Multi

__all__ = ["MultiGroup"]

# For each request libcurl searches all connections of its host, and other lists: while 8,000
# requests are open on one multi handle, a small one costs five times as much.
_TRANSFERS_PER_MULTI = 256
# The hash tables of libcurl's connection pool and DNS cache do not grow, so many hosts make their
# chains long. So each host has one of a few multi handles, with its connections and TLS sessions.
_HOMES = 8


class MultiGroup:
    """Multi handles of one trust class.

    libcurl's connection pool does not know the policy. So requests with ignore-policies have a
    group, and connections, of their own.

    Args:
        make: makes a multi handle; raises ``pycurl.error`` or OSError where no descriptor is left.
        single: use one multi handle per host, even a full one, as it limits the host's connections.
    """

    def __init__(self, make: Callable[[], Multi], single: bool = False) -> None:
        self._make = make
        self._single = single
        self.multis: list[Multi] = []
        self._homes: list[Multi | None] = [None] * _HOMES
        self._overflow: Multi | None = None

    def __repr__(self) -> str:
        return f"<MultiGroup {self.multis!r}>"

    def choose(self, host: str) -> Multi | None:
        """The multi handle for the next transfer to a host: the host's own, unless it is full.

        None if there is none, and none can be made.
        """
        home = hash(host) % _HOMES
        multi = self._homes[home]
        if multi is None:
            multi = self._homes[home] = self._add()
            if multi is None:
                return self._least_loaded()
        if multi.active < _TRANSFERS_PER_MULTI or self._single:
            return multi
        multi = self._overflow
        if multi is None or multi.active >= _TRANSFERS_PER_MULTI:
            multi = self._least_loaded()
            assert multi is not None
            if multi.active > _TRANSFERS_PER_MULTI // 2:
                multi = self._add() or multi
            self._overflow = multi
        return multi

    def _least_loaded(self) -> Multi | None:
        return min(self.multis, key=lambda multi: multi.active, default=None)

    def _add(self) -> Multi | None:
        try:
            multi = self._make()
        except (pycurl.error, OSError):  # no descriptor left: use those that there are
            return None
        self.multis.append(multi)
        return multi

    def clear(self) -> list[Multi]:
        """Remove all multi handles; further requests get new ones."""
        multis, self.multis = self.multis, []
        self._homes = [None] * _HOMES
        self._overflow = None
        return multis

    def drop(self, multi: Multi) -> None:
        """Remove a multi handle that must not be used any more."""
        if multi in self.multis:
            self.multis.remove(multi)
        if self._overflow is multi:
            self._overflow = None
        self._homes = [None if home is multi else home for home in self._homes]
