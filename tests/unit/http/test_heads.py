"""Response heads: which lines are which, and what of them is handed on."""

from __future__ import annotations

import pytest

from zurl_py.http.heads import (
    MAX_INTERIM,
    Head,
    is_upgrade,
    read_head,
    read_interim,
    read_trailers,
)

OK = b"HTTP/1.1 200 OK\r\n"
END = b"\r\n"


def read(*lines: bytes, status: bytes = OK) -> Head:
    head = read_head([status, *lines, END])
    assert head is not None
    return head


# -- status lines --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "code", "reason", "version"),
    [
        (b"HTTP/1.1 200 OK\r\n", 200, b"OK", "1.1"),
        (b"HTTP/1.1 200\r\n", 200, b"", "1.1"),
        (b"HTTP/1.1 200 \r\n", 200, b"", "1.1"),
        (b"HTTP/1.1 200OK\r\n", 200, b"OK", "1.1"),
        (b"HTTP/1.1\t200\tOK\r\n", 200, b"OK", "1.1"),
        (b"HTTP/1.1 200 Very well\n", 200, b"Very well", "1.1"),
        (b"http/1.0 404 Not Found\r\n", 404, b"Not Found", "1.0"),
        (b"HTTP/2 204 \r\n", 204, b"", "2"),
        (b"HTTP/2.0 999 X\r\n", 999, b"X", "1.0"),
        (b"HTTP/3 200 \r\n", 200, b"", "3"),
        (b"HTTP/3 200\r\n", 200, b"", "1.0"),  # an origin's own words by HTTP/1
        (b"HTTP/2 200 OK\r\n", 200, b"OK", "1.0"),
    ],
)
def test_status_lines(line: bytes, code: int, reason: bytes, version: str) -> None:
    head = read(status=line)
    assert (head.code, head.reason, head.version) == (code, reason, version)


@pytest.mark.parametrize(
    "line",
    [b"HTTP/1.1 2000 OK\r\n", b"HTTP/1.1 20\r\n", b"HTTP/1.1\r\n", b"ICY 200\r\n", b"A: b\r\n"],
)
def test_invalid_status_lines(line: bytes) -> None:
    with pytest.raises(ValueError, match="no status line"):
        read(status=line)


# -- where a head ends ---------------------------------------------------------------------------


def test_a_head_ends_with_a_blank_line_and_no_sooner() -> None:
    """libcurl hands on the lone CR of a head that was cut one byte before its end."""
    assert read_head([OK, b"A: b\r\n"]) is None
    assert read_head([OK, b"A: b\r\n", b"\r"]) is None
    assert read_head([b"HTTP/1.1 200 OK\n", b"A: b\n", b"\n"]) is not None


def test_interim_heads_come_first() -> None:
    lines = [b"HTTP/1.1 100 Continue\r\n", END]
    lines += [b"HTTP/1.1 103 Early Hints\r\n", b"Link: </a>\r\n", END]
    assert read_head(lines) is None
    head = read_head([*lines, OK, END])
    assert head is not None
    assert head.code == 200
    [interim] = read_interim([*lines, OK, END])
    assert (interim.code, interim.reason) == (103, b"Early Hints")
    assert interim.headers == [(b"Link", b"</a>")]


def test_the_number_of_forwarded_interim_heads_is_limited() -> None:
    lines = [b"HTTP/1.1 102 Processing\r\n", END] * 50
    assert len(read_interim([*lines, OK, END])) == MAX_INTERIM


def test_all_lines_after_the_head_are_trailers() -> None:
    lines = [OK, b"A: b\r\n", END, b"HTTP/1.1 200 FAKE: x\r\n", b"Digest:abc\r\n"]
    head = read_head(lines)
    assert head is not None
    assert head.headers == [(b"A", b"b")]
    assert read_trailers(lines) == [(b"HTTP/1.1 200 FAKE", b"x"), (b"Digest", b"abc")]
    assert read_trailers([OK, END]) == []


def test_an_upgrade_is_distinguished_from_other_interim_heads() -> None:
    assert is_upgrade([b"HTTP/1.1 101 Switching Protocols\r\n", END])
    assert not is_upgrade([b"HTTP/1.1 103 Early Hints\r\n", END])
    assert not is_upgrade([])


# -- fields --------------------------------------------------------------------------------------


def test_values_lose_one_blank() -> None:
    head = read(b"A:  b \r\n", b"B:\tc\r\n", b"C:d\r\n", b"D:\r\n")
    assert head.headers == [(b"A", b" b "), (b"B", b"c"), (b"C", b"d"), (b"D", b"")]


def test_folded_lines_continue_a_value() -> None:
    assert read(b"A: b\r\n", b"  c\r\n").headers == [(b"A", b"b c")]
    assert read(b" c\r\n").headers == []


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        # RFC 9112 section 6.3: Transfer-Encoding overrides.
        (
            [b"Content-Length: 9\r\n", b"Transfer-Encoding: chunked\r\n"],
            [(b"Transfer-Encoding", b"chunked")],
        ),
        (
            [b"transfer-encoding: chunked\r\n", b"content-length: 9\r\n"],
            [(b"transfer-encoding", b"chunked")],
        ),
        # RFC 9110 section 8.6: the same length may be there several times.
        ([b"Content-Length: 2, 2\r\n"], [(b"Content-Length", b"2, 2")]),
        ([b"Content-Length: 2\r\n"] * 2, [(b"Content-Length", b"2")] * 2),
        # RFC 9112 section 5.1: libcurl has not taken these for framing.
        ([b"Content-Length : 2\r\n", b"A: b\r\n"], [(b"A", b"b")]),
        ([b"Transfer-Encoding\t: chunked\r\n", b" x\r\n", b"A: b\r\n"], [(b"A", b"b")]),
        ([b"A : b\r\n"], [(b"A", b"b")]),
        ([b"A b: c\r\n", b"(x): y\r\n", b": z\r\n"], []),
    ],
)
def test_headers_that_contradict_the_framing_or_are_invalid_are_left_out(
    lines: list[bytes], expected: list[tuple[bytes, bytes]]
) -> None:
    assert read(*lines).headers == expected


@pytest.mark.parametrize(
    "lines",
    [[b"Content-Length: 2, 3\r\n"], [b"Content-Length: 2\r\n", b"Content-Length: 3\r\n"]],
)
def test_lengths_that_differ(lines: list[bytes]) -> None:
    with pytest.raises(ValueError, match="lengths"):
        read(*lines)


def test_all_content_encoding_fields_count() -> None:
    head = read(b"content-encoding: identity\r\n", b"Content-Encoding: gzip\r\n")
    assert head.codings == [b"identity", b"gzip"]
    assert read(b"A: gzip\r\n").codings == []


def test_where_a_redirect_leads_has_no_blanks_around_it() -> None:
    assert read(b"Location: \t/to\t \r\n").location == b"/to"
    assert read(b"A: b\r\n").location == b""


def test_content_length_of_a_decoded_body_is_removed() -> None:
    head = read(b"Content-Length: 5\r\n", b"Content-Encoding: gzip\r\n")
    head.drop_length()
    assert head.headers == [(b"Content-Encoding", b"gzip")]
