"""The one table: which exception, which exit code."""

import pickle

import pytest

from tests.support import ROOT
from zurl_py.client import FAILURES, errors, exit_code
from zurl_py.client.failures import error_of, failure_of, failure_of_exception
from zurl_py.client.headers import Headers
from zurl_py.client.request import RequestOptions, build_request
from zurl_py.client.timeouts import Timeout

CASES = [
    ("bad-request", "bad-uri", errors.BadRequest, 3),
    ("bad-request", None, errors.BadRequest, 3),
    ("policy-violation", "ip-denied", errors.PolicyViolation, 120),
    ("policy-violation", None, errors.PolicyViolation, 120),
    ("remote-connection-failed", "name-not-resolved", errors.NameNotResolved, 6),
    ("remote-connection-failed", "connection-refused", errors.ConnectFailed, 7),
    ("remote-connection-failed", "unreachable", errors.ConnectFailed, 7),
    ("remote-connection-failed", "proxy-failed", errors.ConnectFailed, 7),
    ("remote-connection-failed", None, errors.ConnectFailed, 7),
    ("connection-timeout", "connect-timeout", errors.ConnectTimeout, 28),
    ("session-timeout", "total-timeout", errors.ReadTimeout, 28),
    ("session-timeout", "idle-timeout", errors.ReadTimeout, 28),
    ("session-timeout", None, errors.ReadTimeout, 28),
    ("tls-error", "certificate-expired", errors.CertificateError, 60),
    ("tls-error", "certificate-required", errors.CertificateError, 60),
    ("tls-error", "handshake-failed", errors.TlsError, 35),
    ("tls-error", None, errors.TlsError, 35),
    ("undefined-condition", "connection-reset", errors.ReadError, 56),
    ("undefined-condition", "empty-answer", errors.RemoteProtocolError, 52),
    ("undefined-condition", "incomplete-body", errors.RemoteProtocolError, 18),
    ("undefined-condition", "not-http", errors.RemoteProtocolError, 8),
    ("undefined-condition", "bad-framing", errors.RemoteProtocolError, 8),
    ("undefined-condition", "bad-encoding", errors.DecodingError, 61),
    ("undefined-condition", "stopping", errors.GatewayLost, 121),
    ("undefined-condition", None, errors.ReadError, 56),
    ("max-size-exceeded", "max-size", errors.MaxSizeExceeded, 63),
    ("too-many-redirects", None, errors.TooManyRedirects, 47),
    ("rejected", None, errors.InvalidStatus, 122),
    ("a-condition-of-tomorrow", "x", errors.ReadError, 56),
]


@pytest.mark.parametrize(("condition", "name", "kind", "code"), CASES)
def test_condition_and_error_choose_the_exception(
    condition: str, name: str | None, kind: type[errors.ZurlError], code: int
) -> None:
    error = error_of(condition, name, "why" if name else None)
    assert type(error) is kind
    assert (error.condition, error.error) == (condition, name)
    assert error.detail == ("why" if name else None)
    assert exit_code(error) == code
    assert failure_of_exception(error) is failure_of(condition, name)


def test_every_condition_has_a_row_for_errors_unknown() -> None:
    for condition in {row.condition for row in FAILURES if row.condition is not None}:
        assert failure_of(condition, "never heard of").error is None


def test_failures_without_a_packet_have_rows() -> None:
    assert exit_code(errors.GatewayUnavailable()) == 121
    assert exit_code(errors.GatewayNotConfigured()) == 121
    assert exit_code(errors.GatewayLost()) == 121
    assert exit_code(errors.PoolTimeout()) == 28


def test_timeouts_are_timeouts_for_python_too() -> None:
    assert isinstance(error_of("session-timeout"), TimeoutError)


def test_errors_travel_to_other_processes() -> None:
    error = error_of("policy-violation", "ip-denied", "@private")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is errors.PolicyViolation
    assert (str(copy), copy.error, copy.detail) == (str(error), "ip-denied", "@private")


def test_the_table_in_the_documentation_is_up_to_date() -> None:
    page = (ROOT / "docs/client.md").read_text()
    for row in FAILURES:
        error = f"`{row.error}`".replace("-`", "-…`") if row.error else ""
        condition = f"`{row.condition}`" if row.condition else "–"
        line = (
            f"| {condition} | {error} | {row.exception.__name__} | {row.httpx} | {row.requests} "
            f"| {row.exit_code} |"
        )
        assert line in page


def test_secrets_of_a_url_are_in_no_text() -> None:
    request = build_request(
        "GET", "http://me:pass@h.test/a?token=x", {}, Headers(), Timeout(), RequestOptions()
    )
    text = str(error_of("bad-request", "bad-uri", "why", request))
    assert text.startswith("GET http://h.test/a: ")
    assert "pass" not in text
    assert "token" not in text
