"""Ports at which origins offer HTTP/3 (Alt-Svc, RFC 7838).

They are used where HTTP/3 is allowed. Only ports of the same host count: an origin must not be able
to direct requests to another host.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..cache import remember
from .origins import WITHOUT_QUIC

__all__ = ["Alternatives"]

_MAX_ORIGINS = 16_384
_LONGEST = 604_800.0  # seconds: a week
_USUAL = 86_400.0  # seconds, the default of ma (section 3.1)
_MAX_FIELD = 4096  # bytes
_NAME = b"alt-svc:"
_ALTERNATIVE = re.compile(
    r'\s*([^\s=,;"]+)="([^"]*)"((?:\s*;\s*[^\s=,;"]+=(?:"[^"]*"|[^\s,;"]*))*)'
)
_MAX_AGE = re.compile(r";\s*ma=\"?(\d{1,9})")
_AUTHORITY = re.compile(r"(.*):([1-9]\d{0,4})")

Key = tuple[tuple[str, str, int], bool]
"""An origin, and whether the request had the privilege ignore-policies."""


class Alternatives:
    """The ports at which origins are reached over QUIC."""

    __slots__ = ("_failed", "_known")

    def __init__(self) -> None:
        self._known: dict[Key, tuple[int, float]] = {}
        self._failed: dict[tuple[Key, int], float] = {}  # time until which a port is not used again

    def port(self, key: Key, now: float) -> int | None:
        """The port that an origin has named; None if it named none, or that has expired."""
        known = self._known.get(key)
        return known[0] if known is not None and now < known[1] else None

    def failed(self, key: Key, now: float) -> None:
        """Remove an origin's port that does not answer; the origin will name it again."""
        known = self._known.pop(key, None)
        if known is not None:
            remember(self._failed, (key, known[0]), now + WITHOUT_QUIC, _MAX_ORIGINS)

    def clear(self) -> None:
        """Forget all."""
        self._known.clear()
        self._failed.clear()

    def read(self, key: Key, lines: Iterable[bytes], now: float) -> None:
        """Read Alt-Svc from the lines of a head."""
        for line in lines:
            if line[: len(_NAME)].lower() == _NAME and len(line) <= _MAX_FIELD:
                self._take(key, line[len(_NAME) :].decode("latin-1").strip(), now)

    def read_fields(self, key: Key, headers: Iterable[tuple[bytes, bytes]], now: float) -> None:
        """Read Alt-Svc from the fields of a head."""
        for name, value in headers:
            if name.lower() == b"alt-svc" and len(value) <= _MAX_FIELD:
                self._take(key, value.decode("latin-1").strip(), now)

    def _take(self, key: Key, value: str, now: float) -> None:
        if value == "clear":
            self._known.pop(key, None)
            return
        host = key[0][1]
        for protocol, authority, parameters in _ALTERNATIVE.findall(value):
            found = _AUTHORITY.fullmatch(authority)
            if protocol != "h3" or found is None or found[1].lower() not in ("", host, f"[{host}]"):
                continue
            age = _MAX_AGE.search(parameters)
            seconds = min(float(age[1]), _LONGEST) if age is not None else _USUAL
            port = int(found[2])
            if port <= 65535 and self._failed.get((key, port), 0.0) <= now:
                remember(self._known, key, (port, now + seconds), _MAX_ORIGINS)
                return
