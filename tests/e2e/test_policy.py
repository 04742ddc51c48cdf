"""Rules as a worker and an operator meet them: refusals, privileges, reports, and SIGHUP."""

import signal
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import require_peer
from tests.support import (
    CertificateAuthority,
    Connection,
    Daemon,
    ScriptedOrigin,
    Worker,
    free_port,
    reply,
    wait_until,
)
from tests.support.messages import Message
from tests.support.nginx import Nginx
from tests.support.websocket import echo

Start = Callable[..., tuple[Daemon, Worker]]
OK = reply(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def reload(daemon: Daemon, **settings: Any) -> None:
    """Changes settings and waits until they are in force."""
    before = daemon.log().count("policy read anew")
    daemon.write_config(**settings)
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: daemon.log().count("policy read anew") > before, "a reload")


def condition(message: Message) -> bytes | None:
    """The condition of an error; None if it is none."""
    found: bytes | None = message.get("condition")
    return found


# -- refusals ----------------------------------------------------------------------------------


def test_the_log_says_why_and_the_worker_learns_that(
    start_daemon: Start, origin: ScriptedOrigin
) -> None:
    daemon, worker = start_daemon(deny="*.evil.test,@private")
    answer = worker.request(id="1", method="GET", uri="http://a.evil.test/x")
    assert set(answer.fields) == {"id", "seq", "type", "condition", "ext"}
    assert condition(answer) == b"policy-violation"
    # Which rule it was, and what a name means, is the operator's to know.
    assert answer["ext"] == {
        "error": b"deny",
        "detail": b"the policy of the gateway does not allow it: deny",
    }
    daemon.wait_log("a.evil.test refused by deny=*.evil.test")
    worker.request(id="2", method="GET", uri=origin.url())
    log = daemon.wait_log("127.0.0.1 refused by deny=@private (127.0.0.0/8 Loopback (RFC 1122))")
    assert "condition=policy-violation" in log
    assert origin.connections == 0


def test_refusals_are_counted_by_rule(start_daemon: Start) -> None:
    daemon, worker = start_daemon(deny="*.evil.test,@private")
    for uri in ("http://a.evil.test/", "http://127.0.0.1/", "http://127.0.0.2/"):
        worker.request(method="GET", uri=uri)
    daemon.stop()
    assert "refusals by rule: deny=*.evil.test 1, deny=@private 2" in daemon.log()


def test_a_port_and_a_scheme(start_daemon: Start, origin: ScriptedOrigin) -> None:
    origin.script = OK
    daemon, worker = start_daemon(allow_ports=f"80,{origin.port}")
    assert worker.request(method="GET", uri=origin.url()).get("code") == 200
    refused = worker.request(method="GET", uri="http://127.0.0.1:9/")
    assert condition(refused) == b"policy-violation"
    elsewhere = worker.request(method="GET", uri=origin.url(), connect_port=9)
    assert condition(elsewhere) == b"policy-violation"
    reload(daemon, require_tls="true")
    assert condition(worker.request(method="GET", uri=origin.url())) == b"policy-violation"


# -- privileges --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "fields"),
    [
        ("allow_ignore_policies", {"ignore_policies": True}),
        ("allow_ignore_tls_errors", {"ignore_tls_errors": True}),
        ("allow_connect_host", {"connect_host": "127.0.0.1"}),
        ("allow_connect_host", {"connect_port": 80}),
        ("allow_trust_connect_host", {"trust_connect_host": True}),
        ("allow_host_override", {"host": "inner.test"}),
        ("allow_host_override", {"ext": {"host": "inner.test"}}),
    ],
)
def test_a_privilege_that_is_not_granted(
    start_daemon: Start, origin: ScriptedOrigin, key: str, fields: dict[str, Any]
) -> None:
    origin.script = OK
    daemon, worker = start_daemon(**{key: "false"})
    refused = worker.request(method="GET", uri=origin.url(), **fields)
    assert condition(refused) == b"policy-violation"
    daemon.wait_log(f"refused by {key}=false")
    session = worker.start(method="GET", uri=origin.url(), stream=True, credits=100, **fields)
    assert condition(session.finish()[-1]) == b"policy-violation"
    session = worker.start(uri=origin.url().replace("http:", "ws:"), credits=100, **fields)
    assert condition(session.finish()[-1]) == b"policy-violation"
    assert origin.connections == 0
    assert worker.request(method="GET", uri=origin.url()).get("code") == 200


def test_another_host_than_the_uri_s(start_daemon: Start, origin: ScriptedOrigin) -> None:
    origin.script = OK
    _, worker = start_daemon()
    for fields in ({"host": "Inner.test:81"}, {"ext": {"host": "Inner.test:81"}}):
        assert worker.request(method="GET", uri=origin.url(), **fields).get("code") == 200
        assert origin.requests[-1].get(b"host") == b"Inner.test:81"
        session = worker.start(method="POST", uri=origin.url(), stream=True, credits=9, more=True,
                               **fields)  # fmt: skip
        session.next()
        session.send(body="x")
        session.finish()
        assert origin.requests[-1].get(b"host") == b"Inner.test:81"
    assert worker.request(method="GET", uri=origin.url()).get("code") == 200
    assert origin.requests[-1].get(b"host") == origin.authority.encode()
    for wrong in ("a b", "a/b", "u@a", "a\r\nb: c", ""):
        answer = worker.request(method="GET", uri=origin.url(), host=wrong)
        assert condition(answer) == b"bad-request", wrong


@pytest.mark.parametrize("rule", ["deny", "deny_always"])
def test_another_host_is_off_where_private_addresses_are_denied(
    start_daemon: Start, origin: ScriptedOrigin, rule: str
) -> None:
    _, worker = start_daemon(**{rule: "@private"}, allow="*" if rule == "deny" else "")
    answer = worker.request(method="GET", uri=origin.url(), host="a.test")
    assert condition(answer) == b"policy-violation"
    assert answer["ext"]["error"] == b"privilege"
    _, granted = start_daemon(deny="@private", allow="127.0.0.1", allow_host_override="true")
    origin.script = OK
    assert granted.request(method="GET", uri=origin.url(), host="a.test").get("code") == 200
    assert origin.requests[-1].get(b"host") == b"a.test"


def test_the_privilege_does_not_override_deny_always(
    start_daemon: Start, origin: ScriptedOrigin
) -> None:
    origin.script = OK
    _, worker = start_daemon(deny="@private", deny_always="127.0.0.66")
    fields: dict[str, Any] = {"method": "GET", "ignore_policies": True}
    assert worker.request(uri=origin.url(), **fields).get("code") == 200
    refused = worker.request(uri=f"http://127.0.0.66:{origin.port}/", **fields)
    assert condition(refused) == b"policy-violation"
    hidden = worker.request(
        uri=origin.url(), connect_host="127.0.0.66", connect_port=origin.port, **fields
    )
    assert condition(hidden) == b"policy-violation"
    assert origin.connections == 1


# -- reports -----------------------------------------------------------------------------------


def test_report_mode_allows_and_logs(start_daemon: Start, origin: ScriptedOrigin) -> None:
    origin.script = OK
    daemon, worker = start_daemon(deny="@private", policy_mode="report")
    daemon.wait_log("policy_mode=report")
    assert worker.request(method="GET", uri=origin.url()).get("code") == 200
    daemon.wait_log("policy report: 127.0.0.1 would be refused by deny=@private")
    reload(daemon, policy_mode="enforce")
    assert condition(worker.request(method="GET", uri=origin.url())) == b"policy-violation"


def test_rules_on_trial(start_daemon: Start, origin: ScriptedOrigin) -> None:
    origin.script = OK
    daemon, worker = start_daemon(deny="127.0.0.9/32", report_deny="@private")
    assert worker.request(method="GET", uri=origin.url()).get("code") == 200
    daemon.wait_log("policy report: 127.0.0.1 would be refused by report_deny=@private")
    refused = worker.request(method="GET", uri="http://127.0.0.9/")
    assert condition(refused) == b"policy-violation"


# -- new rules ---------------------------------------------------------------------------------


def test_a_request_under_way_obeys_new_rules(start_daemon: Start, origin: ScriptedOrigin) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nfirst")
        connection.expect_end()

    origin.script = script
    daemon, worker = start_daemon()
    session = worker.start(method="GET", uri=origin.url(), stream=True, credits=1000)
    wait_until(lambda: session.next().body == b"first", "the first part")
    single = worker.start(method="GET", uri=origin.url(), credits=0)
    wait_until(lambda: len(origin.requests) == 2, "the second request")
    reload(daemon, deny="127.0.0.0/8")
    assert condition(session.finish()[-1]) == b"policy-violation"
    assert condition(single.finish()[-1]) == b"policy-violation"
    daemon.wait_log("by the rules of a reload")


def test_a_request_that_is_held_back_obeys_new_rules(
    start_daemon: Start, origin: ScriptedOrigin
) -> None:
    daemon, worker = start_daemon()
    session = worker.start(method="GET", uri=origin.url(), stream=True, credits=1000, more=True)
    assert session.next().type == b"credit"
    reload(daemon, deny="127.0.0.0/8")
    session.send(body="")
    assert condition(session.finish()[-1]) == b"policy-violation"
    assert origin.connections == 0


def test_a_kept_connection_obeys_new_rules(start_daemon: Start, origin: ScriptedOrigin) -> None:
    origin.script = OK
    daemon, worker = start_daemon()
    assert worker.request(method="GET", uri=origin.url(host="localhost")).get("code") == 200
    reload(daemon, deny="127.0.0.0/8")
    refused = worker.request(method="GET", uri=origin.url(host="localhost"))
    assert condition(refused) == b"policy-violation"
    reload(daemon, deny="")
    assert worker.request(method="GET", uri=origin.url(host="localhost")).get("code") == 200
    assert len(origin.requests) == 2


def test_an_open_websocket_obeys_new_rules(start_daemon: Start, origin: ScriptedOrigin) -> None:
    origin.script = echo
    daemon, worker = start_daemon()
    session = worker.start(uri=origin.url().replace("http:", "ws:"), credits=1000)
    assert session.next().get("code") == 101
    reload(daemon, deny="127.0.0.0/8")
    assert condition(session.next()) == b"policy-violation"


def test_requests_that_new_rules_allow_go_on(start_daemon: Start, origin: ScriptedOrigin) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
        connection.wait_for("go on")
        connection.send(b"cd")

    origin.script = script
    daemon, worker = start_daemon()
    session = worker.start(method="GET", uri=origin.url(), stream=True, credits=1000)
    wait_until(lambda: session.next().body == b"ab", "the first part")
    reload(daemon, deny="10.0.0.0/8")
    origin.let("go on")
    session.finish()
    assert session.body == b"abcd"


def test_a_privilege_that_is_withdrawn(start_daemon: Start, origin: ScriptedOrigin) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nfirst")
        connection.expect_end()

    origin.script = script
    daemon, worker = start_daemon(deny="127.0.0.0/8")
    session = worker.start(
        method="GET", uri=origin.url(), stream=True, credits=1000, ignore_policies=True
    )
    wait_until(lambda: session.next().body == b"first", "the first part")
    reload(daemon, allow_ignore_policies="false")
    assert condition(session.finish()[-1]) == b"policy-violation"


def test_rules_that_cannot_be_read_change_nothing(
    start_daemon: Start, origin: ScriptedOrigin
) -> None:
    origin.script = OK
    daemon, worker = start_daemon(deny="127.0.0.66")
    daemon.write_config(deny="@privat")
    daemon.signal(signal.SIGHUP)
    daemon.wait_log("the policy stays as it was")
    assert worker.request(method="GET", uri=origin.url()).get("code") == 200
    refused = worker.request(method="GET", uri=f"http://127.0.0.66:{origin.port}/")
    assert condition(refused) == b"policy-violation"


def test_a_daemon_without_rules_says_so_once(start_daemon: Start) -> None:
    daemon, _ = start_daemon()
    assert daemon.wait_log("started").count("no deny rule") == 1


def test_our_own_endpoints_cannot_be_reached(start_daemon: Start) -> None:
    port = free_port()
    _, worker = start_daemon(deny="@own", in_req_spec=f"tcp://127.0.0.1:{port}")
    for host in ("127.0.0.1", "localhost"):
        refused = worker.request(method="GET", uri=f"http://{host}:{port}/")
        assert condition(refused) == b"policy-violation"
    elsewhere = worker.request(method="GET", uri="http://127.0.0.1:1/")
    assert condition(elsewhere) == b"remote-connection-failed"


# -- HTTP/2 ------------------------------------------------------------------------------------


def test_the_policy_is_asked_for_every_request_on_a_shared_connection(
    start_daemon: Start, authority: CertificateAuthority
) -> None:
    program = require_peer("nginx")
    nginx = Nginx(program, authority.leaf("localhost"))
    try:
        daemon, worker = start_daemon(environment={"SSL_CERT_FILE": authority.path})
        for _ in range(2):
            answer = worker.request(method="GET", uri=nginx.url())
            assert answer.body == b"over HTTP/2.0\n"
        assert len({line.split()[-1] for line in nginx.protocols()}) == 1
        reload(daemon, deny="127.0.0.0/8")
        refused = worker.request(method="GET", uri=nginx.url())
        assert condition(refused) == b"policy-violation"
        privileged = worker.request(method="GET", uri=nginx.url(), ignore_policies=True)
        assert privileged.body == b"over HTTP/2.0\n"
        again = worker.request(method="GET", uri=nginx.url())
        assert condition(again) == b"policy-violation"
        wait_until(lambda: len(nginx.protocols()) >= 3, "nginx has written its log")
        assert len(nginx.protocols()) == 3
    finally:
        nginx.close()
