"""Answers: what their heads say, and bodies as text and lines, however they come."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterable
from typing import Any

import pytest

from zurl_py.client import (
    Headers,
    HTTPStatusError,
    Redirect,
    Request,
    Response,
    StreamError,
    Timeout,
)
from zurl_py.client.body import Body
from zurl_py.client.response import Head


class Source:
    """A body in parts."""

    def __init__(self, head: Head, parts: Iterable[bytes], last_ext: dict[str, Any]) -> None:
        self.head: Head | None = head
        self.last_ext = last_ext
        self._parts = iter(parts)
        self.cancelled = False

    async def next(self) -> bytes | None:
        return next(self._parts, None)

    def cancel(self) -> None:
        self.cancelled = True


def response(
    *parts: bytes,
    code: int = 200,
    headers: Iterable[tuple[bytes, bytes]] = (),
    ext: dict[str, Any] | None = None,
    last_ext: dict[str, Any] | None = None,
) -> Response:
    asked = Request("GET", "http://h/", Headers(), Body(), Timeout())
    head = Head(code, b"Reason", list(headers), ext or {})
    return Response(asked, Source(head, parts, last_ext or {}))


@pytest.mark.parametrize(
    ("parts", "lines"),
    [
        ([b"a\nb"], ["a", "b"]),
        ([b"a\r", b"\nb\r\n"], ["a", "b"]),
        ([b"a\r", b"b\r"], ["a", "b"]),
        ([b"a", b"b", b"\n", b"c"], ["ab", "c"]),
        ([b"\n\n"], ["", ""]),
        ([b"\xc3", b"\xbc\n"], ["ü"]),
        ([b"a\r", b"\r\n"], ["a", ""]),
        ([], []),
    ],
)
def test_lines_do_not_depend_on_the_parts(parts: list[bytes], lines: list[str]) -> None:
    assert list(response(*parts).iter_lines()) == lines
    joined = b"".join(parts)
    single = [joined[at : at + 1] for at in range(len(joined))]
    assert list(response(*single).iter_lines()) == lines


def test_text_is_decoded_as_the_head_says() -> None:
    latin = [(b"Content-Type", b'text/plain; charset="ISO-8859-1"')]
    answer = response(b"\xfc", headers=latin)
    assert "".join(answer.iter_text()) == "ü"
    answer = response(b"\xfc\xc3\xbc")
    answer.read()
    assert answer.text == "\ufffdü"
    answer = response(b"\xc3\xbc", headers=[(b"Content-Type", b"text/x; charset=base64")])
    answer.read()
    assert answer.text == "ü"  # that is no encoding of text


def test_pieces() -> None:
    assert list(response(b"abc", b"defg", b"h").iter_bytes(3)) == [b"abc", b"def", b"gh"]
    with pytest.raises(ValueError, match="chunk_size"):
        list(response(b"abc").iter_bytes(0))


def test_extras_of_the_gateway() -> None:
    answer = response(
        ext={"uri": "http://b/", "redirects": [{"uri": "http://h/", "code": 302}]},
        last_ext={
            "truncated": True,
            "trailers": [["x", "y"]],
            "resolve": 1,
            "total": 9,
            "reused": True,
            "http-version": "2",
        },
    )
    assert answer.url == "http://b/"
    assert answer.history == [Redirect("http://h/", 302)]
    assert answer.truncated
    assert answer.trailers["x"] == "y"
    assert answer.timing == {"resolve": 1, "total": 9, "reused": True, "http-version": "2"}
    assert answer.http_version == "2"
    plain = response()
    assert (plain.url, plain.history, plain.timing) == ("http://h/", [], {})
    assert (plain.truncated, plain.http_version) == (False, None)


@pytest.mark.parametrize(("code", "error"), [(200, False), (304, False), (400, True), (599, True)])
def test_statuses(code: int, error: bool) -> None:
    answer = response(code=code)
    assert answer.is_error == error
    if error:
        with pytest.raises(HTTPStatusError, match=f"{code} Reason"):
            answer.raise_for_status()
    else:
        assert answer.raise_for_status() is answer


def test_an_answer_goes_to_other_processes_with_what_was_read() -> None:
    answer = response(b"why", code=404, headers=[(b"A", b"b")], last_ext={"total": 5})
    answer.__dict__["_source"].lock = threading.Lock()  # as that of a real one
    answer.read()
    with pytest.raises(HTTPStatusError) as told:
        answer.raise_for_status()
    error = pickle.loads(pickle.dumps(told.value))
    assert str(error) == str(told.value)
    copy = error.response
    assert (copy.status_code, copy.reason, copy.headers["a"]) == (404, "Reason", "b")
    assert (copy.content, copy.timing, copy.request.url) == (b"why", {"total": 5}, "http://h/")


def test_a_body_that_was_not_read_stays() -> None:
    answer = response(b"much")
    copy = pickle.loads(pickle.dumps(answer))
    with pytest.raises(StreamError, match="the answer is closed"):
        copy.read()
    assert answer.read() == b"much"
