"""Errors of transfers: ZHTTP condition and error name for libcurl's codes and our own checks.

Zurl's clients look at the condition. The name says more, and is stable for programs that go by it.
Both are public.
"""

from __future__ import annotations

import errno
import re
from typing import Final

import pycurl

from ..errors import Error
from ..policy import Decision
from ..zhttp import Condition

__all__ = ["ErrorName", "TransferError"]


class ErrorName:
    """Names of errors, beside the codes of policy rules (``deny``, ``allow-ports`` and so on)."""

    BAD_URI: Final = "bad-uri"
    BAD_MESSAGE: Final = "bad-message"  # libcurl refuses an option
    BAD_CLIENT_CERT: Final = "bad-client-cert"
    NAME_NOT_RESOLVED: Final = "name-not-resolved"
    CONNECTION_REFUSED: Final = "connection-refused"
    NO_DESCRIPTORS: Final = "no-descriptors"  # the process has reached its limit (ulimit -n)
    UNREACHABLE: Final = "unreachable"  # no route, no such network, reset while connecting
    PROXY_FAILED: Final = "proxy-failed"
    CONNECT_TIMEOUT: Final = "connect-timeout"
    HANDSHAKE_FAILED: Final = "handshake-failed"
    CERTIFICATE_REQUIRED: Final = "certificate-required"  # the origin demands a client certificate
    CERTIFICATE_INVALID: Final = "certificate-invalid"  # any fault other than the next five
    CERTIFICATE_EXPIRED: Final = "certificate-expired"
    CERTIFICATE_NOT_YET_VALID: Final = "certificate-not-yet-valid"
    CERTIFICATE_SELF_SIGNED: Final = "certificate-self-signed"
    CERTIFICATE_UNTRUSTED: Final = "certificate-untrusted"
    CERTIFICATE_NAME_MISMATCH: Final = "certificate-name-mismatch"
    CONNECTION_RESET: Final = "connection-reset"
    EMPTY_ANSWER: Final = "empty-answer"
    INCOMPLETE_BODY: Final = "incomplete-body"
    NOT_HTTP: Final = "not-http"
    BAD_FRAMING: Final = "bad-framing"
    BAD_ENCODING: Final = "bad-encoding"
    BAD_REDIRECT: Final = "bad-redirect"
    INSECURE_REDIRECT: Final = "insecure-redirect"  # from wss to ws
    MAX_SIZE: Final = "max-size"
    MAX_EXPANSION: Final = "max-expansion"  # max_expansion was reached
    TOO_MANY_REDIRECTS: Final = "too-many-redirects"
    CONTENT_NOT_ALLOWED: Final = "content-not-allowed"
    TOTAL_TIMEOUT: Final = "total-timeout"
    IDLE_TIMEOUT: Final = "idle-timeout"
    HOST_FAILING: Final = "host-failing"  # the circuit breaker is open (max_host_errors)
    POLICY_RELOADED: Final = "policy-reloaded"  # a reload brought rules that do not allow it
    INTERNAL: Final = "internal"  # a bug of ours, or libcurl's


class TransferError(Error):
    """A transfer that ended without a complete answer.

    Attributes:
        condition: the ZHTTP error condition.
        detail: what happened, in words for people; may hold addresses, never secrets.
        error: a stable short name (`ErrorName`, or the code of a policy rule); where none is
            given, the most common one of the condition.
    """

    def __init__(self, condition: bytes, detail: str, *, error: str = "") -> None:
        super().__init__(condition, detail)
        self.condition = condition
        self.detail = detail
        self.error = error or _USUAL.get(condition, ErrorName.INTERNAL)

    @classmethod
    def from_curl(
        cls,
        code: int,
        message: str,
        os_errno: int = 0,
        proxied: bool = False,
        shows_certificate: bool = True,
    ) -> TransferError:
        """The failure for a libcurl result.

        Args:
            code: ``CURLE_*``.
            message: libcurl's text, or "".
            os_errno: ``CURLINFO_OS_ERRNO`` of the last failed connect, where it is known.
            proxied: the connection was to a proxy.
            shows_certificate: we have a client certificate for this origin.
        """
        condition, error = _OF_CODE.get(code, _UNKNOWN)
        if code == pycurl.E_COULDNT_CONNECT:
            if proxied:
                error = ErrorName.PROXY_FAILED
            elif os_errno == errno.ECONNREFUSED:
                error = ErrorName.CONNECTION_REFUSED
        elif code == pycurl.E_PEER_FAILED_VERIFICATION:
            error = _certificate_fault(message)
        elif "alert" in message and code in _HIDES_ALERTS:
            # TLS 1.3 servers check our certificate after their own handshake: the alert comes in
            # place of the answer.
            condition, error = _of_alert(message, shows_certificate)
        elif code in _HIDES_ALERTS and "CONNECT tunnel failed" in message:
            condition, error = Condition.REMOTE_CONNECTION_FAILED, ErrorName.PROXY_FAILED
        elif code == _WEIRD_REPLY and "Location" in message:
            error = ErrorName.BAD_REDIRECT  # two different Locations are ambiguous
        elif code in _HIDES_FRAMING and _ON_FRAMING.search(message):
            condition, error = _FRAMING
        # The message may contain bytes of the origin.
        text = message if message.isprintable() else ascii(message)[1:-1]
        text = text or _WORDS.get(code, "no detail")
        return cls(condition, f"{text[:_MAX_TEXT]} (libcurl {code})", error=error)

    @classmethod
    def from_decision(cls, decision: Decision, detail: str) -> TransferError:
        """The failure for a refusal of the policy."""
        name = decision.code.replace("_", "-")
        return cls(Condition.POLICY_VIOLATION, detail, error=name)


_MAX_TEXT: Final = 500  # characters of libcurl's message


def _certificate_fault(message: str) -> str:
    """The name for a certificate's fault, from OpenSSL's and libcurl's messages."""
    for words, name in _CERTIFICATE_FAULTS:
        if words in message:
            return name
    return ErrorName.CERTIFICATE_INVALID


def _of_alert(message: str, shows_certificate: bool) -> tuple[bytes, str]:
    """Condition and name for a TLS alert of the origin (RFC 8446 section 6)."""
    name = ErrorName.HANDSHAKE_FAILED
    # Some call a certificate bad that was not shown (caddy 2.6 and others in Go).
    if "certificate required" in message or (
        "bad certificate" in message and not shows_certificate
    ):
        name = ErrorName.CERTIFICATE_REQUIRED
    return Condition.TLS_ERROR, name


_CERTIFICATE_FAULTS = (
    ("not yet valid", ErrorName.CERTIFICATE_NOT_YET_VALID),
    ("expired", ErrorName.CERTIFICATE_EXPIRED),
    ("self-signed", ErrorName.CERTIFICATE_SELF_SIGNED),
    ("self signed", ErrorName.CERTIFICATE_SELF_SIGNED),
    ("unable to get", ErrorName.CERTIFICATE_UNTRUSTED),
    ("unable to verify", ErrorName.CERTIFICATE_UNTRUSTED),
    ("does not match", ErrorName.CERTIFICATE_NAME_MISMATCH),
    ("no alternative certificate subject name", ErrorName.CERTIFICATE_NAME_MISMATCH),
)

# Codes for which pycurl has no name.
_PROXY, _HTTP2, _HTTP2_STREAM, _HTTP3, _QUIC_CONNECT, _TOO_LARGE = 97, 16, 92, 95, 96, 100
_WEIRD_REPLY = 8
_BAD_PINNED_KEY, _BAD_STATUS, _CLIENT_CERT = 90, 91, 98
# Codes whose message may name a TLS alert, or a proxy's refusal.
_HIDES_ALERTS = frozenset((pycurl.E_RECV_ERROR, pycurl.E_SEND_ERROR, pycurl.E_SSL_CONNECT_ERROR))
# Codes whose message may be about framing (RFC 9112 sections 6.3 and 7.1): malformed chunks are
# E_RECV_ERROR, a malformed Content-Length is a "weird reply", so are fields that HTTP/2 forbids.
_HIDES_FRAMING = frozenset((pycurl.E_RECV_ERROR, _WEIRD_REPLY, _HTTP2_STREAM))
_ON_FRAMING = re.compile(r"^chunk |chunked-encoding|Content-Length|^Invalid HTTP header")
_WORDS = {_TOO_LARGE: "the head of the answer is too large"}  # for codes without a message

_UNKNOWN = (Condition.UNDEFINED_CONDITION, ErrorName.INTERNAL)
_TLS = (Condition.TLS_ERROR, ErrorName.HANDSHAKE_FAILED)
_RESET = (Condition.UNDEFINED_CONDITION, ErrorName.CONNECTION_RESET)
_NOT_HTTP = (Condition.UNDEFINED_CONDITION, ErrorName.NOT_HTTP)
_FRAMING = (Condition.UNDEFINED_CONDITION, ErrorName.BAD_FRAMING)
_OF_CODE = {
    pycurl.E_UNSUPPORTED_PROTOCOL: _NOT_HTTP,  # the answer looks like HTTP/0.9
    pycurl.E_URL_MALFORMAT: (Condition.BAD_REQUEST, ErrorName.BAD_URI),
    pycurl.E_COULDNT_RESOLVE_PROXY: (Condition.REMOTE_CONNECTION_FAILED, ErrorName.PROXY_FAILED),
    pycurl.E_COULDNT_RESOLVE_HOST: (
        Condition.REMOTE_CONNECTION_FAILED,
        ErrorName.NAME_NOT_RESOLVED,
    ),
    pycurl.E_COULDNT_CONNECT: (Condition.REMOTE_CONNECTION_FAILED, ErrorName.UNREACHABLE),
    # The configured source address does not belong to this machine.
    pycurl.E_INTERFACE_FAILED: (Condition.REMOTE_CONNECTION_FAILED, ErrorName.UNREACHABLE),
    _PROXY: (Condition.REMOTE_CONNECTION_FAILED, ErrorName.PROXY_FAILED),
    _QUIC_CONNECT: (Condition.REMOTE_CONNECTION_FAILED, ErrorName.UNREACHABLE),
    pycurl.E_OPERATION_TIMEDOUT: (Condition.CONNECTION_TIMEOUT, ErrorName.CONNECT_TIMEOUT),
    pycurl.E_FILESIZE_EXCEEDED: (Condition.MAX_SIZE_EXCEEDED, ErrorName.MAX_SIZE),
    pycurl.E_SSL_CONNECT_ERROR: _TLS,
    pycurl.E_SSL_ENGINE_NOTFOUND: _TLS,
    pycurl.E_SSL_ENGINE_SETFAILED: _TLS,
    pycurl.E_SSL_CERTPROBLEM: (Condition.TLS_ERROR, ErrorName.BAD_CLIENT_CERT),
    pycurl.E_SSL_CIPHER: _TLS,
    pycurl.E_PEER_FAILED_VERIFICATION: (Condition.TLS_ERROR, ErrorName.CERTIFICATE_INVALID),
    pycurl.E_USE_SSL_FAILED: _TLS,
    pycurl.E_SSL_CACERT_BADFILE: _TLS,
    pycurl.E_SSL_SHUTDOWN_FAILED: _TLS,
    pycurl.E_SSL_CRL_BADFILE: _TLS,
    pycurl.E_SSL_ISSUER_ERROR: (Condition.TLS_ERROR, ErrorName.CERTIFICATE_UNTRUSTED),
    _BAD_PINNED_KEY: (Condition.TLS_ERROR, ErrorName.CERTIFICATE_INVALID),
    _BAD_STATUS: (Condition.TLS_ERROR, ErrorName.CERTIFICATE_INVALID),
    _CLIENT_CERT: (Condition.TLS_ERROR, ErrorName.CERTIFICATE_REQUIRED),
    pycurl.E_GOT_NOTHING: (Condition.UNDEFINED_CONDITION, ErrorName.EMPTY_ANSWER),
    pycurl.E_PARTIAL_FILE: (Condition.UNDEFINED_CONDITION, ErrorName.INCOMPLETE_BODY),
    pycurl.E_RECV_ERROR: _RESET,
    pycurl.E_SEND_ERROR: _RESET,
    pycurl.E_SEND_FAIL_REWIND: _RESET,
    _HTTP2_STREAM: _RESET,
    _HTTP2: _FRAMING,
    _HTTP3: _FRAMING,
    _TOO_LARGE: _FRAMING,
    _WEIRD_REPLY: _NOT_HTTP,  # the status line is missing or malformed
    pycurl.E_BAD_CONTENT_ENCODING: (Condition.UNDEFINED_CONDITION, ErrorName.BAD_ENCODING),
}
_USUAL = {
    Condition.BAD_REQUEST: ErrorName.BAD_MESSAGE,
    Condition.REMOTE_CONNECTION_FAILED: ErrorName.UNREACHABLE,
    Condition.CONNECTION_TIMEOUT: ErrorName.CONNECT_TIMEOUT,
    Condition.TLS_ERROR: ErrorName.HANDSHAKE_FAILED,
    Condition.CONTENT_NOT_ALLOWED: ErrorName.CONTENT_NOT_ALLOWED,
    Condition.TOO_MANY_REDIRECTS: ErrorName.TOO_MANY_REDIRECTS,
    Condition.MAX_SIZE_EXCEEDED: ErrorName.MAX_SIZE,
    Condition.SESSION_TIMEOUT: ErrorName.IDLE_TIMEOUT,
}
