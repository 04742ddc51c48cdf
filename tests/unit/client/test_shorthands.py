"""Options that are named as in httpx and requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from zurl_py.client import Client
from zurl_py.client.httpx import Client as httpx_client
from zurl_py.client.httpx_transport import split_arguments
from zurl_py.client.shorthands import expand

IN_VAIN = "req=ipc:///nowhere"


def expanded(**options: Any) -> dict[str, Any]:
    expand(options)
    return options


@pytest.mark.parametrize(
    ("given", "version"),
    [
        ({"http2": True}, "2"),
        ({"http2": False}, "1.1"),
        ({"http3": True}, "3"),
        ({"http3": False}, "2"),
        ({"http2": True, "http3": True}, "3"),
        ({"http2": False, "http3": True}, "3"),
        ({"http2": False, "http3": False}, "1.1"),
        ({"http2": None, "http3": True}, "3"),
    ],
)
def test_versions(given: dict[str, Any], version: str) -> None:
    assert expanded(**given) == {"http_version": version}


def test_none_is_the_same_as_no_argument() -> None:
    assert expanded(http2=None, http3=None, cert=None) == {}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"http2": True, "http_version": "2"}, "give one or the other"),
        ({"http2": "yes"}, "http2 is True or False, not str"),
        ({"http3": 3}, "http3 is True or False, not int"),
        ({"cert": "x", "client_cert": "y"}, "give one or the other"),
        ({"cert": 5}, "cert is a path, or a pair of paths"),
        ({"cert": ()}, "cert is a path, or a pair of paths"),
        ({"cert": ("a", "b", "c", "d")}, "cert is a path, or a pair of paths"),
        ({"cert": (None, "k")}, "cert is a path, or a pair of paths"),
    ],
)
def test_contradictory_arguments_are_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        expand(given)


def test_certificates(tmp_path: Path) -> None:
    (tmp_path / "c").write_text("CERT")
    (tmp_path / "k").write_text("KEY")
    cert, key = str(tmp_path / "c"), tmp_path / "k"
    apart = {"client_cert": b"CERT", "client_key": b"KEY"}
    together = {"client_cert": b"CERT", "client_key": b"CERT"}
    assert expanded(cert=(cert, key)) == apart
    assert expanded(cert=[cert, key, None]) == apart
    assert expanded(cert=cert) == expanded(cert=(cert, None)) == expanded(cert=(cert,)) == together
    with pytest.raises(ValueError, match="pass phrase"):
        expand({"cert": (cert, key, "secret")})
    with pytest.raises(OSError, match="Could not find the TLS key file"):
        expand({"cert": (cert, "/nowhere")})


def test_a_call_wins_over_its_client(tmp_path: Path) -> None:
    (tmp_path / "both").write_text("BOTH")
    with Client(IN_VAIN, http2=False, cert=tmp_path / "both") as client:
        assert client.request_options == {
            "http_version": "1.1", "client_cert": b"BOTH", "client_key": b"BOTH",
        }  # fmt: skip
        made = client.build_request("GET", "https://a.test/", http3=True)
        assert made.options["http_version"] == "3"
        assert made.options["client_cert"] == b"BOTH"


def test_httpx_has_the_same_arguments() -> None:
    assert split_arguments({"http2": True, "base_url": "x"}) == ({"http2": True}, {"base_url": "x"})
    assert split_arguments({"http1": True}) == ({}, {})
    with pytest.raises(TypeError, match="http1= cannot be used with a gateway"):
        httpx_client(IN_VAIN, http1=False)
