"""Metrics of a running daemon: names as promised, figures that a test has counted itself."""

from __future__ import annotations

import re
import subprocess

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

import zurl_py
from tests.conftest import require_peer
from tests.e2e.operators.asking import ask, metrics
from tests.e2e.operators.conftest import Start
from tests.support import ScriptedOrigin, reply
from tests.support.daemon import free_port
from tests.support.deadline import wait_until
from tests.support.origin import Connection
from tests.support.websocket import CLOSE, FIN, PING, TEXT, accept, frame, read_frame
from zurl_py.config.listener import parse_listener

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"

NAMES = {
    "zurl_requests_total": {"interface", "scheme", "outcome"},
    "zurl_responses_total": {"version"},
    "zurl_request_duration_seconds_bucket": {"le"},
    "zurl_request_phase_seconds_bucket": {"phase", "le"},
    "zurl_sessions_open": {"interface"},
    "zurl_transfers_open": set(),
    "zurl_upload_bytes_total": set(),
    "zurl_download_bytes_total": set(),
    "zurl_connections_opened_total": set(),
    "zurl_connections_reused_total": set(),
    "zurl_connections_idle": set(),
    "zurl_lookups_total": {"outcome"},
    "zurl_dns_cache_entries": set(),
    "zurl_policy_decisions_total": {"decision", "rule"},
    "zurl_policy_reports_total": {"rule"},
    "zurl_packets_in_total": {"socket"},
    "zurl_packets_dropped_total": {"socket", "reason"},
    "zurl_packets_out_total": {"socket"},
    "zurl_workers_waiting": set(),
    "zurl_waiting_bytes": set(),
    "zurl_answers_given_up_total": set(),
    "zurl_credits_withheld": set(),
    "zurl_websockets_open": set(),
    "zurl_websocket_frames_total": {"direction", "opcode"},
    "zurl_websocket_closes_total": {"code"},
    "zurl_loop_turn_seconds_bucket": {"le"},
    "zurl_loop_lag_seconds_bucket": {"le"},
    "zurl_log_lines_dropped_total": set(),
    "zurl_build_info": {"version", "libcurl", "libzmq", "python"},
    "process_cpu_seconds_total": set(),
    "process_open_fds": set(),
    "process_max_fds": set(),
    "process_virtual_memory_bytes": set(),
    "process_resident_memory_bytes": set(),
    "process_start_time_seconds": set(),
}


def test_every_name_and_label_is_there_from_the_start(start: Start) -> None:
    daemon, _ = start()
    found = metrics(daemon)
    labels: dict[str, set[str]] = {}
    for name, pairs in found:
        labels.setdefault(name, set()).update(label for label, _ in pairs)
    for name, wanted in NAMES.items():
        assert labels.get(name) == wanted, name
    values = {
        label: {dict(pairs)[label] for name, pairs in found if name == "zurl_requests_total"}
        for label in ("interface", "scheme", "outcome")
    }
    assert values["interface"] == {"request", "stream", "push"}
    assert values["scheme"] == {"http", "https", "ws", "wss"}
    assert {"2xx", "3xx", "4xx", "5xx", "tls-error", "rejected"} <= values["outcome"]
    count = sum(name == "zurl_requests_total" for name, _ in found)
    assert count == 3 * 4 * len(values["outcome"])
    phases = {dict(p)["phase"] for n, p in found if n == "zurl_request_phase_seconds_bucket"}
    assert phases == {"resolve", "connect", "tls", "first_byte", "transfer"}
    assert found.sum("zurl_build_info", version=zurl_py.__version__) == 1
    assert found.value("process_resident_memory_bytes") > 1e7
    assert found.value("process_open_fds") == pytest.approx(daemon.descriptors(), abs=3)


def test_promtool_and_the_reference_parsers_accept_it(start: Start, origin: ScriptedOrigin) -> None:
    promtool = require_peer("promtool")
    daemon, worker = start()
    origin.script = reply(OK)
    headers = [["traceparent", f"00-{TRACE}-00f067aa0ba902b7-01"]]
    worker.request(method="GET", uri=origin.url(), headers=headers)
    _, text = ask(daemon, "/metrics")
    result = subprocess.run(
        [promtool, "check", "metrics"], input=text.encode(), capture_output=True, timeout=60
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")
    accept_ = {"Accept": "application/openmetrics-text; version=1.0.0"}
    _, text = ask(daemon, "/metrics", accept_)
    exemplars = [
        sample.exemplar.labels
        for family in parse_openmetrics(text)  # type: ignore[no-untyped-call]
        for sample in family.samples
        if sample.exemplar
    ]
    assert exemplars == [{"trace_id": TRACE}]


def test_requests_by_interface_and_outcome(start: Start, origin: ScriptedOrigin) -> None:
    daemon, worker = start(deny="refused.example")
    answers = [OK, OK.replace(b"200", b"404"), OK.replace(b"200", b"503"), OK, OK]
    origin.script = reply(*answers)
    for _ in range(3):
        worker.request(method="GET", uri=origin.url())
    worker.start(method="POST", uri=origin.url(), body="x" * 1000).finish()
    worker.push({"method": "GET", "uri": origin.url()})
    worker.request(method="GET", uri="http://refused.example/")
    worker.request(method="GET", uri=f"http://127.0.0.1:{free_port()}/")
    wait_until(
        lambda: metrics(daemon).sum("zurl_requests_total", interface="push") == 1, "the push"
    )
    found = metrics(daemon)

    def count(**labels: str) -> float:
        return found.sum("zurl_requests_total", scheme="http", **labels)

    assert count(interface="request", outcome="2xx") == 1
    assert count(interface="request", outcome="4xx") == 1
    assert count(interface="request", outcome="5xx") == 1
    assert count(interface="stream", outcome="2xx") == 1
    assert count(interface="push", outcome="2xx") == 1
    assert count(interface="request", outcome="policy-violation") == 1
    assert count(interface="request", outcome="remote-connection-failed") == 1
    total = found.sum("zurl_requests_total")
    assert found.value("zurl_request_duration_seconds_count") == total
    assert found.sum("zurl_sessions_open") == 0
    assert found.value("zurl_policy_decisions_total", decision="refused", rule="deny") == 1
    assert found.value("zurl_policy_decisions_total", decision="allowed", rule="default") > 5
    assert found.value("zurl_connections_opened_total") == 1
    assert found.value("zurl_connections_reused_total") == 4
    assert found.value("zurl_connections_idle") == 1
    assert found.value("zurl_upload_bytes_total") == 1000
    assert found.value("zurl_download_bytes_total") == 25
    assert found.value("zurl_request_phase_seconds_count", phase="connect") == 1
    assert found.value("zurl_request_phase_seconds_count", phase="first_byte") == 5
    assert found.value("zurl_request_phase_seconds_count", phase="tls") == 0
    assert found.value("zurl_loop_turn_seconds_count") > 10


def test_requests_in_progress(start: Start, origin: ScriptedOrigin) -> None:
    daemon, worker = start()

    def hold(connection: Connection) -> None:
        connection.read_request()
        connection.wait_for("end")
        connection.send(OK)

    origin.script = hold
    sessions = [worker.start(method="GET", uri=origin.url()) for _ in range(3)]
    origin.wait_request(3)
    found = metrics(daemon)
    assert found.value("zurl_sessions_open", interface="stream") == 3
    assert found.value("zurl_transfers_open") == 3
    assert found.value("zurl_connections_idle") == 0
    origin.let("end")
    for session in sessions:
        session.finish()
    found = metrics(daemon)
    assert found.value("zurl_sessions_open", interface="stream") == 0
    assert found.value("zurl_transfers_open") == 0


def test_packets(start: Start, origin: ScriptedOrigin) -> None:
    daemon, worker = start()
    origin.script = reply(OK)
    worker.fence()  # the worker has asked more than once whether the daemon is there
    before = metrics(daemon)
    worker.request(method="GET", uri=origin.url())
    worker.start("a", method="GET", uri=origin.url()).finish()
    worker.push({"from": worker.address, "id": "faulty", "method": 1})
    worker.follow({"from": worker.address, "id": "unknown", "seq": 1, "type": "keep-alive"})
    assert worker.next_of(b"unknown").type == b"cancel"
    assert worker.next_of(b"faulty")["condition"] == b"bad-request"
    now = metrics(daemon)

    def news(name: str, **labels: str) -> float:
        return now.value(name, **labels) - before.value(name, **labels)

    dropped = {"socket": "in_stream_spec", "reason": "no-session"}
    assert news("zurl_packets_dropped_total", **dropped) == 1
    assert news("zurl_packets_in_total", socket="in_req_spec") == 1
    assert news("zurl_packets_in_total", socket="in_spec") == 2
    assert news("zurl_packets_in_total", socket="in_stream_spec") == 1
    assert news("zurl_packets_out_total", socket="in_req_spec") == 1
    # the answer (and what is sent before it), the bad-request, the cancel
    assert 3 <= news("zurl_packets_out_total", socket="out_spec") <= 4
    assert news("zurl_packets_dropped_total", socket="in_spec", reason="malformed") == 1


def test_answers_without_a_receiver(start: Start, origin: ScriptedOrigin) -> None:
    daemon, worker = start()
    origin.script = reply(OK)
    worker.push({"from": "nobody", "id": "1", "method": "GET", "uri": "x:"})
    wait_until(
        lambda: (
            metrics(daemon).value(
                "zurl_packets_dropped_total", socket="out_spec", reason="nobody-there"
            )
            == 1
        ),
        "the answer to nobody",
    )


def test_websockets(start: Start, origin: ScriptedOrigin) -> None:
    daemon, worker = start()

    def talk(connection: Connection) -> None:
        accept(connection)
        connection.send(frame(TEXT, b"hi") + frame(PING, b""))
        read_frame(connection)
        connection.send(frame(CLOSE, (1001).to_bytes(2)))
        read_frame(connection)

    origin.script = talk
    session = worker.start(uri=origin.url(scheme="ws"), credits=1000)
    while session.next().type != b"ping":
        pass
    assert metrics(daemon).value("zurl_websockets_open") == 1
    session.send(body="there")
    while session.next().type != b"close":
        pass
    session.send(type="close", code=1001)
    wait_until(lambda: metrics(daemon).value("zurl_websockets_open") == 0, "the end")
    found = metrics(daemon)
    for direction, opcode in (
        *(("in", opcode) for opcode in ("text", "ping", "close")),
        *(("out", opcode) for opcode in ("text", "close")),
    ):
        labels = {"direction": direction, "opcode": opcode}
        assert found.value("zurl_websocket_frames_total", **labels) == 1, labels
    assert found.sum("zurl_websocket_frames_total") == 5
    assert found.value("zurl_websocket_closes_total", code="1001") == 1
    assert found.sum("zurl_requests_total", scheme="ws", outcome="1xx") == 1
    assert FIN == 0x80


def test_a_websocket_cut_off_is_an_abnormal_closure(start: Start, origin: ScriptedOrigin) -> None:
    daemon, worker = start()

    def cut(connection: Connection) -> None:
        accept(connection)
        connection.wait_for("open")
        connection.reset()

    origin.script = cut
    session = worker.start(uri=origin.url(scheme="ws"), credits=1000)
    assert session.next()["code"] == 101
    origin.let("open")
    while session.next().type != b"error":
        pass
    assert metrics(daemon).value("zurl_websocket_closes_total", code="1006") == 1


def test_reports(start: Start, origin: ScriptedOrigin) -> None:
    daemon, worker = start(report_deny="127.0.0.1")
    origin.script = reply(OK)
    worker.request(method="GET", uri=origin.url())
    assert metrics(daemon).sum("zurl_policy_reports_total") >= 1


# -- who may ask -------------------------------------------------------------------------------


@pytest.mark.parametrize("deny", ["@own", "@private"])
def test_the_port_of_the_listener_is_no_target(start: Start, deny: str) -> None:
    port = free_port()
    daemon, worker = start(metrics_listen=f"127.0.0.1:{port}", deny=deny)
    answer = worker.request(method="GET", uri=f"http://127.0.0.1:{port}/status")
    assert answer["condition"] == b"policy-violation"
    assert ask(daemon, "/healthz") == (200, "ok\n")


def test_off_by_default(start: Start) -> None:
    daemon, _ = start(metrics_listen="")
    assert "metrics_listen" not in daemon.log()


def test_a_unix_socket_has_the_mode_of_the_others(start: Start) -> None:
    import os

    daemon, _ = start(ipc_file_mode=660)
    path = parse_listener(str(daemon.settings["metrics_listen"])).path
    assert os.stat(path).st_mode & 0o777 == 0o660
    daemon.stop()
    assert not os.path.exists(path)


def test_an_address_that_is_taken_keeps_the_daemon_from_starting(start: Start) -> None:
    daemon, _ = start(metrics_listen=f"127.0.0.1:{free_port()}")
    address = str(daemon.settings["metrics_listen"])
    from tests.support import Daemon

    with Daemon(metrics_listen=address) as second:
        assert second.wait() == 1
        errors = [line for line in second.log().splitlines() if "[ERR]" in line]
        assert len(errors) == 1
        assert re.search(
            f"metrics_listen: cannot bind {address}: Address already in use", errors[0]
        )
