"""What the log says, and what it must not."""

import re
from collections.abc import Callable
from typing import Any

from tests.support import Daemon, ScriptedOrigin, Worker, reply

Start = Callable[..., tuple[Daemon, Worker]]
_OK = b"HTTP/1.1 200 OK\r\nSet-Cookie: session=oven-fresh\r\nContent-Length: 5\r\n\r\nhello"
_SECRETS = ("s3cret", "Bearer-token", "Basic", "dXNlcjpzM2NyZXQ", "jar-content")


def _ask(worker: Worker, origin: ScriptedOrigin, **fields: Any) -> None:
    uri = origin.url("/path").replace("://", "://user:s3cret@")
    headers = [
        ["Authorization", "Bearer-token"],
        ["Proxy-Authorization", "Bearer-token"],
        ["Cookie", "jar-content"],
        ["X-Plain", "v"],
    ]
    worker.request(id="logged", method="GET", uri=uri, headers=headers, **fields)


def test_one_line_in_and_one_line_out_at_info(start_daemon: Start, origin: ScriptedOrigin) -> None:
    daemon, worker = start_daemon(arguments=("--loglevel=2",))
    origin.script = reply(_OK)
    _ask(worker, origin)
    daemon.stop()
    lines = [line for line in daemon.log().splitlines() if "logged" in line]
    assert len(lines) == 2, lines
    assert all(re.match(r"\[INFO\] \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ ", x) for x in lines), lines
    assert "GET" in lines[0]
    assert "/path" in lines[0]
    assert "200" in lines[1]
    assert re.search(r"\b5\b.*\b\d+ ?ms", lines[1]), "size of the body and duration"


def test_secrets_are_in_no_log_at_any_level(start_daemon: Start, origin: ScriptedOrigin) -> None:
    daemon, worker = start_daemon(arguments=("--verbose",))
    origin.script = reply(_OK)
    _ask(worker, origin)
    redirect = b"HTTP/1.1 302 x\r\nLocation: http://u:s3cret@%b/x\r\nContent-Length: 0\r\n\r\n"
    origin.script = reply(redirect % origin.authority.encode(), _OK)
    _ask(worker, origin, follow_redirects=True)
    _ask(worker, origin, max_size=1)
    bad = f"http://user:s3cret@{origin.authority}/%zz"
    worker.request(id="bad", method="GET", uri=bad)
    worker.request(id="bad", method="GET", uri=f"http://user:s3cret@{origin.authority}:99999/")
    worker.request(id="bad", method="GET", uri=f"x-scheme://user:s3cret@{origin.authority}/")
    worker.request(id="bad", method="GET", uri="http://user:s3cret@nosuch.invalid/")
    session = worker.start(method="GET", uri=bad)
    session.finish()
    daemon.stop()
    log = daemon.log()
    assert "X-Plain" in log, "libcurl's own trace is there"
    for secret in _SECRETS:
        assert secret not in log, [line for line in log.splitlines() if secret in line]


def test_warnings_only(start_daemon: Start, origin: ScriptedOrigin) -> None:
    daemon, worker = start_daemon(arguments=("--loglevel=1",))
    _ask(worker, origin)
    daemon.stop()
    assert "logged" not in daemon.log()


def test_quiet_request_is_logged_at_debug_only(start_daemon: Start, origin: ScriptedOrigin) -> None:
    daemon, worker = start_daemon(arguments=("--loglevel=2",))
    worker.request(id="whispered", method="GET", uri=origin.url(), ext={"quiet": True})
    worker.request(id="spoken", method="GET", uri=origin.url())
    daemon.stop()
    assert "whispered" not in daemon.log()
    assert "spoken" in daemon.log()


def test_each_rejected_message_is_logged_once_with_its_fault(start_daemon: Start) -> None:
    daemon, worker = start_daemon(arguments=("--loglevel=2",))
    worker.push({"from": worker.address, "id": "faulty", "method": 1})
    worker.fence()
    worker.push(b"X")
    worker.fence()
    worker.send_req({"id": "q", "timeout": []})
    worker.recv_req()
    daemon.stop()
    lines = daemon.log().splitlines()
    assert len([line for line in lines if "method must be" in line]) == 1, lines
    assert len([line for line in lines if "timeout must be" in line]) == 1, lines
    assert not [line for line in lines if "Traceback" in line]


def test_control_characters_do_not_forge_lines(start_daemon: Start, origin: ScriptedOrigin) -> None:
    daemon, worker = start_daemon(arguments=("--loglevel=3",))
    forged = "a\n[ERR] forged"
    worker.request(id=forged, method="GET", uri=origin.url())
    worker.request(method=forged, uri=origin.url())
    worker.request(method="GET", uri=origin.url("/" + forged))
    worker.push({"from": f"{forged} x", "id": forged, "method": 1})
    worker.push({"from": worker.address, "id": "x", "type": forged})
    worker.fence()
    daemon.stop()
    assert not [line for line in daemon.log().splitlines() if line.startswith("[ERR] forged")]
