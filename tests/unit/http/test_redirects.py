"""Redirects: which answers are, and what they make of a request."""

from __future__ import annotations

import pytest

from zurl_py.http.heads import Head
from zurl_py.http.redirects import is_redirect, keeps_body, next_method


@pytest.mark.parametrize(
    ("code", "location", "expected"),
    [
        (302, b"/a", True),
        (304, b"/a", True),
        (399, b"/a", True),
        (302, b"", False),
        (302, b" ", False),
        (201, b"/a", False),
        (400, b"/a", False),
    ],
)
def test_which_answers_are_redirects(code: int, location: bytes, expected: bool) -> None:
    assert is_redirect(Head(code, b"", [(b"Location", location)])) is expected


@pytest.mark.parametrize(
    ("method", "code", "as_get", "becomes", "keeps"),
    [
        (b"POST", 301, False, b"POST", True),
        (b"POST", 302, False, b"POST", True),
        (b"POST", 301, True, b"GET", False),
        (b"POST", 302, True, b"GET", False),
        (b"PUT", 302, True, b"PUT", True),
        (b"POST", 307, True, b"POST", True),
        (b"POST", 308, True, b"POST", True),
        (b"POST", 303, False, b"GET", False),
        (b"DELETE", 303, True, b"GET", False),
        (b"HEAD", 303, False, b"HEAD", False),
        (b"GET", 302, True, b"GET", True),
    ],
)
def test_method_and_body_after_a_redirect(
    method: bytes, code: int, as_get: bool, becomes: bytes, keeps: bool
) -> None:
    assert next_method(method, code, as_get=as_get) == becomes
    assert keeps_body(method, code, as_get=as_get) is keeps
