"""Ports at which origins offer HTTP/3 (Alt-Svc, RFC 7838).

They are used where HTTP/3 is allowed. Only ports of the same host count: an origin must not be able
to direct requests to another host.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..cache import remember

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

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[Key, tuple[int, float]] = {}

    def port(self, key: Key, now: float) -> int | None:
        """The port that an origin has named; None if it named none, or that has expired."""
        known = self._known.get(key)
        return known[0] if known is not None and now < known[1] else None

    def forget(self, key: Key) -> None:
        """Remove an origin's port: it does not answer."""
        self._known.pop(key, None)

    def clear(self) -> None:
        """Forget all."""
        self._known.clear()

    def read(self, key: Key, lines: Iterable[bytes], now: float) -> None:
        """Read Alt-Svc from the lines of a head."""
        for line in lines:
            if line[: len(_NAME)].lower() == _NAME and len(line) <= _MAX_FIELD:
                self._take(key, line[len(_NAME) :].decode("latin-1").strip(), now)

    def _take(self, key: Key, value: str, now: float) -> None:
        if value == "clear":
            self.forget(key)
            return
        host = key[0][1]
        for protocol, authority, parameters in _ALTERNATIVE.findall(value):
            found = _AUTHORITY.fullmatch(authority)
            if protocol != "h3" or found is None or found[1].lower() not in ("", host, f"[{host}]"):
                continue
            age = _MAX_AGE.search(parameters)
            seconds = min(float(age[1]), _LONGEST) if age is not None else _USUAL
            if int(found[2]) <= 65535:
                remember(self._known, key, (int(found[2]), now + seconds), _MAX_ORIGINS)
                return
