"""What an operator learns from the log."""

from __future__ import annotations

import json
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.operators.conftest import Start
from tests.support import Daemon, ScriptedOrigin, reply
from tests.support.daemon import free_port
from tests.support.deadline import wait_until
from tests.support.origin import Connection

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


def lines(daemon: Daemon, *about: str) -> list[str]:
    """The lines of a daemon that has stopped, with all of these in them."""
    daemon.stop()
    return [line for line in daemon.log().splitlines() if all(text in line for text in about)]


def objects(daemon: Daemon) -> list[dict[str, Any]]:
    daemon.stop()
    return [json.loads(line) for line in daemon.log().splitlines()]


# -- one session, two lines --------------------------------------------------------------------


def test_fire_and_forget_can_be_followed(start: Start, origin: ScriptedOrigin) -> None:
    daemon, worker = start()
    origin.script = reply(OK)
    uri = origin.url("/hook?token=s3cret").replace("://", "://user:s3cret@")
    for _ in range(2):
        worker.push({"method": "POST", "uri": uri, "body": "x"})
    wait_until(lambda: daemon.log().count("code=200") == 2, "both answers in the log")
    came, went = (
        lines(daemon, f" {way} ", "POST", f"{origin.authority}/hook") for way in ("IN", "OUT")
    )
    sessions = [re.findall(r" session=(\d+)", line) for line in (*came, *went)]
    assert sorted(sessions[:2]) == sorted(sessions[2:])
    assert sessions[0] != sessions[1]
    assert "s3cret" not in daemon.log()
    assert "code=200" in went[0]


def test_a_query_is_logged_where_the_operator_wants_it(
    start: Start, origin: ScriptedOrigin
) -> None:
    daemon, worker = start(log_query="true")
    origin.script = reply(OK)
    worker.request(id="a", method="GET", uri=origin.url("/x?q=1").replace("://", "://u:s3cret@"))
    found = lines(daemon, "/x?q=1")
    assert len(found) == 2
    assert "s3cret" not in daemon.log()


@pytest.mark.parametrize("level", [2, 3])
def test_no_level_shows_a_query_or_a_password(
    start: Start, origin: ScriptedOrigin, level: int
) -> None:
    daemon, worker = start(arguments=(f"--loglevel={level}",))
    moved = b"HTTP/1.1 302 x\r\nLocation: /y?s3cret=1\r\nContent-Length: 0\r\n\r\n"
    origin.script = reply(moved, OK)
    secret = origin.url("/x?q=s3cret").replace("://", "://s3cret:s3cret@")
    worker.request(id="a", method="GET", uri=secret, follow_redirects=True)
    worker.request(id="b", method="GET", uri=secret + "%zz")
    worker.request(id="c", method="GET", uri=secret.replace("http", "gopher"))
    worker.request(id="d", method="GET", uri=secret.replace("/x", ":99999/x"))
    worker.start(method="GET", uri=secret + "%zz").finish()
    assert lines(daemon, "GET", f"http://{origin.authority.partition(':')[0]}")
    assert not lines(daemon, "s3cret")


def test_of_a_refused_uri_scheme_and_host_are_shown(start: Start) -> None:
    daemon, worker = start()
    worker.request(id="a", method="GET", uri="https://user:pw@host.example/%zz?q")
    worker.start("b", method="GET", uri="https://user:pw@host.example/%zz?q").finish()
    assert len(lines(daemon, "https://host.example ", "id=a")) == 2
    assert len(lines(daemon, "https://host.example ", "id=b")) == 2


# -- levels and floods -------------------------------------------------------------------------


def test_failures_are_seen_with_warnings_only(start: Start) -> None:
    daemon, worker = start(arguments=("--loglevel=1",), deny="refused.example")
    uri = f"http://127.0.0.1:{free_port()}/"
    for _ in range(50):
        worker.request(method="GET", uri=uri)
    worker.request(id="other", method="GET", uri="http://refused.example/")
    first = lines(daemon, "[WARN]", "condition=remote-connection-failed", "OUT ERR")
    sums = lines(daemon, "[WARN]", " more with condition=remote-connection-failed")
    assert len(first) == 1
    assert sum(int(re.findall(r"(\d+) more with", line)[0]) for line in sums) == 49
    assert len(sums) <= 3  # one every five seconds, and the last one at the end
    assert len(lines(daemon, "[WARN]", "condition=policy-violation", "error=deny", "id=other")) == 1


def test_twenty_thousand_malformed_packets_are_few_lines(start: Start) -> None:
    """Bound: one line for each kind of fault, and one sum for it every five seconds."""
    daemon, worker = start()
    for number in range(20_000):
        worker.push({"from": worker.address, "id": "faulty", "method": 1})
        if number % 500 == 499:
            worker.fence()
    found = lines(daemon, "method must be text")
    assert 2 <= len(found) < 20
    assert "answered with bad-request" in found[0]
    assert "id=faulty" in found[0]
    assert f"from={worker.address.decode()}" in found[0]
    assert sum(int(n) for n in re.findall(r" (\d+) more messages", "\n".join(found))) == 19_999


def test_a_malformed_packet_that_cannot_be_answered_says_so(start: Start) -> None:
    daemon, worker = start()
    worker.push(b"Xnonsense")
    worker.push(b"")
    worker.fence()
    assert len(lines(daemon, "[WARN]", "in_spec", "dropped", "id=-", "from=-")) == 2


# -- forms -------------------------------------------------------------------------------------


def test_json_by_its_documented_schema(start: Start, origin: ScriptedOrigin) -> None:
    daemon, worker = start(log_format="json", arguments=())
    origin.script = reply(OK)
    headers = [["traceparent", PARENT]]
    worker.request(id="a", method="GET", uri=origin.url("/x?q"), headers=headers)
    worker.start("b", method="GET", uri="http://x.invalid.example:1/").cancel()
    worker.push({"from": worker.address, "id": "faulty", "method": 1})
    worker.fence()
    found = objects(daemon)
    for entry in found:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry["time"])
        assert entry["level"] in ("error", "warning", "info", "debug")
        assert entry["message"]
    events = {entry["event"] for entry in found}
    assert {"start", "started", "stop", "stopped", "request", "outcome", "refused"} <= events
    start_ = next(entry for entry in found if entry["event"] == "start")
    assert start_["configuration"] == str(daemon.config_path)
    assert start_["endpoints"]["in_spec"] == [daemon.endpoints["in_spec"]]
    came, went = (
        next(e for e in found if e["event"] == event and e.get("id") == "a")
        for event in ("request", "outcome")
    )
    assert came["session"] == went["session"]
    assert came["url"] == went["url"] == origin.url("/x")
    assert came["trace_id"] == went["trace_id"] == TRACE
    assert (went["interface"], went["method"]) == ("request", "GET")
    assert (went["code"], went["bytes"]) == (200, 5)
    assert went["ms"] >= 0
    refused = next(e for e in found if e["event"] == "refused")
    assert (refused["id"], refused["from"]) == ("faulty", worker.address.decode())
    assert refused["level"] == "warning"


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_journal_gets_priorities(start: Start, form: str, tmp_path: Path) -> None:
    """JOURNAL_STREAM names the stream that the daemon writes to: device and inode."""
    log = tmp_path / "journal"
    log.touch()
    about = log.stat()
    stream = f"{about.st_dev}:{about.st_ino}"
    daemon, worker = start(
        arguments=(f"--logfile={log}", "--loglevel=3"),
        environment={"JOURNAL_STREAM": stream},
        log_format=form,
    )
    worker.request(method="GET", uri=f"http://127.0.0.1:{free_port()}/")
    daemon.stop()
    marks = {line[:4] for line in log.read_text().splitlines()}
    first = "[" if form == "text" else "{"
    assert {f"<4>{first}", f"<6>{first}", f"<7>{first}"} <= marks
    assert all(re.fullmatch(r"<[3467]>[\[{]", mark) for mark in marks)


def test_the_start_says_version_configuration_and_endpoints(start: Start) -> None:
    import zurl_py

    daemon, _ = start()
    (line,) = lines(daemon, "starting...")
    assert zurl_py.__version__ in line
    assert str(daemon.config_path) in line
    for key in ("in_spec", "in_stream_spec", "out_spec", "in_req_spec", "metrics_listen"):
        assert f"{key}={daemon.settings[key]}" in line


def test_a_field_with_underscores_is_told_once(start: Start, origin: ScriptedOrigin) -> None:
    daemon, worker = start()
    origin.script = reply(OK)
    for format in ("J", "T", "M"):
        fields = {"id": "a", "method": "GET", "uri": origin.url(), "follow_redirects": True}
        worker.send_req(fields, format)
        assert worker.recv_req()["code"] == 200
    (line,) = lines(daemon, "follow_redirects")
    assert "[WARN]" in line
    assert "follow-redirects" in line
    assert "id=a" in line


# -- traces ------------------------------------------------------------------------------------


def test_trace_context_goes_through_byte_for_byte(start: Start, origin: ScriptedOrigin) -> None:
    daemon, worker = start()
    origin.script = reply(OK)
    pairs = [
        ["TraceParent", PARENT],
        ["tracestate", "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"],
        ["tracestate", "vendor@x= a b;c"],
    ]
    worker.start("t", method="GET", uri=origin.url(), headers=pairs).finish()
    sent = origin.wait_request().headers
    assert [[k.decode(), v.decode()] for k, v in sent if k.lower().startswith(b"trace")] == pairs
    assert len(lines(daemon, "id=t", f"trace_id={TRACE}")) == 2


# -- when lines come ---------------------------------------------------------------------------


def test_lines_are_out_half_a_second_later_and_at_the_end(
    start: Start, origin: ScriptedOrigin
) -> None:
    """Bound: half a second, and a stop waits for none of it."""
    daemon, worker = start()
    origin.script = reply(OK)
    worker.request(id="one", method="GET", uri=origin.url())
    asked = time.monotonic()
    daemon.wait_log("OUT id=one")
    assert time.monotonic() - asked < 10
    worker.request(id="two", method="GET", uri=origin.url())
    daemon.stop()
    assert "OUT id=two" in daemon.log()
    assert daemon.log().rstrip().endswith("stopped")


def test_a_stop_is_said_at_once(start: Start, origin: ScriptedOrigin) -> None:
    daemon, worker = start(drain_timeout=20)

    def hold(connection: Connection) -> None:
        connection.read_request()
        connection.wait_for("end")

    origin.script = hold
    worker.start("open", method="GET", uri=origin.url())
    origin.wait_request()
    daemon.signal(signal.SIGTERM)
    asked = time.monotonic()
    daemon.wait_log("stopping; 1 sessions open")
    assert time.monotonic() - asked < 10
    assert "IN id=open" in daemon.log()
    daemon.signal(signal.SIGTERM)  # at once
    daemon.wait()
    origin.let("end")


@pytest.mark.parametrize("by_key", [False, True])
def test_level_0_has_errors_and_warnings(
    start: Start, origin: ScriptedOrigin, by_key: bool
) -> None:
    if by_key:
        daemon, worker = start(arguments=(), log_level=0)
    else:
        daemon, worker = start(arguments=("--loglevel=0",))
    origin.script = reply(OK)
    worker.request(id="answered", method="GET", uri=origin.url())
    worker.request(id="failed", method="GET", uri=f"http://127.0.0.1:{free_port()}/")
    daemon.signal(signal.SIGHUP)  # which sets the level anew
    wait_until(lambda: daemon.log().count("no deny rule") == 2, "a reload")
    worker.request(id="bad", method="G T", uri=origin.url())
    assert len(lines(daemon, "[WARN]", "OUT ERR", "id=failed")) == 1
    assert len(lines(daemon, "[WARN]", "OUT ERR", "id=bad")) == 1
    assert "[INFO]" not in daemon.log()


def test_a_reload_changes_level_and_form(start: Start, origin: ScriptedOrigin) -> None:
    daemon, worker = start(arguments=(), log_level=1)
    origin.script = reply(OK)
    worker.request(id="unseen", method="GET", uri=origin.url())
    daemon.write_config(log_level=2, log_format="json")
    daemon.signal(signal.SIGHUP)
    daemon.wait_log('"event":"reload"')
    worker.request(id="seen", method="GET", uri=origin.url())
    wait_until(lambda: '"id":"seen"' in daemon.log(), "the lines in their new form")
    daemon.stop()
    assert "unseen" not in daemon.log()


def test_the_command_line_wins_and_a_reload_says_so(start: Start) -> None:
    daemon, _ = start(arguments=("--loglevel=1",), log_level=1)
    daemon.write_config(log_level=3)
    daemon.signal(signal.SIGHUP)
    log = daemon.wait_log("log_level=3")
    assert "[WARN]" in next(line for line in log.splitlines() if "log_level=3" in line)
    assert "[DEBUG]" not in log


# -- reports -----------------------------------------------------------------------------------


def test_reports_of_the_policy_are_summed_up(start: Start, origin: ScriptedOrigin) -> None:
    daemon, worker = start(report_deny="127.0.0.1")
    origin.script = reply(OK)
    for _ in range(30):
        worker.request(method="GET", uri=origin.url())
    assert len(lines(daemon, "policy report: 127.0.0.1 would be")) == 1
    assert lines(daemon, "more times by report_deny=127.0.0.1")
