"""The table of failures: for each one our exception, those of other libraries, and the exit code.

A row is chosen by ``condition`` and ``ext.error`` of the daemon's error packet; without
``ext.error`` (Zurl gives none) by the condition alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from . import errors

if TYPE_CHECKING:
    from .request import Request

__all__ = ["FAILURES", "Failure", "error_of", "exit_code", "failure_of"]


@dataclass(frozen=True, slots=True)
class Failure:
    """One row.

    Attributes:
        condition: of the error packet; None where the gateway itself fails.
        error: value of ``ext.error``; None: any that has no row of its own. A value that ends with
            a dash matches all that begin with it.
        exception: of ``zurl_py.client``.
        httpx: name of httpx's exception, of which the adapter may raise a subclass.
        requests: name of the exception of requests, of which the adapter may raise a subclass.
        exit_code: of the command line; curl's number where curl has one.
        text: what happened, in words for people.
    """

    condition: str | None
    error: str | None
    exception: type[errors.ZurlError]
    httpx: str
    requests: str
    exit_code: int
    text: str


def _rows() -> tuple[Failure, ...]:
    bad, connection = "bad-request", "remote-connection-failed"
    other = "undefined-condition"
    e = errors
    return (
        Failure(bad, "bad-uri", e.BadRequest, "UnsupportedProtocol", "InvalidURL", 3,
                "the URI cannot be used"),
        Failure(bad, "bad-header", e.BadRequest, "LocalProtocolError", "InvalidHeader", 3,
                "a header cannot be used"),
        Failure(bad, "bad-client-cert", e.BadRequest, "LocalProtocolError", "SSLError", 3,
                "the client certificate cannot be used"),
        Failure(bad, None, e.BadRequest, "LocalProtocolError", "InvalidURL", 3,
                "the request cannot be used"),
        Failure("content-not-allowed", None, e.BadRequest, "LocalProtocolError", "InvalidURL", 3,
                "the method takes no body"),
        Failure("policy-violation", None, e.PolicyViolation, "ConnectError", "ConnectionError", 120,
                "refused by the gateway's policy"),
        Failure(connection, "name-not-resolved", e.NameNotResolved, "ConnectError",
                "ConnectionError", 6, "the host's name has no address"),
        Failure(connection, None, e.ConnectFailed, "ConnectError", "ConnectionError", 7,
                "no connection to the origin"),
        Failure("connection-timeout", None, e.ConnectTimeout, "ConnectTimeout", "ConnectTimeout",
                28, "connecting took too long"),
        Failure("session-timeout", None, e.ReadTimeout, "ReadTimeout", "ReadTimeout", 28,
                "the answer took too long"),
        Failure("tls-error", "certificate-required", e.CertificateError, "ConnectError", "SSLError",
                60, "the origin wants a client certificate"),
        Failure("tls-error", "certificate-", e.CertificateError, "ConnectError", "SSLError", 60,
                "the origin's certificate is not accepted"),
        Failure("tls-error", None, e.TlsError, "ConnectError", "SSLError", 35,
                "the TLS handshake failed"),
        Failure(other, "connection-reset", e.ReadError, "ReadError", "ConnectionError", 56,
                "the connection broke"),
        Failure(other, "empty-answer", e.RemoteProtocolError, "RemoteProtocolError",
                "ConnectionError", 52, "the origin hung up without an answer"),
        Failure(other, "incomplete-body", e.RemoteProtocolError, "RemoteProtocolError",
                "ChunkedEncodingError", 18, "the body ended too early"),
        Failure(other, "not-http", e.RemoteProtocolError, "RemoteProtocolError",
                "ConnectionError", 8, "the answer is not HTTP"),
        Failure(other, "bad-framing", e.RemoteProtocolError, "RemoteProtocolError",
                "ConnectionError", 8, "the answer's framing is broken"),
        Failure(other, "bad-encoding", e.DecodingError, "DecodingError", "ContentDecodingError", 61,
                "the body is not coded as it says"),
        Failure(other, "stopping", e.GatewayLost, "ReadError", "ConnectionError", 121,
                "the gateway went away"),
        Failure(other, None, e.ReadError, "ReadError", "ConnectionError", 56,
                "there is no usable answer"),
        Failure("max-size-exceeded", None, e.MaxSizeExceeded, "ReadError", "ConnectionError", 63,
                "the answer is larger than allowed"),
        Failure("too-many-redirects", None, e.TooManyRedirects, "TooManyRedirects",
                "TooManyRedirects", 47, "too many redirects"),
        Failure("rejected", None, e.InvalidStatus, "ConnectError", "ConnectionError", 122,
                "the origin refused the WebSocket"),
        Failure("frame-too-large", None, e.RemoteProtocolError, "RemoteProtocolError",
                "ConnectionError", 56, "a WebSocket frame is too large"),
        # Failures without an error packet.
        Failure(None, "no-gateway", e.GatewayUnavailable, "ConnectError", "ConnectionError", 121,
                "no gateway is there"),
        Failure(None, "gateway-lost", e.GatewayLost, "ReadError", "ConnectionError", 121,
                "the gateway went away"),
        Failure(None, "write-timeout", e.WriteTimeout, "WriteTimeout", "ConnectionError", 28,
                "the origin takes no more of the body"),
        Failure(None, "pool-timeout", e.PoolTimeout, "PoolTimeout", "ConnectTimeout", 28,
                "the gateway has not taken the request"),
    )  # fmt: skip


FAILURES: Final = _rows()
"""Every row; the condition's own comes after those of its errors."""

_BY_CONDITION: Final[dict[str | None, list[Failure]]] = {}
for _row in FAILURES:
    _BY_CONDITION.setdefault(_row.condition, []).append(_row)
del _row
_UNKNOWN: Final = _BY_CONDITION["undefined-condition"][-1]
_BY_EXCEPTION: Final = {row.exception: row for row in reversed(FAILURES)}


def failure_of(condition: str | None, error: str | None = None) -> Failure:
    """The row for a condition and an error."""
    for row in _BY_CONDITION.get(condition, ()):
        if row.error is None or row.error == error:
            return row
        if row.error[-1] == "-" and error is not None and error.startswith(row.error):
            return row
    return _UNKNOWN


def failure_of_exception(error: errors.ZurlError) -> Failure:
    """The row for an exception, whether it came from a packet or from this library."""
    if error.condition is not None:
        return failure_of(error.condition, error.error)
    for kind in type(error).__mro__:
        row = _BY_EXCEPTION.get(kind)
        if row is not None:
            return row
    return _UNKNOWN


def exit_code(error: errors.ZurlError) -> int:
    """The exit code of a command that fails with this error."""
    return failure_of_exception(error).exit_code


def error_of(
    condition: str,
    error: str | None = None,
    detail: str | None = None,
    request: Request | None = None,
) -> errors.ZurlError:
    """The exception for an error packet, by its ``condition`` and two items of its ``ext``."""
    row = failure_of(condition, error)
    message = row.text
    if detail:
        message += f": {detail}"
    message += f" ({condition}{f', {error}' if error else ''})"
    if request is not None:
        message = f"{request.method} {request.shown_url}: {message}"
    return row.exception(message, condition=condition, error=error, detail=detail, request=request)
