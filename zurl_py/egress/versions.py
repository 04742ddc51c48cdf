"""The HTTP versions that a transfer may use, and what its result says about the origin."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Final

import pycurl

from ..loop import Loop, Timer
from .alternatives import Alternatives
from .answer import AnswerTransfer
from .carrier import Carried
from .datagrams import received_since
from .handles import EasyHandle
from .origins import Origins
from .placement import Place, connects_to
from .request import HttpRequest
from .resolver import Resolver
from .window import StreamBudget

__all__ = ["HttpVersions"]

_SAFE: Final = frozenset((b"GET", b"HEAD", b"OPTIONS"))
# Seconds that the peer of a kept QUIC connection may leave a request unacknowledged: one that can
# be sent twice without harm, and others.
_SILENCE_LIMIT: Final = 1.0
_UNSAFE_SILENCE_LIMIT: Final = 3.0
_VERSIONS: Final = {pycurl.CURL_HTTP_VERSION_2_0: 2, 30: 3}  # CURL_HTTP_VERSION_3


class HttpVersions:
    """Sets the options for HTTP/1.1, 2 and 3 on handles.

    Args:
        ask_again: starts a transfer again on a new connection.
    """

    def __init__(
        self,
        loop: Loop,
        origins: Origins,
        resolver: Resolver[Carried],
        budget: StreamBudget,
        ask_again: Callable[[Carried], None],
    ) -> None:
        self._loop = loop
        self._origins = origins
        self._resolver = resolver
        self._budget = budget
        self._ask_again = ask_again
        self._alternatives = Alternatives()
        self._watches: dict[Carried, Timer] = {}

    def prepare(self, handle: EasyHandle, transfer: Carried, place: Place) -> None:
        """Set the versions that this transfer may use."""
        request, settings = transfer.request, place.route.settings
        version = request.http_version or settings.http_version
        if place.http1:
            handle.limit_to_http1()
            handle.spares_memory = place.spares_memory
            return
        if version == "1.1" or request.target.scheme != "https":
            return
        if version == "3" and not settings.proxy:
            self._prepare_quic(handle, transfer, place)
        if transfer.streamed:
            self._bound_stream(handle, request)

    def _prepare_quic(self, handle: EasyHandle, transfer: Carried, place: Place) -> None:
        request = transfer.request
        target, now = request.target, self._loop.now
        port = self._alternatives.port((target.origin, request.privileged), now)
        # The origin's own port is tried in any case, and TCP after it.
        if port is not None and port != target.port and _may_go_to(port, request):
            handle.use_alternative(port)
            name, _ = connects_to(request)
            answer = self._resolver.known(name)
            if answer is not None:
                more = place.multi.addresses_to_tell(name, port, answer.addresses)
                handle.set(pycurl.RESOLVE, [*place.resolve, *more])
        elif not self._origins.takes_quic((target.host, target.port), now):
            handle.limit_to_tcp()
            return
        handle.tries_quic = True
        if request.upload:
            # When a streamed upload is aborted, libcurl closes the whole connection.
            handle.use_once()
        elif not transfer.avoids_kept:
            # A kept QUIC connection whose other end is gone is silent; nothing reports its end.
            wait = _SILENCE_LIMIT if request.method in _SAFE else _UNSAFE_SILENCE_LIMIT
            check = partial(self._check_silence, transfer, time.time())
            watch = self._watches[transfer] = Timer(check)
            self._loop.set_timer(watch, now + wait)

    def _bound_stream(self, handle: EasyHandle, request: HttpRequest) -> None:
        """Limit what libcurl holds of a streamed answer, if its connection may be shared."""
        if self._origins.version((request.target.host, request.target.port)) == 1:
            handle.limit_to_http1()
        else:
            handle.open_window(self._budget, self._loop.now)

    def _check_silence(self, transfer: Carried, began: float) -> None:
        """Send a request again if its kept QUIC connection was silent since it ``began``.

        Not one datagram came, so none of the request's was received; or, if all acknowledgements
        were lost, the connection was lost as one by TCP is: before a byte of an answer.
        """
        handle = transfer.handle
        if handle is None or handle.answer_began or handle.curl.getinfo(pycurl.NUM_CONNECTS):
            return
        if received_since(handle.curl.getinfo(pycurl.ACTIVESOCKET), began):
            return
        handle.set(pycurl.FORBID_REUSE, 1)
        self._ask_again(transfer)

    def leave(self, transfer: Carried) -> None:
        """Note that a transfer is removed from libcurl."""
        if self._watches:
            watch = self._watches.pop(transfer, None)
            if watch is not None:
                self._loop.cancel_timer(watch)

    # -- results -------------------------------------------------------------------------------

    def learn(self, transfer: Carried) -> None:
        """Remember the HTTP version of an answer over TLS."""
        handle, multi, target = transfer.handle, transfer.multi, transfer.request.target
        if handle is None or multi is None:
            return
        key = (target.origin, transfer.request.privileged)
        if handle.header_lines:
            self._alternatives.read(key, handle.header_lines, self._loop.now)
        elif isinstance(transfer, AnswerTransfer) and transfer.head is not None:
            self._alternatives.read_fields(key, transfer.head.headers, self._loop.now)
        origin = (target.host, target.port)
        version = _VERSIONS.get(handle.curl.getinfo(pycurl.INFO_HTTP_VERSION), 1)
        is_new = bool(handle.curl.getinfo(pycurl.NUM_CONNECTS))
        # HTTP/1.1 says nothing about the origin if it was the only version offered, or if the
        # connection is an old one.
        if version > 1 or (handle.offers_http2 and is_new):
            self._origins.spoke(origin, version)
        if handle.tries_quic and version < 3 and is_new:
            self._origins.quic_failed(origin, self._loop.now)
        if version == 2 and handle.peer is not None:
            multi.kept.speaks_http2((handle.peer, handle.peer_port))

    def refused_http1(self, transfer: Carried, code: int) -> bool:
        """Note an origin that does not speak HTTP/1.1, which was used although 2 is allowed.

        Returns:
            Whether this transfer has found that out by failing.
        """
        handle, request = transfer.handle, transfer.request
        if handle is None or handle.header_lines:
            return False
        origin = (request.target.host, request.target.port)
        if not handle.spares_memory:
            if request.target.scheme != "https" or not request.is_beyond_http2:
                return False
            # An origin of both versions may refuse so large fields, or our TLS.
            if code != pycurl.E_UNSUPPORTED_PROTOCOL and self._origins.version(origin) != 2:
                return False
        self._origins.refused_http1(origin)
        return True

    def forget_alternative(self, request: HttpRequest) -> None:
        """Remove the port that an origin has named: it does not answer."""
        self._alternatives.failed((request.target.origin, request.privileged), self._loop.now)

    def leave_quic(self, request: HttpRequest) -> None:
        """Note that an origin serves over TCP what it does not serve over QUIC."""
        self.forget_alternative(request)
        target = request.target
        self._origins.quic_failed((target.host, target.port), self._loop.now)

    def forget_alternatives(self) -> None:
        """Remove all ports that origins have named, as the settings have changed."""
        self._alternatives.clear()


def _may_go_to(port: int, request: HttpRequest) -> bool:
    """Whether a request may go to the port of its host that the origin has named."""
    if request.connects_elsewhere:
        return False
    target = request.target
    return request.policy.check_name(target.host, port, target.scheme).allowed
