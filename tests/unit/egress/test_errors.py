"""What libcurl's results are called: condition and stable name."""

from __future__ import annotations

import errno

import pytest

from zurl_py.egress import ErrorName, TransferError
from zurl_py.policy import Decision
from zurl_py.zhttp import Condition

FAILED = b"remote-connection-failed"
UNDEFINED = b"undefined-condition"


@pytest.mark.parametrize(
    ("code", "message", "condition", "error"),
    [
        (6, "Could not resolve host: x", FAILED, "name-not-resolved"),
        (7, "Could not connect to server", FAILED, "unreachable"),
        (5, "", FAILED, "proxy-failed"),
        (97, "", FAILED, "proxy-failed"),
        (56, "CONNECT tunnel failed, response 403", FAILED, "proxy-failed"),
        (28, "", b"connection-timeout", "connect-timeout"),
        (35, "tlsv1 alert protocol version", b"tls-error", "handshake-failed"),
        (60, "certificate has expired", b"tls-error", "certificate-expired"),
        (60, "certificate is not yet valid", b"tls-error", "certificate-not-yet-valid"),
        (60, "self-signed certificate", b"tls-error", "certificate-self-signed"),
        (
            60,
            "unable to get local issuer certificate",
            b"tls-error",
            "certificate-untrusted",
        ),
        (
            60,
            "SSL: no alternative certificate subject name matches target host name 'x'",
            b"tls-error",
            "certificate-name-mismatch",
        ),
        (60, "", b"tls-error", "certificate-invalid"),
        (
            56,
            "SSL routines::tlsv13 alert certificate required, errno 0",
            b"tls-error",
            "certificate-required",
        ),
        (56, "Connection reset by peer", UNDEFINED, "connection-reset"),
        (52, "Empty reply from server", UNDEFINED, "empty-answer"),
        (18, "end of response with 5 bytes missing", UNDEFINED, "incomplete-body"),
        (1, "Received HTTP/0.9 when not allowed", UNDEFINED, "not-http"),
        (8, "", UNDEFINED, "not-http"),
        (8, "Invalid Content-Length: value", UNDEFINED, "bad-framing"),
        (8, "Multiple Location headers", UNDEFINED, "bad-redirect"),
        (8, "Header without colon", UNDEFINED, "not-http"),
        (56, "chunk hex-length char not a hex digit: 0x7a", UNDEFINED, "bad-framing"),
        (56, "chunk hex-length longer than 17", UNDEFINED, "bad-framing"),
        (56, "Malformed encoding found in chunked-encoding", UNDEFINED, "bad-framing"),
        (92, "Invalid HTTP header field was received: frame type: 1", UNDEFINED, "bad-framing"),
        (92, "HTTP/2 stream 1 was not closed cleanly", UNDEFINED, "connection-reset"),
        (16, "", UNDEFINED, "bad-framing"),
        (61, "", UNDEFINED, "bad-encoding"),
        (63, "", b"max-size-exceeded", "max-size"),
        (3, "", b"bad-request", "bad-uri"),
        (999, "", UNDEFINED, "internal"),
    ],
)
def test_each_result_has_its_name(code: int, message: str, condition: bytes, error: str) -> None:
    failure = TransferError.from_curl(code, message)
    assert (failure.condition, failure.error) == (condition, error)


def test_a_refused_connection_is_told_from_an_unreachable_host() -> None:
    refused = TransferError.from_curl(7, "", errno.ECONNREFUSED)
    assert refused.error == ErrorName.CONNECTION_REFUSED
    assert TransferError.from_curl(7, "", errno.ENETUNREACH).error == ErrorName.UNREACHABLE


def test_a_proxy_that_cannot_be_reached_is_named() -> None:
    failure = TransferError.from_curl(7, "", errno.ECONNREFUSED, proxied=True)
    assert failure.error == ErrorName.PROXY_FAILED


@pytest.mark.parametrize(
    ("alert", "shown", "error"),
    [
        ("certificate required", False, "certificate-required"),
        ("bad certificate", False, "certificate-required"),
        ("bad certificate", True, "handshake-failed"),
        ("unknown ca", True, "handshake-failed"),
        ("handshake failure", False, "handshake-failed"),
    ],
)
def test_an_alert_about_our_certificate(alert: str, shown: bool, error: str) -> None:
    message = f"OpenSSL SSL_read: error:0A000412:SSL routines::tlsv13 alert {alert}, errno 0"
    failure = TransferError.from_curl(56, message, shows_certificate=shown)
    assert (failure.condition, failure.error) == (Condition.TLS_ERROR, error)


def test_a_refusal_of_the_policy_is_named_by_its_rule() -> None:
    decision = Decision(False, "deny_always=10.0.0.1", "10.0.0.1", "refused", "deny_always")
    failure = TransferError.from_decision(decision, "x")
    assert (failure.condition, failure.error) == (Condition.POLICY_VIOLATION, "deny-always")


def test_without_a_name_a_failure_has_the_usual_one_of_its_condition() -> None:
    assert TransferError(Condition.TLS_ERROR, "").error == "handshake-failed"
    assert TransferError(Condition.BAD_REQUEST, "", error="bad-header").error == "bad-header"


@pytest.mark.parametrize(
    "message", ["Unsolicited Transfer-Encoding (\udca3hunked) found", "a\nb\x1b[2J", "x" * 10_000]
)
def test_what_libcurl_quotes_of_the_origin_is_fit_for_a_packet(message: str) -> None:
    """Bytes that are no text come as lone surrogates, which no format can say."""
    detail = TransferError.from_curl(61, message).detail
    assert detail.isprintable()
    assert detail.encode()
    assert len(detail) < 600
