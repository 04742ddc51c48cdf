"""Multi handles that may share connections, and which of them the next transfer goes to."""

from __future__ import annotations

from collections.abc import Callable

import pycurl

from .multi import Multi

__all__ = ["MultiGroup"]

# libcurl searches all connections of a host at every request, and its other lists grow too: with
# 8,000 requests open on one multi handle a small one costs five times as much.
_TRANSFERS_PER_MULTI = 256
# Many hosts make long chains in the hash tables of libcurl's connection pool and DNS cache, which
# do not grow. So each host has its home among a few; its connections and TLS sessions are there.
_HOMES = 8


class MultiGroup:
    """Multi handles of one trust class.

    libcurl's connection pool knows nothing of the policy. A connection opened under
    ignore-policies lives in another group than those of requests without that privilege.

    Args:
        make: makes a multi handle; raises ``pycurl.error`` or OSError where no descriptor is left.
        single: a host has one multi handle only, however full that is: it counts connections.
    """

    def __init__(self, make: Callable[[], Multi], single: bool = False) -> None:
        self._make = make
        self._single = single
        self.multis: list[Multi] = []
        self._homes: list[Multi | None] = [None] * _HOMES
        self._overflow: Multi | None = None

    def choose(self, host: str) -> Multi | None:
        """The multi handle for the next transfer to a host: the host's own, until that is full.

        None, if none is there and none can be made.
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
        except (pycurl.error, OSError):  # no descriptor left: those that are there do for now
            return None
        self.multis.append(multi)
        return multi

    def clear(self) -> list[Multi]:
        """Take out all multi handles: requests to come get new ones."""
        multis, self.multis = self.multis, []
        self._homes = [None] * _HOMES
        self._overflow = None
        return multis

    def drop(self, multi: Multi) -> None:
        """Take out a multi handle that is of no use any more."""
        if multi in self.multis:
            self.multis.remove(multi)
        if self._overflow is multi:
            self._overflow = None
        self._homes = [None if home is multi else home for home in self._homes]
