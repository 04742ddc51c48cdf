"""libcurl's trace in the debug log: nothing that could be a secret."""

from __future__ import annotations

import pycurl
import pytest

from zurl_py.egress.trace import make_trace

TEXT, IN, OUT = pycurl.INFOTYPE_TEXT, pycurl.INFOTYPE_HEADER_IN, pycurl.INFOTYPE_HEADER_OUT


def traced(*calls: tuple[int, bytes]) -> list[str]:
    lines: list[str] = []
    trace = make_trace(lines.append)
    for kind, data in calls:
        trace(kind, data)
    return lines


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        (OUT, b"Authorization: Basic s3cret"),
        (OUT, b"authorization:s3cret"),
        (OUT, b"Cookie: a=s3cret"),
        (OUT, b"X-Api-Key: s3cret"),
        (OUT, b"Proxy-Authorization: s3cret"),
        (OUT, b"GET /a?token=s3cret HTTP/1.1"),
        (TEXT, b"[HTTP/2] [1] [authorization: Basic s3cret]"),
        (TEXT, b"[HTTP/2] [1] [x-key: s3cret]"),
        (TEXT, b"[HTTP/2] [1] [:path: /a?token=s3cret]"),
        (TEXT, b"[HTTP/2] [1] OPENED stream for https://h/a?token=s3cret"),
        (TEXT, b"[HTTP/3] [4] [cookie: a=s3cret; b=[c]]"),
        (TEXT, b"Server auth using Basic with user 's3cret'"),
        (TEXT, b"Issue another request to this URL: 'http://s3cret@h/'"),
        (IN, b"Set-Cookie: a=s3cret"),
        (IN, b"WWW-Authenticate: NTLM s3cret"),
        (IN, b"Location: https://u:s3cret@h/?s3cret"),
    ],
)
def test_secrets_are_not_in_the_trace(kind: int, line: bytes) -> None:
    shown = traced((kind, line + b"\r\n"))
    assert len(shown) == 1
    assert "s3cret" not in shown[0]


def test_a_line_that_is_sent_in_parts_is_one_line() -> None:
    secret = b"s3cret" * 10_000
    shown = traced(
        (OUT, b"GET / HTTP/1.1\r\nHost: h\r\nCookie: a=" + secret[:16_000]),
        (OUT, secret[16_000:]),
        (OUT, b"\r\nX-Plain: y\r\n\r\n"),
    )
    assert shown == [
        "libcurl > GET / HTTP/1.1",
        "libcurl > Host: h",
        "libcurl > Cookie: (not logged)",
        "libcurl > X-Plain: (not logged)",
    ]


def test_a_name_that_is_sent_in_parts_is_known() -> None:
    shown = traced((OUT, b"Authoriz"), (OUT, b"ation: s3cret\r\n"))
    assert shown == ["libcurl > Authorization: (not logged)"]


def test_useful_lines_are_in_the_trace() -> None:
    shown = traced(
        (TEXT, b"Connected to h (192.0.2.1) port 443\n"),
        (TEXT, b"[HTTP/2] [1] [:method: GET]\n"),
        (OUT, b"Host: h\r\n"),
        (IN, b"HTTP/1.1 200 OK\r\n"),
        (IN, b"X-Plain: y\r\n"),
        (pycurl.INFOTYPE_DATA_OUT, b"s3cret"),
    )
    assert shown == [
        "libcurl * Connected to h (192.0.2.1) port 443",
        "libcurl * [HTTP/2] [1] [:method: GET]",
        "libcurl > Host: h",
        "libcurl < HTTP/1.1 200 OK",
        "libcurl < X-Plain: y",
    ]
