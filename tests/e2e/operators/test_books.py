"""The daemon's books in ``/status``, compared with a test's own, and its health."""

from __future__ import annotations

import json
import signal

from tests.e2e.operators.asking import ask, status
from tests.e2e.operators.conftest import Start
from tests.support import ScriptedOrigin, reply
from tests.support.daemon import free_port
from tests.support.deadline import wait_until
from tests.support.origin import Connection

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


def test_books_agree_with_the_test_s_counts(start: Start, origin: ScriptedOrigin) -> None:
    daemon, worker = start()
    before = status(daemon)["books"]
    origin.script = reply(OK)
    for number in range(40):
        if number % 4 == 0:
            worker.request(method="GET", uri=origin.url())
        elif number % 4 == 1:
            worker.start(method="GET", uri=origin.url()).finish()
        elif number % 4 == 2:
            worker.request(method="GET", uri=f"http://127.0.0.1:{free_port()}/")
        else:
            worker.push({"method": "GET", "uri": origin.url()})

    def ended() -> bool:
        books = status(daemon)["books"]
        return bool(books["answered"] - before["answered"] == 40)

    wait_until(ended, "40 requests ended")
    now = status(daemon)["books"]
    assert now["accepted"] - before["accepted"] == 40
    for name in ("sessions", "transfers", "bytes_held", "answers_waiting", "answers_given_up"):
        assert now[name] == 0, name
    assert now["timers"] <= before["timers"] + 3
    assert now["descriptors"] <= before["descriptors"] + 8


def test_what_is_open_is_shown_without_secrets(start: Start, origin: ScriptedOrigin) -> None:
    daemon, worker = start(log_query="true")

    def hold(connection: Connection) -> None:
        connection.read_request()
        connection.wait_for("end")
        connection.send(OK)

    origin.script = hold
    uri = origin.url("/path?s3cret").replace("://", "://s3cret:s3cret@")
    session = worker.start(
        method="POST", uri=uri, headers=[["x", "s3cret"]], body="s3cret", user_data="s3cret"
    )
    origin.wait_request()
    wait_until(
        lambda: status(daemon)["sessions"]["states"] == {"waiting": 1},
        "the request is at the origin",
    )
    found = status(daemon)
    assert found["sessions"]["open"] == {"request": 0, "stream": 1, "push": 0}
    (shown,) = found["sessions"]["oldest"]
    assert shown["url"] == origin.url("/path")
    assert shown["method"] == "POST"
    assert shown["from"] == worker.address.decode()
    assert shown["age_seconds"] >= 0
    assert "s3cret" not in json.dumps(found)
    origin.let("end")
    session.finish()


def test_lists_of_hosts_and_rules(start: Start, origin: ScriptedOrigin) -> None:
    daemon, worker = start(deny="refused.example")
    origin.script = reply(*[OK.replace(b"200", b"500")] * 3)
    for _ in range(3):
        worker.request(method="GET", uri=origin.url())
    worker.request(method="GET", uri="http://refused.example/")
    found = status(daemon)
    errors = {entry["host"]: entry for entry in found["hosts"]["most_errors"]}
    assert errors["127.0.0.1"]["errors"] == 3
    assert errors["127.0.0.1"]["last_error"] == "500"
    assert errors["refused.example"]["last_error"] == "deny"
    assert found["policy"]["refusals"] == {"deny=refused.example": 1}
    assert found["requests"]["outcomes"]["5xx"] == 3
    assert found["latency_seconds"]["p50"] > 0


def test_a_full_daemon_says_what_it_waits_for(start: Start, origin: ScriptedOrigin) -> None:
    daemon, worker = start(max_open_requests=1)

    def hold(connection: Connection) -> None:
        connection.read_request()
        connection.wait_for("end")
        connection.send(OK)

    origin.script = hold
    session = worker.start(method="GET", uri=origin.url())
    origin.wait_request()
    assert any("open sessions to end" in text for text in status(daemon)["waiting_for"])
    origin.let("end")
    session.finish()
    assert status(daemon)["waiting_for"] == []


def test_a_daemon_that_drains_is_not_healthy(start: Start, origin: ScriptedOrigin) -> None:
    daemon, worker = start(drain_timeout=20)
    assert ask(daemon, "/healthz") == (200, "ok\n")

    def hold(connection: Connection) -> None:
        connection.read_request()
        connection.wait_for("end")
        connection.send(OK)

    origin.script = hold
    session = worker.start(method="GET", uri=origin.url())
    origin.wait_request()
    daemon.signal(signal.SIGTERM)
    wait_until(lambda: ask(daemon, "/healthz") == (503, "draining\n"), "it says so")
    assert status(daemon)["state"] == "draining"
    origin.let("end")
    session.finish()
    assert daemon.wait() == 0
