"""Encodes attempts as ZHTTP requests.

TNetStrings are written here by hand: the common part of an endpoint's requests is encoded once, so
that a delivery costs a third of what a general encoder takes.
"""

from __future__ import annotations

from typing import Final

from .model import Delivery, Settings

__all__ = ["RequestEncoder"]

_CONTENT_TYPE: Final = (b"Content-Type", b"application/json")
_EVENT: Final = b"webhook-event"

Pairs = list[tuple[bytes, bytes]]


class RequestEncoder:
    """Encodes the attempts at one endpoint.

    Args:
        answer_kept: bytes of the answer's body that the gateway returns.
    """

    __slots__ = ("_end", "_headers", "_names", "_pairs", "_start")

    def __init__(self, settings: Settings, answer_kept: int) -> None:
        headers: Pairs = list(settings.headers)
        if not any(name.lower() == b"content-type" for name, _ in headers):
            headers.append(_CONTENT_TYPE)
        self._headers = headers
        self._names = {name.lower() for name, _ in headers}
        self._pairs = b"".join(_pair(name, value) for name, value in headers)
        self._start = b"6:method,4:POST,3:uri," + _string(settings.uri.encode())
        self._end = b"%b%b%b" % (
            _number(b"timeout", settings.timeout),
            _number(b"max-size", answer_kept),
            b"3:ext,34:8:truncate,4:true!6:timing,4:true!}",
        )

    def encode(self, id: bytes, delivery: Delivery, signature: Pairs) -> bytes:
        """The packet of one attempt.

        Args:
            signature: signature headers of this attempt.
        """
        own = [_pair(name, value) for name, value in signature]
        if delivery.event is not None:
            own.append(_pair(_EVENT, delivery.event.encode()))
        headers = b"".join((self._common(delivery), *own))
        body = delivery.body
        parts = (
            b"2:id,%b" % _string(id),
            self._start,
            b"7:headers,%d:" % len(headers),
            headers,
            b"]4:body,%d:" % len(body),
            body,
            b",",
            self._end,
        )
        return b"".join((b"T%d:" % sum(map(len, parts)), *parts, b"}"))

    def _common(self, delivery: Delivery) -> bytes:
        """The headers of the endpoint and of the message; the message's override."""
        if not delivery.headers:
            return self._pairs
        given = {name.lower() for name, _ in delivery.headers}
        pairs = [_pair(name, value) for name, value in delivery.headers]
        if not given & self._names:
            return b"".join((self._pairs, *pairs))
        kept = [_pair(name, value) for name, value in self._headers if name.lower() not in given]
        return b"".join(kept + pairs)


def _string(value: bytes) -> bytes:
    return b"%d:%b," % (len(value), value)


def _pair(name: bytes, value: bytes) -> bytes:
    both = b"%d:%b,%d:%b," % (len(name), name, len(value), value)
    return b"%d:%b]" % (len(both), both)


def _number(name: bytes, value: int) -> bytes:
    digits = b"%d" % value
    return b"%d:%b,%d:%b#" % (len(name), name, len(digits), digits)
