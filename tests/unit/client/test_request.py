"""Requests: what a call's arguments make of them, and their first packets."""

import io
import json
import math
import tempfile
from typing import Any

import pytest

from zurl_py.client import Headers, Request, Timeout
from zurl_py.client.request import build_request, first_packet
from zurl_py.client.running import run


def request(url: str = "http://h/", method: str = "GET", **arguments: Any) -> Request:
    return build_request(method, url, arguments, Headers(), Timeout(), {})  # type: ignore[arg-type]


async def _joined(made: Request) -> bytes:
    return b"".join([piece async for piece in made.body.iterate()])


def body_of(made: Request) -> bytes:
    return run(_joined(made))


@pytest.mark.parametrize(
    ("url", "params", "expected"),
    [
        ("http://h/", {"a": 1, "b": "x y"}, "http://h/?a=1&b=x+y"),
        ("http://h/?z=%41", {"a": "é"}, "http://h/?z=%41&a=%C3%A9"),
        ("http://h/p?", {"a": 1}, "http://h/p?a=1"),
        ("http://h/?q#f", {"a": [1, 2]}, "http://h/?q&a=1&a=2#f"),
        ("http://h/#f", [("a", True), ("b", None)], "http://h/?a=true#f"),
        ("http://h/", "a=b", "http://h/?a=b"),
        ("http://h/?x", {}, "http://h/?x"),
    ],
)
def test_params_are_added_to_the_query(url: str, params: Any, expected: str) -> None:
    assert request(url, params=params).url == expected


@pytest.mark.parametrize(
    ("arguments", "body", "kind"),
    [
        ({"content": b"\x00\xff"}, b"\x00\xff", None),
        ({"content": "é"}, "é".encode(), None),
        ({"content": bytearray(b"x")}, b"x", None),
        ({"json": {"a": [1, None]}}, b'{"a":[1,null]}', "application/json"),
        ({"json": 0}, b"0", "application/json"),
        ({"data": {"a": "b c", "d": [1]}}, b"a=b+c&d=1", "application/x-www-form-urlencoded"),
        ({"data": b"raw"}, b"raw", None),
        ({"content": [b"a", b"b"]}, b"ab", None),
        ({"content": io.BytesIO(b"file")}, b"file", None),
        ({}, b"", None),
    ],
)  # fmt: skip
def test_bodies(arguments: dict[str, Any], body: bytes, kind: str | None) -> None:
    made = request(method="POST", **arguments)
    assert body_of(made) == body
    assert made.headers.get("content-type") == kind


def test_a_given_content_type_is_kept() -> None:
    made = request(json={}, headers={"content-type": "application/vnd.x+json"})
    assert made.headers.get_list("Content-Type") == ["application/vnd.x+json"]


def test_the_length_of_a_file_is_known() -> None:
    with tempfile.TemporaryFile() as file:
        file.write(b"0123456789")
        file.seek(4)
        made = request(content=file)
        assert made.headers["content-length"] == "6"
        assert body_of(made) == b"456789"
    assert request(content=io.BytesIO(b"123")).headers["content-length"] == "3"
    assert "content-length" not in request(content=iter([b"1"])).headers


def test_multipart_says_its_true_length() -> None:
    made = request(
        data={"a": "1", "b": ["2", "3"]},
        files={"f": ('n"\r\n.txt', b"data", "text/plain"), "g": io.BytesIO(b"more")},
    )
    body = body_of(made)
    kind, boundary = made.headers["content-type"].split("; boundary=")
    assert kind == "multipart/form-data"
    assert made.headers["content-length"] == str(len(body))
    assert body.count(f"--{boundary}\r\n".encode()) == 5
    assert body.endswith(f"--{boundary}--\r\n".encode())
    assert b'name="f"; filename="n%22%0D%0A.txt"\r\nContent-Type: text/plain\r\n\r\ndata' in body


@pytest.mark.parametrize(
    "arguments",
    [
        {"content": b"", "json": {}},
        {"json": {}, "data": {}},
        {"content": 5},
        {"headers": "a: b"},
        {"headers": {"a": 1}},
        {"jsn": {}},
        {"timeout": "5"},
    ],
)
def test_invalid_requests_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        request(**arguments)


@pytest.mark.parametrize("timeout", [-1, math.nan, Timeout])
def test_no_timeout(timeout: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        request(timeout=timeout if timeout is not Timeout else True)


def test_a_number_is_a_limit_of_everything() -> None:
    assert Timeout.of(3) == Timeout(3, 3, 3, 3, 3)
    assert Timeout.of(None) == Timeout(None, None, None, None, None)


def test_options_become_fields_of_the_first_packet() -> None:
    made = request(
        connect_host="127.0.0.1",
        connect_port=81,
        follow_redirects=True,
        ignore_policies=True,
        ignore_tls_errors=False,
        max_size=10,
        client_cert="CERT",
        client_key=b"KEY",
        raw=True,
        truncate=True,
        timing=True,
        max_redirects=3,
        http_version="2",
        host="other",
        ext={"of-tomorrow": 1},
        timeout=Timeout(connect=1.5),
    )
    fields = first_packet(made).fields()
    ext = fields.pop("ext")
    for name in ("host", "connect-timeout"):  # may stand in either place
        fields.pop(name, None)
    assert fields == {
        "method": b"GET",
        "uri": b"http://h/",
        "headers": [],
        "connect-host": b"127.0.0.1",
        "connect-port": 81,
        "follow-redirects": True,
        "ignore-policies": True,
        "max-size": 10,
        "client-cert": b"CERT",
        "client-key": b"KEY",
    }
    assert ext == {
        "raw": True,
        "truncate": True,
        "timing": True,
        "max-redirects": 3,
        "http-version": b"2",
        "host": b"other",
        "connect-timeout": 1500,
        "of-tomorrow": 1,
    }


def test_settings_of_the_connection_in_ext_have_precedence() -> None:
    made = request(ext={"connect-timeout": 700}, timeout=Timeout(connect=10))
    assert first_packet(made).fields()["ext"] == {"connect-timeout": 700}
    assert "connect-timeout" not in first_packet(made).fields()


def test_values_that_json_cannot_represent() -> None:
    with pytest.raises(ValueError, match="JSON"):
        request(json=math.inf)
    assert json.loads(request(json={"a": "é"}).body.whole) == {"a": "é"}


def test_headers_are_looked_up_without_regard_to_case() -> None:
    headers = Headers([("Set-Cookie", "a"), ("set-cookie", "b"), ("X", "é")])
    assert headers["SET-COOKIE"] == "a, b"
    assert headers.get_list("Set-Cookie") == ["a", "b"]
    assert headers.raw[2] == (b"X", "é".encode())
    assert list(headers) == ["Set-Cookie", "X"]
    assert "x" in headers
    assert "y" not in headers
    assert Headers.of_pairs([(b"X", b"\xe9")])["x"] == "é"
