"""The journal: what is logged about each request, and what never is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.clock import Clock, let_pass
from zurl_py.journal import PUSH, REQUEST, STREAM, Account, Journal, shown_url, trace_id
from zurl_py.log import DEBUG, INFO, WARNING, Log
from zurl_py.loop import Loop
from zurl_py.metrics import Metrics

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01".encode()


class Desk:
    """A journal whose time a test moves, and whose log can be read."""

    def __init__(self, path: Path, level: int = INFO, form: str = "text", **more: Any) -> None:
        self.clock = Clock()
        self.loop = Loop(self.clock)
        self.path = path
        self.log = Log(level, str(path), form=form)
        self.metrics = Metrics()
        self.journal = Journal(self.log, self.metrics, self.loop, **more)

    def begin(
        self,
        interface: int = STREAM,
        id: bytes | None = b"a",
        sender: bytes | None = b"w",
        url: str = "http://example.com/path?token=s3cret",
        headers: tuple[tuple[bytes, bytes], ...] = (),
        quiet: bool = False,
    ) -> Account:
        account = self.journal.open(interface, id, sender, self.clock.now, quiet)
        scheme, _, rest = url.partition("://")
        host = rest.partition("/")[0]
        self.journal.began(account, b"GET", scheme, host, url, headers)
        return account

    def lines(self) -> list[str]:
        """The log, without times; closes it."""
        self.log.close()
        found = []
        for line in self.path.read_text().splitlines():
            tag, _day, _time, text = line.split(" ", 3)
            found.append(f"{tag} {text}")
        return found

    def objects(self) -> list[dict[str, Any]]:
        self.log.close()
        found = [json.loads(line) for line in self.path.read_text().splitlines()]
        for entry in found:
            del entry["time"]
        return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log"


# -- lines -------------------------------------------------------------------------------------


def test_both_lines_of_a_session_have_its_number_and_its_url(path: Path) -> None:
    desk = Desk(path)
    account = desk.begin(headers=((b"TraceParent", PARENT),))
    desk.clock.now += 0.012
    account.http_version = "1.1"
    desk.journal.answered_with(account, 200, 5)
    push = desk.begin(PUSH, None, None)
    desk.journal.answered_with(push, 204, 0)
    url = "http://example.com/path"
    assert desk.lines() == [
        f"[INFO] IN id=a, GET {url} session=1 from=w trace_id={TRACE}",
        f"[INFO] OUT id=a code=200 5 12ms session=1 from=w trace_id={TRACE} method=GET url={url}"
        " http_version=1.1",
        f"[INFO] IN id=-, GET {url} session=2",
        f"[INFO] OUT id=- code=204 0 0ms session=2 method=GET url={url}",
    ]


def test_a_query_is_shown_where_the_operator_wants_it(path: Path) -> None:
    desk = Desk(path, log_query=True)
    desk.journal.answered_with(desk.begin(), 200, 5)
    assert all("/path?token=s3cret" in line for line in desk.lines())


def test_a_failure_is_a_warning_once_and_then_counted(path: Path) -> None:
    desk = Desk(path, WARNING)
    for number in range(1000):
        account = desk.begin(id=b"%d" % number)
        desk.journal.failed(account, "tls-error", "certificate-expired", "it is over")
    other = desk.begin(url="http://other.example/")
    desk.journal.failed(other, "tls-error", "certificate-expired", "it is over")
    let_pass(6, desk.clock, desk.loop)
    assert desk.lines() == [
        "[WARN] OUT ERR id=0 condition=tls-error 0ms session=1 from=w "
        "method=GET url=http://example.com/path error=certificate-expired: it is over",
        "[WARN] OUT ERR id=a condition=tls-error 0ms session=1001 from=w "
        "method=GET url=http://other.example/ error=certificate-expired: it is over",
        "[WARN] 999 more with condition=tls-error error=certificate-expired host=example.com "
        "since the last report",
    ]


def test_at_info_every_failure_has_its_line(path: Path) -> None:
    desk = Desk(path, INFO)
    for _ in range(3):
        desk.journal.failed(desk.begin(), "tls-error", "certificate-expired", "")
    tags = [line.split()[0] for line in desk.lines() if " OUT ERR " in line]
    assert tags == ["[WARN]", "[INFO]", "[INFO]"]


def test_sums_are_logged_at_the_stop(path: Path) -> None:
    desk = Desk(path, WARNING)
    for _ in range(3):
        desk.journal.failed(desk.begin(), "tls-error", "x", "")
    desk.journal.log_sums()
    assert desk.lines()[-1].startswith("[WARN] 2 more with condition=tls-error error=x")


def test_a_flood_of_hosts_is_bounded(path: Path) -> None:
    """Bound: 100 warnings in five seconds, however many hosts strangers name."""
    desk = Desk(path, WARNING)
    for number in range(5000):
        account = desk.begin(url=f"http://h{number}.example/")
        desk.journal.failed(account, "policy-violation", "deny", "no")
    let_pass(6, desk.clock, desk.loop)
    lines = desk.lines()
    assert len(lines) == 101
    assert "4900 more with condition=any error=any" in lines[-1]


def test_a_flood_of_bad_messages_is_bounded_and_counted_by_reason(path: Path) -> None:
    """Bound: one line for each kind of fault in five seconds, 100 in all."""
    desk = Desk(path)
    for _ in range(20_000):
        desk.journal.refused("in_spec", "uri must be text", b"id\n1", b"w", answered=True)
    desk.journal.refused("in_req_spec", "no empty frame")
    let_pass(6, desk.clock, desk.loop)
    assert desk.lines() == [
        "[WARN] in_spec: a message was answered with bad-request: uri must be text; "
        "id='id\\n1' from=w",
        "[WARN] in_req_spec: a message was dropped: no empty frame; id=- from=-",
        "[WARN] in_spec: 19999 more messages were refused since the last report: uri must be text",
    ]


def test_quiet_requests_are_for_debug(path: Path) -> None:
    desk = Desk(path, INFO)
    desk.journal.answered_with(desk.begin(quiet=True), 200, 0)
    desk.journal.failed(desk.begin(quiet=True), "tls-error", "x", "")
    assert desk.lines() == []
    desk = Desk(path.with_suffix(".debug"), DEBUG)
    desk.journal.answered_with(desk.begin(quiet=True), 200, 0)
    assert [line.split()[0] for line in desk.lines()] == ["[DEBUG]", "[DEBUG]"]


def test_a_session_that_its_worker_ended_is_not_a_failure(path: Path) -> None:
    desk = Desk(path)
    desk.journal.ended(desk.begin(), "cancelled", "cancelled by the worker", 7)
    assert desk.lines()[-1] == (
        "[INFO] OUT id=a cancelled by the worker 0ms session=1 from=w method=GET url=http://example.com/path"
    )


# -- JSON --------------------------------------------------------------------------------------


def test_json_has_the_documented_fields(path: Path) -> None:
    desk = Desk(path, form="json")
    account = desk.begin(REQUEST, b"\xff", None, headers=((b"traceparent", PARENT),))
    desk.clock.now += 0.0125
    account.http_version = "2"
    desk.journal.answered_with(account, 404, 9)
    failed = desk.begin()
    desk.journal.failed(failed, "policy-violation", "deny", "169.254.169.254 refused by deny=x", 3)
    began, ended, _, error = desk.objects()
    about = {
        "session": 1,
        "id": "\\xff",
        "interface": "request",
        "method": "GET",
        "url": "http://example.com/path",
        "trace_id": TRACE,
    }
    message = began.pop("message")
    assert message.startswith("IN id=")
    assert began == {"level": "info", "event": "request", **about}
    assert ended.pop("message").startswith("OUT id=")
    assert ended == {
        "level": "info",
        "event": "outcome",
        **about,
        "code": 404,
        "http_version": "2",
        "ms": 12.5,
        "bytes": 9,
    }
    assert error.pop("message").startswith("OUT ERR id=a condition=policy-violation ")
    assert error == {
        "level": "warning",
        "event": "outcome",
        "session": 2,
        "id": "a",
        "from": "w",
        "interface": "stream",
        "method": "GET",
        "url": "http://example.com/path",
        "condition": "policy-violation",
        "error": "deny",
        "detail": "169.254.169.254 refused by deny=x",
        "ms": 0.0,
        "bytes": 3,
    }


# -- what is counted ---------------------------------------------------------------------------


def test_books_balance(path: Path) -> None:
    desk = Desk(path)
    seen: list[Account] = []
    desk.journal.watchers.append(seen.append)
    accounts = [desk.begin(interface) for interface in (REQUEST, STREAM, STREAM, PUSH)]
    assert (desk.journal.accepted, desk.metrics.open) == (4, [1, 2, 1])
    desk.journal.answered_with(accounts[0], 200, 1)
    desk.journal.failed(accounts[1], "tls-error", "", "")
    desk.journal.ended(accounts[2], "expired", "", 0)
    desk.journal.answered_with(accounts[3], 1000, 1)
    assert (desk.journal.answered, desk.metrics.open) == (4, [0, 0, 0])
    requests = desk.metrics.requests
    assert requests.total == 4
    assert requests.value("request", "http", "2xx") == 1
    assert requests.value("stream", "http", "tls-error") == 1
    assert requests.value("stream", "http", "expired") == 1
    assert requests.value("push", "http", "1xx") == 1
    assert seen == accounts
    desk.log.close()


# -- what is never shown -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        (b"http://example.com/%zz", "http://example.com"),
        (b"http://user:s3cret@example.com:99999/x", "http://example.com"),
        (b"http://user:s3cret@b@example.com/", "http://example.com"),
        (b"HTTPS://Example.com/?s3cret", "https://Example.com"),
        (b"x-scheme://user:s3cret@host/", "x-scheme://host"),
        (b"http://user:s3cret/@host/", "http://-"),
        (b"http://[::1/s3cret", "http://-"),
        (b"http://[::1]:80/", "http://[::1]"),
        (b"http:///s3cret", "http://"),
        (b"http://host\\@s3cret/", "http://host"),
        (b"http://h\xc3\xa4us/", "http://häus"),
        (b"//host/s3cret", "-"),
        (b"s3cret", "-"),
        (b"", "-"),
        (None, "-"),
        (b"mailto:s3cret@host", "-"),
    ],
)
def test_of_a_uri_that_is_refused_scheme_and_host_are_shown(uri: bytes | None, shown: str) -> None:
    assert shown_url(uri) == shown


def test_a_refused_uri_is_in_both_lines(path: Path) -> None:
    desk = Desk(path)
    account = desk.journal.open(REQUEST, b"a", None, desk.loop.now)
    desk.journal.refused_uri(account, b"GET", b"https://u:s3cret@host.example/%zz?s3cret", ())
    desk.journal.failed(account, "bad-request", "bad-uri", "uri: a broken escape")
    assert desk.metrics.requests.value("request", "https", "bad-request") == 1
    lines = desk.lines()
    assert len(lines) == 2
    assert all("https://host.example" in line and "s3cret" not in line for line in lines)


# -- traces ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (PARENT, TRACE),
        (b" " + PARENT + b"\t", TRACE),
        (PARENT.replace(b"00-", b"cc-", 1) + b"-more", TRACE),
        (PARENT.replace(b"00-", b"cc-", 1), TRACE),
        (PARENT + b"-more", ""),
        (PARENT.replace(b"00-", b"ff-", 1), ""),
        (PARENT.upper(), ""),
        (b"00-" + b"0" * 32 + b"-00f067aa0ba902b7-01", ""),
        (b"00-" + TRACE.encode() + b"-" + b"0" * 16 + b"-01", ""),
        (b"", ""),
        (b"garbage", ""),
    ],
)
def test_trace_ids_are_read_as_the_standard_has_them(value: bytes, found: str) -> None:
    assert trace_id(value) == found
