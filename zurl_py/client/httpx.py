"""httpx through a gateway, by changing one line.

::

    from zurl_py.client.httpx import Client

    with Client("embedded") as client:
        client.get("https://example.com/")

httpx itself does redirects, cookies, authentication and decoding; the gateway has connections, TLS
and the policy.
"""

from __future__ import annotations

from typing import Any, Unpack

import httpx

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


class PolicyViolation(httpx.ConnectError):
    """The gateway's policy refuses the origin; ``error`` is the code of the rule."""


class GatewayUnavailable(httpx.ConnectError):
    """No gateway answers; the text names its endpoint."""


class MaxSizeExceeded(httpx.ReadError):
    """The answer is larger than ``max_size``."""


_LIBRARY = Library(
    httpx,
    {
        errors.PolicyViolation: PolicyViolation,
        errors.GatewayUnavailable: GatewayUnavailable,
        errors.GatewayNotConfigured: GatewayUnavailable,
        errors.MaxSizeExceeded: MaxSizeExceeded,
    },
)


class _Stream(Stream, httpx.SyncByteStream):
    pass


class _AsyncStream(AsyncStream, httpx.AsyncByteStream):
    pass


class ZurlTransport(Transport, httpx.BaseTransport):
    """For ``httpx.Client(transport=…)``.

    Args:
        gateway: gateway address: see ``zurl_py.client.Client``.
        defaults: for all requests, and ``policy`` of an embedded gateway: see ``ClientOptions``.
    """

    _library = _LIBRARY
    _stream = _Stream

    def __init__(self, gateway: GatewayAddresses = None, **defaults: Unpack[ClientOptions]) -> None:
        self._open(gateway, defaults)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; returns when the answer's head has come."""
        answer: httpx.Response = self._handle(request)
        return answer


class AsyncZurlTransport(AsyncTransport, httpx.AsyncBaseTransport):
    """For ``httpx.AsyncClient(transport=…)``, under asyncio and trio.

    Args:
        gateway: gateway address: see ``zurl_py.client.Client``.
        defaults: for all requests, and ``policy`` of an embedded gateway: see ``ClientOptions``.
    """

    _library = _LIBRARY
    _stream = _AsyncStream

    def __init__(self, gateway: GatewayAddresses = None, **defaults: Unpack[ClientOptions]) -> None:
        self._open(gateway, defaults)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; returns when the answer's head has come."""
        answer: httpx.Response = await self._handle(request)
        return answer


def Client(gateway: GatewayAddresses = None, **arguments: Any) -> httpx.Client:
    """An ``httpx.Client`` whose requests all go through the gateway.

    Args:
        gateway: gateway address: see ``zurl_py.client.Client``.
        arguments: of ``httpx.Client``, and of ``ZurlTransport``.

    Raises:
        ArgumentRefused: ``proxy``, ``mounts``, ``verify``, ``cert`` or ``transport``.
    """
    ours, theirs = split_arguments(arguments)
    return httpx.Client(transport=ZurlTransport(gateway, **ours), **theirs)


def AsyncClient(gateway: GatewayAddresses = None, **arguments: Any) -> httpx.AsyncClient:
    """An ``httpx.AsyncClient`` whose requests all go through the gateway.

    Args:
        gateway: gateway address: see ``zurl_py.client.Client``.
        arguments: of ``httpx.AsyncClient``, and of ``AsyncZurlTransport``.

    Raises:
        ArgumentRefused: ``proxy``, ``mounts``, ``verify``, ``cert`` or ``transport``.
    """
    ours, theirs = split_arguments(arguments)
    return httpx.AsyncClient(transport=AsyncZurlTransport(gateway, **ours), **theirs)
