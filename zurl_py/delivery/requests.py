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
        self._end = b",%b%b%b}" % (
            _number(b"timeout", settings.timeout),
            _number(b"max-size", answer_kept),
            b"3:ext,34:8:truncate,4:true!6:timing,4:true!}",
        )

    def encode(self, id: bytes, delivery: Delivery, signature: Pairs) -> bytes:
        """The packet of one attempt.

        Args:
            signature: signature headers of this attempt.
        """
        headers = self._common(delivery) if delivery.headers else self._pairs
        for name, value in signature:  # as _pair() does it, which costs a call for each
            pair = b"%d:%b,%d:%b," % (len(name), name, len(value), value)
            headers += b"%d:%b]" % (len(pair), pair)
        if delivery.event is not None:
            headers += _pair(_EVENT, delivery.event.encode())
        body = delivery.body
        start = b"2:id,%d:%b,%b7:headers,%d:%b]4:body,%d:" % (
            len(id),
            id,
            self._start,
            len(headers),
            headers,
            len(body),
        )
        length = len(start) + len(body) + len(self._end) - 1  # without the brace at the end
        return b"".join((b"T%d:" % length, start, body, self._end))

    def _common(self, delivery: Delivery) -> bytes:
        """The headers of the endpoint and of the message; the message's override."""
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
