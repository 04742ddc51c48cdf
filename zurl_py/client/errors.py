"""The client's errors. All derive from ``ZurlError``.

::

    ZurlError
    ├── GatewayError             the gateway itself
    │   ├── GatewayUnavailable       it does not answer
    │   │   └── GatewayNotConfigured     no address was given or found
    │   └── GatewayLost              it went away during the request
    ├── BadRequest               the request cannot be used
    ├── PolicyViolation          the gateway's policy refuses it
    ├── ConnectError             no connection to the origin
    │   ├── NameNotResolved
    │   └── ConnectFailed
    ├── TlsError
    │   └── CertificateError
    ├── ZurlTimeout              also a TimeoutError
    │   ├── ConnectTimeout
    │   ├── ReadTimeout
    │   ├── WriteTimeout
    │   └── PoolTimeout              the gateway has not accepted the request
    ├── ReadError                the connection broke
    ├── RemoteProtocolError      the origin's answer is malformed
    │   └── DecodingError
    ├── MaxSizeExceeded
    ├── TooManyRedirects
    ├── HTTPStatusError          raise_for_status()
    ├── StreamError              the body was already read or closed
    ├── ClientClosed             the client was closed
    └── WebSocketError
        ├── InvalidStatus            the origin refused the handshake
        └── ConnectionClosed
            ├── ConnectionClosedOK       by codes 1000 and 1001
            └── ConnectionClosedError
                └── ConnectionLost       the gateway went away; also a GatewayLost
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import Error

if TYPE_CHECKING:
    from .request import Request
    from .response import BaseResponse

__all__ = [
    "BadRequest",
    "CertificateError",
    "ClientClosed",
    "ConnectError",
    "ConnectFailed",
    "ConnectTimeout",
    "ConnectionClosed",
    "ConnectionClosedError",
    "ConnectionClosedOK",
    "ConnectionLost",
    "DecodingError",
    "GatewayError",
    "GatewayLost",
    "GatewayNotConfigured",
    "GatewayUnavailable",
    "HTTPStatusError",
    "InvalidStatus",
    "MaxSizeExceeded",
    "NameNotResolved",
    "PolicyViolation",
    "PoolTimeout",
    "ReadError",
    "ReadTimeout",
    "RemoteProtocolError",
    "StreamError",
    "TlsError",
    "TooManyRedirects",
    "WebSocketError",
    "WriteTimeout",
    "ZurlError",
    "ZurlTimeout",
]


class ZurlError(Error):
    """A request, or the gateway, failed.

    Attributes:
        condition: of ZHTTP's error packet, such as ``policy-violation``; None where there was none.
        error: a stable short name, such as ``name-not-resolved``; None where the gateway gave none.
        detail: description of the error; the message, if it was not reported by a packet.
        request: the request, where it is known.
    """

    def __init__(
        self,
        message: str = "",
        *,
        condition: str | None = None,
        error: str | None = None,
        detail: str | None = None,
        request: Request | None = None,
    ) -> None:
        super().__init__(message)
        self.condition = condition
        self.error = error
        self.detail = (message or None) if detail is None and condition is None else detail
        self.request = request


class GatewayError(ZurlError):
    """The gateway itself failed, not an origin."""


class GatewayUnavailable(GatewayError):
    """No gateway answers; the text names its endpoint."""


class GatewayNotConfigured(GatewayUnavailable):
    """No gateway address was given or found; the text says where it was looked for."""


class GatewayLost(GatewayError):
    """The gateway went away while the request was in flight; it may have been carried out."""


class BadRequest(ZurlError):
    """The request cannot be used as it is: its URI, a header, a field."""


class PolicyViolation(ZurlError):
    """The gateway's policy refuses the origin; ``error`` is the code of the rule."""


class ConnectError(ZurlError):
    """The connection to the origin could not be made."""


class NameNotResolved(ConnectError):
    """The host's name has no address."""


class ConnectFailed(ConnectError):
    """The origin refused the connection or is unreachable, or the proxy failed."""


class TlsError(ZurlError):
    """The TLS handshake failed."""


class CertificateError(TlsError):
    """The origin's certificate is not accepted, or the origin demands a client certificate."""


class ZurlTimeout(ZurlError, TimeoutError):
    """A time limit was exceeded."""


class ConnectTimeout(ZurlTimeout):
    """Connecting to the origin took too long."""


class ReadTimeout(ZurlTimeout):
    """The answer, or the next part of it, did not come in time."""


class WriteTimeout(ZurlTimeout):
    """The origin accepted no part of the request's body in time."""


class PoolTimeout(ZurlTimeout):
    """The gateway did not accept the request in time: it has reached its limit of requests."""


class ReadError(ZurlError):
    """The connection was lost before the answer was complete."""


class RemoteProtocolError(ZurlError):
    """The origin's answer is not HTTP, or ends too early."""


class DecodingError(RemoteProtocolError):
    """The body is not encoded as ``Content-Encoding`` says."""


class MaxSizeExceeded(ZurlError):
    """The answer is larger than ``max_size``."""


class TooManyRedirects(ZurlError):
    """The limit of redirects was exceeded."""


class HTTPStatusError(ZurlError):
    """The answer's status is 400 or higher.

    Attributes:
        response: the answer.
    """

    response: BaseResponse


class StreamError(ZurlError):
    """The body cannot be read: it was read already, or the answer is closed."""


class ClientClosed(ZurlError):
    """The client, or the object that uses it, is closed."""


class WebSocketError(ZurlError):
    """A WebSocket could not be opened, or is closed."""


class InvalidStatus(WebSocketError):
    """The origin answered the handshake with a status other than 101.

    Attributes:
        response: the answer, with status, headers and body.
    """

    response: BaseResponse


class ConnectionClosed(WebSocketError):
    """The WebSocket is closed.

    Attributes:
        code: of the close frame; 1005 where it had none, 1006 where there was no frame.
        reason: text of the close frame.
    """

    code: int = 1006
    reason: str = ""


class ConnectionClosedOK(ConnectionClosed):
    """Closed normally, with 1000, 1001 or no code."""


class ConnectionClosedError(ConnectionClosed):
    """Closed because of an error, or lost."""


class ConnectionLost(ConnectionClosedError, GatewayLost):
    """The gateway went away while the WebSocket was open."""
