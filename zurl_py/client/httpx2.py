"""httpx2 through a gateway, by changing one line.

::

    from zurl_py.client.httpx2 import Client

    with Client("embedded") as client:
        client.get("https://example.com/")

httpx2 itself does redirects, cookies, authentication and decoding; the gateway has connections, TLS
and the policy.
"""

from __future__ import annotations

from typing import Any, Unpack

import httpx2

from . import errors
from .address import GatewayAddresses
from .client import ClientOptions
from .httpx_transport import (
    AsyncStream,
    AsyncTransport,
    Library,
    Stream,
    Transport,
    split_arguments,
)

__all__ = [
    "AsyncClient",
    "AsyncZurlTransport",
    "Client",
    "GatewayUnavailable",
    "MaxSizeExceeded",
    "PolicyViolation",
    "ZurlTransport",
]


class PolicyViolation(httpx2.ConnectError):
    """The gateway's policy refuses the origin; ``error`` is the code of the rule."""


class GatewayUnavailable(httpx2.ConnectError):
    """No gateway answers; the text names its endpoint."""


class MaxSizeExceeded(httpx2.ReadError):
    """The answer is larger than ``max_size``."""


_LIBRARY = Library(
    httpx2,
    {
        errors.PolicyViolation: PolicyViolation,
        errors.GatewayUnavailable: GatewayUnavailable,
        errors.GatewayNotConfigured: GatewayUnavailable,
        errors.MaxSizeExceeded: MaxSizeExceeded,
    },
)


class _Stream(Stream, httpx2.SyncByteStream):
    pass


class _AsyncStream(AsyncStream, httpx2.AsyncByteStream):
    pass


class ZurlTransport(Transport, httpx2.BaseTransport):
    """For ``httpx2.Client(transport=…)``.

    Args:
        gateway: gateway address: see ``zurl_py.client.Client``.
        defaults: for all requests, and ``policy`` of an embedded gateway: see ``ClientOptions``.
    """

    _library = _LIBRARY
    _stream = _Stream

    def __init__(self, gateway: GatewayAddresses = None, **defaults: Unpack[ClientOptions]) -> None:
        self._open(gateway, defaults)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request; returns when the answer's head has come."""
        answer: httpx2.Response = self._handle(request)
        return answer


class AsyncZurlTransport(AsyncTransport, httpx2.AsyncBaseTransport):
    """For ``httpx2.AsyncClient(transport=…)``, under asyncio and trio.

    Args:
        gateway: gateway address: see ``zurl_py.client.Client``.
        defaults: for all requests, and ``policy`` of an embedded gateway: see ``ClientOptions``.
    """

    _library = _LIBRARY
    _stream = _AsyncStream

    def __init__(self, gateway: GatewayAddresses = None, **defaults: Unpack[ClientOptions]) -> None:
        self._open(gateway, defaults)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request; returns when the answer's head has come."""
        answer: httpx2.Response = await self._handle(request)
        return answer


def Client(gateway: GatewayAddresses = None, **arguments: Any) -> httpx2.Client:
    """An ``httpx2.Client`` whose requests all go through the gateway.

    Args:
        gateway: gateway address: see ``zurl_py.client.Client``.
        arguments: of ``httpx2.Client``, and of ``ZurlTransport``.

    Raises:
        ArgumentRefused: ``proxy``, ``mounts``, ``verify``, ``cert`` or ``transport``.
    """
    ours, theirs = split_arguments(arguments)
    return httpx2.Client(transport=ZurlTransport(gateway, **ours), **theirs)


def AsyncClient(gateway: GatewayAddresses = None, **arguments: Any) -> httpx2.AsyncClient:
    """An ``httpx2.AsyncClient`` whose requests all go through the gateway.

    Args:
        gateway: gateway address: see ``zurl_py.client.Client``.
        arguments: of ``httpx2.AsyncClient``, and of ``AsyncZurlTransport``.

    Raises:
        ArgumentRefused: ``proxy``, ``mounts``, ``verify``, ``cert`` or ``transport``.
    """
    ours, theirs = split_arguments(arguments)
    return httpx2.AsyncClient(transport=AsyncZurlTransport(gateway, **ours), **theirs)
