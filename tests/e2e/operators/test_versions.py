"""Which version of HTTP an answer came by: the log, metrics and status say so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.e2e.operators.asking import metrics, status
from tests.e2e.operators.conftest import Start
from tests.support import CertificateAuthority, Daemon, ScriptedOrigin, reply
from tests.support.daemon import free_port
from tests.support.http2_only import http2_only
from tests.support.http3 import Http3Origin

LENGTH = b"\r\nContent-Length: 2\r\n\r\n"
ANSWERS = {
    "1.0": b"HTTP/1.0 200 OK",
    "1.1": b"HTTP/1.1 200 OK",
    "lies": b"HTTP/3 200",  # by HTTP/1; libcurl takes it for 1.0
}
SAID = {"1.0": "1.0", "1.1": "1.1", "lies": "1.0", "2": "2", "3": "3"}


@pytest.fixture
def urls(authority: CertificateAuthority) -> Iterator[dict[str, str]]:
    """An origin for each version, by its name."""
    with ExitStack() as stack:
        found = {}
        for name, line in ANSWERS.items():
            origin = stack.enter_context(ScriptedOrigin(reply(line + LENGTH + b"ok")))
            found[name] = origin.url(f"/{name}")
        second = stack.enter_context(
            ScriptedOrigin(http2_only, tls=authority.server_context(alpn=("h2",)))
        )
        found["2"] = second.url("/2", host="localhost")
        third = Http3Origin(authority.leaf("localhost", "127.0.0.1"), free_port())
        stack.callback(third.close)
        found["3"] = f"https://localhost:{third.port}/3"
        yield found


def outcomes(daemon: Daemon) -> list[dict[str, Any]]:
    daemon.stop()
    found = [json.loads(line) for line in daemon.log().splitlines()]
    return [entry for entry in found if entry["event"] == "outcome"]


def test_log_metrics_and_status_name_the_version(
    start: Start, authority: CertificateAuthority, urls: dict[str, str]
) -> None:
    daemon, worker = start(
        environment={"SSL_CERT_FILE": authority.path}, http_version="3", log_format="json"
    )
    for url in urls.values():
        assert worker.request(method="GET", uri=url)["code"] == 200
        worker.start(method="GET", uri=url, stream=True, credits=99).finish()
    found = metrics(daemon)
    versions = status(daemon)["requests"]["http_versions"]
    said: dict[str, set[str | None]] = {}
    for entry in outcomes(daemon):
        said.setdefault(entry["url"].rpartition("/")[2], set()).add(entry.get("http_version"))
        if entry["url"] in urls.values():
            assert f" http_version={entry['http_version']}" in entry["message"]
    assert {name: said.get(name) for name in SAID} == {
        name: {version} for name, version in SAID.items()
    }
    counts = {v: found.value("zurl_responses_total", version=v) for v in ("1.0", "2", "3")}
    assert counts == {"1.0": 4, "2": 2, "3": 2}
    assert found.value("zurl_responses_total", version="1.1") >= 2
    assert (versions["1.0"], versions["2"], versions["3"]) == (4, 2, 2)


def test_a_failure_names_the_version_if_the_worker_has_the_head(
    start: Start, origin: ScriptedOrigin
) -> None:
    daemon, worker = start(log_format="json")
    origin.script = reply(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", close=True)
    uri = origin.url("/")
    worker.start(method="GET", uri=uri, stream=True, credits=9).finish()
    worker.request(method="GET", uri=f"http://127.0.0.1:{free_port()}/")
    partial, refused = [entry for entry in outcomes(daemon) if "127.0.0.1:" in entry["url"]]
    assert partial["http_version"] == "1.1"
    assert "http_version" not in refused


def test_a_worker_is_not_told_a_version_that_the_origin_only_claims(
    start: Start, urls: dict[str, str]
) -> None:
    _, worker = start()
    session = worker.start(
        method="GET",
        uri=urls["lies"],
        stream=True,
        credits=99,
        ext={"timing": True, "history": True},
    )
    assert session.skip(b"keep-alive")["ext"]["http-version"] == b"1.0"
