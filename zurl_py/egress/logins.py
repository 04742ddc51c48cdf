"""Connections that a worker has authenticated, which no other worker may use.

``Authorization: NTLM`` and ``Negotiate`` authenticate a connection, not a request: the origin takes
the next request on it for one of the same user (RFC 4559 section 6). So a worker that has sent one
of these to an origin has connections of its own to that origin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .multi import Multi
from .multi_group import MultiGroup
from .request import HttpRequest

__all__ = ["Logins"]

_SCHEMES = (b"ntlm", b"negotiate")
_MAX_LOGINS = 256  # pairs of worker and origin; beyond that, the least recently used are closed
_IDLE_SECONDS = 300.0

Key = tuple[bytes, tuple[str, str, int], bool]


class Logins:
    """The groups of multi handles for connections that workers have authenticated.

    Args:
        make_multi: makes a multi handle.
        retire: called with a group that is not needed any more.

    Attributes:
        known: the groups; while empty, only requests with ``Authorization`` need a look-up here.
    """

    def __init__(
        self, make_multi: Callable[[], Multi], retire: Callable[[MultiGroup], None]
    ) -> None:
        self._make_multi = make_multi
        self._retire = retire
        self.known: dict[Key, MultiGroup] = {}  # in the order of their last use
        self._used_at: dict[Key, float] = {}

    def group(self, request: HttpRequest, now: float) -> MultiGroup | None:
        """The group for a request whose worker has authenticated at its origin, or does so now."""
        key = (request.worker, request.target.origin, request.privileged)
        group = self.known.pop(key, None)
        if group is None:
            if not logs_in(request):
                return None
            self._make_room(now)
            group = MultiGroup(self._make_multi)
        self.known[key] = group
        self._used_at[key] = now
        return group

    def _make_room(self, now: float) -> None:
        for key in list(self.known):
            old = now - self._used_at[key] > _IDLE_SECONDS
            if not old and len(self.known) < _MAX_LOGINS:
                return
            del self._used_at[key]
            self._retire(self.known.pop(key))

    def groups(self) -> Iterator[MultiGroup]:
        """All groups."""
        yield from self.known.values()


def logs_in(request: HttpRequest) -> bool:
    """Whether a request authenticates its connection."""
    if not request.headers.has_authorization:
        return False
    for line in request.headers.lines:
        name, _, value = line.partition(b":")
        if name.lower() == b"authorization":
            return value.strip().partition(b" ")[0].lower() in _SCHEMES
    return False
