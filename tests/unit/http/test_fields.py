"""Headers of requests and responses; what is remembered of them makes no difference."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zurl_py.http import fields, heads
from zurl_py.http.fields import BadHeader, RequestHeaders
from zurl_py.http.heads import read_head
from zurl_py.zhttp import Envelope, Format, envelope

_NAMES = st.sampled_from(
    [
        b"X-A",
        b"x-a",
        b"Content-Type",
        b"content-length",
        b"Cookie",
        b"Authorization",
        b"Host",
        b"a b",
    ]
)
_VALUES = st.sampled_from([b"", b" ", b"1", b" v ", b"a\r\nb: c", b"\xff", b"v" * 200])
_LINES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 103 Early Hints\r\n",
        b"HTTP/1.1 abc\r\n",
        b"A: 1\r\n",
        b"A:1\r\n",
        b" folded\r\n",
        b"no colon\r\n",
        b"\r\n",
        b"A: 1",
    ]
)


_CACHES = (
    fields._kind_of_name,
    fields._kind_and_line,
    heads._known_lines,
    heads._known_statuses,
)


def _forget() -> None:
    for cache in _CACHES:
        cache.clear()
    envelope._json_pairs.clear()
    envelope._tnetstring_pairs.clear()


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    _forget()
    yield
    _forget()


def _request(pairs: list[tuple[bytes, bytes]]) -> object:
    try:
        made = RequestHeaders(pairs)
    except BadHeader as error:
        return str(error)
    return made.lines, made.content_length, made.has_type, made.has_authorization, made.accepted


def _response(lines: list[bytes]) -> object:
    try:
        head = read_head(lines)
    except ValueError as error:
        return type(error)
    return head and (head.code, head.reason, head.headers)


@given(st.lists(st.lists(st.tuples(_NAMES, _VALUES), max_size=4), max_size=4))
def test_requests_are_the_same_the_second_time(requests: list[list[tuple[bytes, bytes]]]) -> None:
    alone = []
    for pairs in requests:
        _forget()
        alone.append(_request(pairs))
    assert [_request(pairs) for pairs in requests + requests] == alone + alone


@given(st.lists(st.lists(_LINES, max_size=8), max_size=4))
def test_responses_are_the_same_the_second_time(responses: list[list[bytes]]) -> None:
    alone = []
    for lines in responses:
        _forget()
        alone.append(_response(lines))
    assert [_response(lines) for lines in responses + responses] == alone + alone


@pytest.mark.parametrize("format", list(Format))
def test_packets_are_the_same_the_second_time(format: Format) -> None:
    made = Envelope(format, b"gw", b"1")
    pairs = [(b"A", b"1"), (b"\xff", b"\xfe"), (b"A", b"v" * 200), (b"A", b"1")]
    first = made.encode({"headers": pairs})
    assert made.encode({"headers": pairs}) == first
    _forget()
    assert made.encode({"headers": pairs}) == first


def test_credentials_are_not_remembered() -> None:
    RequestHeaders([(b"Authorization", b"secret-1"), (b"Cookie", b"secret-2"), (b"X-A", b"open")])
    kept = repr(fields._kind_and_line)
    assert "open" in kept
    assert "secret" not in kept


def test_the_cache_is_bounded() -> None:
    for number in range(3 * fields._MAX_CACHED):
        value = b"%d" % number
        RequestHeaders([(b"X-A", value), (b"X-%d" % number, b"1"), (b"X-Long", value * 100)])
        read_head([b"HTTP/1.1 200 %b\r\n" % value, b"A: %b\r\n" % value, b"\r\n"])
        for format in (Format.JSON, Format.TNETSTRING):
            Envelope(format, b"gw", b"1").encode({"headers": [(b"A", value)]})
    for cache in _CACHES:
        assert 0 < len(cache) <= fields._MAX_CACHED
    assert 0 < len(envelope._json_pairs) <= envelope._MAX_CACHED
    assert 0 < len(envelope._tnetstring_pairs) <= envelope._MAX_CACHED


# -- what goes out, and where --------------------------------------------------------------------


def test_fields_about_the_body_are_sent_only_with_it() -> None:
    made = RequestHeaders(
        [
            (b"Content-Type", b"text/plain"),
            (b"content-encoding", b"gzip"),
            (b"Content-Language", b"de"),
            (b"Content-Location", b"/x"),
            (b"Content-Length", b"5"),
            (b"X-Kept", b"1"),
        ]
    )
    assert made.coded == (b"content-encoding: gzip",)
    rest = made.without_content()
    assert rest.lines == [b"X-Kept: 1"]
    assert (rest.has_type, rest.content_length, rest.coded) == (False, None, ())
    assert len(made.lines) == 4, "the first request is as it was"


def test_credentials_stay_with_their_origin() -> None:
    pairs = [(name.title(), b"secret") for name in sorted(fields.SECRETS)]
    rest = RequestHeaders([*pairs, (b"Accept", b"*/*")]).without_secrets()
    assert rest.lines == [b"Accept: */*"]
    assert not rest.has_authorization


def test_accept_encoding_is_kept_for_workers_that_decode() -> None:
    made = RequestHeaders([(b"Accept-Encoding", b"br"), (b"Range", b"bytes=0-1")])
    assert made.accepted == (b"Accept-Encoding: br",)
    assert made.lines == [b"Range: bytes=0-1"]
    assert made.has_range
