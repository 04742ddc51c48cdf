"""``zurl-py get`` and its kind: what goes out, what is printed, what it ends with."""

import base64
import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.e2e.cli.conftest import Run
from tests.support import Connection, Daemon, ScriptedOrigin, reply, wait_until
from tests.support.origin import dead_port
from tests.support.websocket import echo
from zurl_py.cli.answer import _show_body
from zurl_py.cli.writeout import Outcome
from zurl_py.client import Response

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-A: b\r\nContent-Length: 6\r\n\r\nhello\n"


@pytest.fixture(autouse=True)
def answers(origin: ScriptedOrigin) -> None:
    origin.script = reply(OK)


def test_the_body_goes_to_standard_output_and_nothing_else(
    run: Run, origin: ScriptedOrigin
) -> None:
    done = run("get", origin.url("/x"))
    assert (done.status, done.out, done.err) == (0, b"hello\n", "")


@pytest.mark.parametrize(
    ("arguments", "line", "body"),
    [
        (["get", "URL"], b"GET /x HTTP/1.1", b""),
        (["head", "URL"], b"HEAD /x HTTP/1.1", b""),
        (["delete", "URL"], b"DELETE /x HTTP/1.1", b""),
        (["request", "PURGE", "URL"], b"PURGE /x HTTP/1.1", b""),
        (["get", "-X", "REPORT", "URL"], b"REPORT /x HTTP/1.1", b""),
        (["get", "URL", "q==a b", "r==1&2"], b"GET /x?q=a+b&r=1%262 HTTP/1.1", b""),
        (["get", "-G", "-d", "a=1", "-d", "b=2", "URL"], b"GET /x?a=1&b=2 HTTP/1.1", b""),
        (["get", "--url-query", "q=a b", "URL"], b"GET /x?q=a%20b HTTP/1.1", b""),
        (["post", "-d", "a=1", "-d", "b=2", "URL"], b"POST /x HTTP/1.1", b"a=1&b=2"),
        (["post", "-d", "@lines", "URL"], b"POST /x HTTP/1.1", b"onetwo"),
        (["post", "--data-binary", "@lines", "URL"], b"POST /x HTTP/1.1", b"one\ntwo\n"),
        (["post", "--data-urlencode", "n=a&b", "URL"], b"POST /x HTTP/1.1", b"n=a%26b"),
        (["post", "--json", '{"a":1}', "URL"], b"POST /x HTTP/1.1", b'{"a":1}'),
        (["put", "-T", "lines", "URL"], b"PUT /x HTTP/1.1", b"one\ntwo\n"),
        (["post", "URL", "a=1", "b:=[2]"], b"POST /x HTTP/1.1", b'{"a":"1","b":[2]}'),
        (["patch", "URL", "a=@lines"], b"PATCH /x HTTP/1.1", b'{"a":"one\\ntwo\\n"}'),
    ],
)
def test_the_request_that_is_sent(
    run: Run,
    origin: ScriptedOrigin,
    tmp_path: Path,
    arguments: list[str],
    line: bytes,
    body: bytes,
) -> None:
    (tmp_path / "lines").write_text("one\ntwo\n")
    done = run(*(origin.url("/x") if text == "URL" else text for text in arguments))
    assert done.status == 0, done.err
    request = origin.requests[-1]
    assert request.head.splitlines()[0] == line
    assert request.body == body


def test_headers(run: Run, origin: ScriptedOrigin) -> None:
    user = ["-u", "me:se:cret", "-A", "agent", "-e", "http://from/", "-b", "a=1", "-b", "b=2"]
    assert (
        run("get", *user, "-H", "X-One: 1", "-H", "X-Empty;", origin.url(), "X-Two:2").status == 0
    )
    sent = {name.lower(): value for name, value in origin.requests[-1].headers}
    assert sent[b"authorization"] == b"Basic " + base64.b64encode(b"me:se:cret")
    assert (sent[b"user-agent"], sent[b"referer"]) == (b"agent", b"http://from/")
    assert (sent[b"x-one"], sent[b"x-two"], sent[b"x-empty"]) == (b"1", b"2", b"")
    assert sent[b"cookie"] == b"a=1; b=2"
    run("get", "--bearer", "token", "-H", "User-Agent:", origin.url())
    sent = {name.lower(): value for name, value in origin.requests[-1].headers}
    assert sent[b"authorization"] == b"Bearer token"
    assert b"user-agent" not in sent


def test_a_multipart_form(run: Run, origin: ScriptedOrigin, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("n")
    arguments = ["-F", "a=1", "-F", "f=@notes.txt;filename=other", "-F", "t=<notes.txt;type=a/b"]
    assert run("post", *arguments, origin.url()).status == 0
    body = origin.requests[-1].body
    assert b'name="a"\r\n\r\n1\r\n' in body
    assert b'name="f"; filename="other"\r\nContent-Type: text/plain\r\n\r\nn\r\n' in body
    assert b"Content-Type: a/b\r\n\r\nn\r\n" in body
    assert run("post", origin.url(), "f@notes.txt", "a=1").status == 0
    assert b'filename="notes.txt"' in origin.requests[-1].body


def test_localhost_in_short(run: Run, origin: ScriptedOrigin) -> None:
    assert run("get", f":{origin.port}/short").out == b"hello\n"
    assert run("get", f"127.0.0.1:{origin.port}/short").out == b"hello\n"


def test_the_head_of_the_answer(run: Run, origin: ScriptedOrigin, tmp_path: Path) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-A: b\r\nContent-Length: 6\r\n\r\n"
    assert run("get", "-i", origin.url()).out == head + b"hello\n"
    assert run("get", "-I", origin.url()).out == head
    run("get", "-D", "head", "-o", "body", origin.url())
    assert (tmp_path / "head").read_bytes() == head
    assert (tmp_path / "body").read_bytes() == b"hello\n"
    run("get", "-O", origin.url("/files/name.txt?x"))
    assert (tmp_path / "name.txt").read_bytes() == b"hello\n"


def test_a_name_from_the_url_stays_in_this_directory(run: Run, origin: ScriptedOrigin) -> None:
    assert run("get", "-O", origin.url("/..%2f..%2f")).status == 23
    assert run("get", "-O", origin.url("/")).status == 23


def test_progress_is_shown_on_standard_error(run: Run, origin: ScriptedOrigin) -> None:
    done = run("get", "-v", origin.url("/x"))
    assert done.out == b"hello\n"
    assert f"> GET {origin.url('/x')}\n" in done.err
    assert "< HTTP/1.1 200 OK\n< Content-Type: text/plain\n" in done.err
    assert "* 6 bytes in " in done.err


def test_redirects(run: Run, origin: ScriptedOrigin) -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: /next\r\nContent-Length: 0\r\n\r\n"
    origin.script = reply(moved, OK)
    assert run("get", "-w", "%{http_code}", origin.url("/a")).out == b"302"
    origin.script = reply(moved, OK)
    assert run("get", "-L", origin.url("/a")).out == b"hello\n"


def test_too_many_redirects(run: Run, origin: ScriptedOrigin) -> None:
    origin.script = reply(b"HTTP/1.1 302 Found\r\nLocation: /next\r\nContent-Length: 0\r\n\r\n")
    assert run("get", "-L", origin.url("/a")).status == 47
    assert len(origin.requests) == 9


def test_variables_after_it(run: Run, origin: ScriptedOrigin) -> None:
    format = r"%{http_code} %{size_download} %{method} %{content_type} 100%% %{nothing}\n"
    done = run("post", "-s", "-o", "body", "-d", "x", "-w", format, origin.url())
    assert done.out == b"200 6 POST text/plain 100% \n"
    values = json.loads(run("get", "-o", "body", "-w", "%{json}", origin.url()).out)
    assert (values["http_code"], values["size_download"]) == (200, 6)
    assert values["time_total"] > 0
    headers = json.loads(run("get", "-o", "body", "-w", "%{header_json}", origin.url()).out)
    assert headers["x-a"] == ["b"]
    done = run("get", "-o", "body", "-w", "%{stderr}%{exitcode}%{stdout}!", origin.url())
    assert (done.out, done.err) == (b"!", "0")


@pytest.mark.parametrize(
    ("url", "status", "text"),
    [
        ("http://127.0.0.1:DEAD/", 7, "remote-connection-failed"),
        ("bogus://h/", 3, "bad-request"),
        ("http://h .example/", 3, "bad-request"),
        ("http://nowhere.invalid/", 6, "remote-connection-failed"),
    ],
)
def test_curls_numbers(run: Run, url: str, status: int, text: str) -> None:
    with dead_port() as port:
        done = run("get", url.replace("DEAD", str(port)))
    assert (done.status, done.out) == (status, b"")
    assert done.err.startswith(f"zurl-py: ({status}) ")
    assert text in done.err


def test_a_status_may_be_a_failure(run: Run, origin: ScriptedOrigin) -> None:
    origin.script = reply(b"HTTP/1.1 404 No\r\nContent-Length: 4\r\n\r\ngone")
    assert run("get", origin.url()).status == 0
    done = run("get", "-f", origin.url())
    assert (done.status, done.out) == (22, b"")
    assert "404" in done.err
    done = run("get", "-s", "--fail-with-body", origin.url())
    assert (done.status, done.out, done.err) == (22, b"gone", "")


def silent(connection: Connection) -> None:
    """An origin that never answers."""
    connection.read_request()
    connection.expect_end()


def test_timeouts(run: Run, origin: ScriptedOrigin) -> None:
    origin.script = silent
    assert run("get", "-m", "0.3", origin.url()).status == 28


def test_the_size_of_the_answer(run: Run, origin: ScriptedOrigin) -> None:
    assert run("get", "--max-size", "3", origin.url()).status == 63
    assert run("get", "--max-size", "6", origin.url()).out == b"hello\n"


def test_output_that_cannot_be_written(run: Run, origin: ScriptedOrigin) -> None:
    done = run("get", "-o", "no/such/folder", origin.url())
    assert done.status == 23
    assert "cannot write no/such/folder" in done.err
    assert run("get", "-o", "/dev/full", origin.url()).status == 23


def test_a_reader_that_closes_the_pipe(
    run: Run, shared_daemon: Daemon, origin: ScriptedOrigin
) -> None:
    origin.script = reply(b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n" + bytes(900_000))
    command = f"{sys.executable} -m zurl_py get {origin.url()} | head -c 5 >/dev/null; "
    command += 'echo "${PIPESTATUS[0]}"'
    environment = {**os.environ, "ZURL_CONNECT": str(shared_daemon.config_path)}
    done = subprocess.run(["bash", "-c", command], capture_output=True, env=environment)
    assert done.stdout == b"23\n"
    assert b"Traceback" not in done.stderr


def test_transient_failures_are_retried(run: Run, origin: ScriptedOrigin) -> None:
    busy = b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
    origin.script = reply(busy, OK)
    done = run("get", "--retry", "2", origin.url())
    assert (done.status, done.out) == (0, b"hello\n")
    assert "trying again in 1 s" in done.err
    assert len(origin.requests) == 2


def test_every_packet_is_shown(run: Run, origin: ScriptedOrigin) -> None:
    done = run("get", "--packets", "--format", "M", "--user-data", '{"a": [1]}', origin.url("/x"))
    lines = done.err.splitlines()
    assert lines[0].startswith(f"--> in        M method=GET uri={origin.url('/x')} seq=0 ")
    assert "user-data={a: [1]}" in lines[0]
    assert lines[1].startswith("<-- out       M type=keep-alive seq=0 ")
    assert lines[-1].startswith("<-- out ")
    assert done.out == b"hello\n"


def test_credits_bound_each_packet(run: Run, origin: ScriptedOrigin) -> None:
    done = run("get", "--packets", "--credits", "2", origin.url())
    assert done.out == b"hello\n"
    assert "credits=2" in done.err.splitlines()[0]
    assert sum("type=credit" in line for line in done.err.splitlines()) >= 2


def test_an_entry_of_ext(run: Run, origin: ScriptedOrigin) -> None:
    done = run("get", "--packets", "--ext", "quiet", "--ext", 'x={"y": 1}', origin.url())
    assert "x: {y: 1}" in done.err.splitlines()[0]
    assert "quiet: true" in done.err.splitlines()[0]


def test_connecting_elsewhere(run: Run, origin: ScriptedOrigin) -> None:
    rule = f"site.example:80:127.0.0.1:{origin.port}"
    assert run("get", "--connect-to", rule, "http://site.example/").out == b"hello\n"
    assert dict(origin.requests[-1].headers)[b"Host"] == b"site.example"
    assert run("get", "--connect-to", "nonsense", "http://site.example/").status == 2


def test_insecure_accepts_any_certificate(
    run: Run, tls_origin: ScriptedOrigin, shared_daemon: Daemon
) -> None:
    tls_origin.script = reply(OK)
    url = tls_origin.url().replace("127.0.0.1", "localhost")
    assert run("get", url).out == b"hello\n"
    bad = f"https://127.0.0.2:{tls_origin.port}/"
    assert run("get", "--connect-to", "::127.0.0.1:", bad).status == 60
    assert run("get", "-k", "--connect-to", "::127.0.0.1:", bad).out == b"hello\n"


def test_fire_and_forget(run: Run, origin: ScriptedOrigin) -> None:
    done = run("send", "-d", "x=1", origin.url("/hook"))
    assert (done.status, done.out) == (0, b"")
    origin.wait_request(1)
    assert origin.requests[0].head.startswith(b"POST /hook ")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["get"], "Missing argument 'URL'"),
        (["post", "http://h/", "nonsense"], "is no request item"),
        (["get", "http://h/", "https://other/"], "one URL"),
        (["post", "http://h/", "a:=nonsense"], "not JSON"),
        (["post", "-d", "a", "--json", "{}", "http://h/"], "one body"),
        (["post", "-d", "@nowhere", "http://h/"], "cannot read nowhere"),
        (["get", "-H", "nonsense", "http://h/"], "write 'Name: value'"),
        (["get", "--user-data", "{", "http://h/"], "not JSON"),
        (["get", "--max-redirs", "21", "http://h/"], "0<=x<=20"),
        (["get", "--allow", "localhost", "http://h/"], "for an embedded gateway"),
        (["get", "--embedded", "--connect", "/x", "http://h/"], "two gateways"),
    ],
)
def test_usage_errors(run: Run, arguments: list[str], text: str) -> None:
    done = run(*arguments)
    assert done.status == 2
    assert text in done.err


def test_no_gateway(run: Run) -> None:
    done = run("get", "http://h/", ZURL_CONNECT="/nowhere/zurl.conf")
    assert done.status == 121
    assert "/nowhere/zurl.conf" in done.err


def test_a_gateway_of_its_own(run: Run, origin: ScriptedOrigin) -> None:
    done = run("get", "--embedded", origin.url(), ZURL_CONNECT="")
    assert done.status == 120
    assert "--allow" in done.err
    allow = ["--embedded", "--allow", "127.0.0.1"]
    assert run("get", *allow, origin.url(), ZURL_CONNECT="").out == b"hello\n"
    assert run("send", *allow, "-d", "x", origin.url("/hook"), ZURL_CONNECT="").status == 0
    assert origin.requests[-1].head.startswith(b"POST /hook ")


@pytest.mark.parametrize("command", ["get", "ws"])
def test_why_its_own_gateway_does_not_start(run: Run, command: str) -> None:
    done = run(command, "--embedded", "--policy", "timeout=soon", ":1/", ZURL_CONNECT="")
    assert done.status == 121
    assert "timeout: found 'soon'" in done.err.splitlines()[1]


@pytest.mark.parametrize("rule", ["localhost", "localhost:{port}", "http://LOCALHOST:{port}"])
def test_localhost_is_this_machine(run: Run, origin: ScriptedOrigin, rule: str) -> None:
    allow = ["--embedded", "--allow", rule.format(port=origin.port)]
    done = run("get", *allow, f":{origin.port}/", ZURL_CONNECT="")
    assert (done.status, done.out) == (0, b"hello\n"), done.err
    # It is that name, not every one that resolves to here.
    assert run("get", "-s", *allow, origin.url(), ZURL_CONNECT="").status == 120


def test_explain_shows_the_policy_s_decision(run: Run, origin: ScriptedOrigin) -> None:
    done = run("get", "--explain", origin.url())
    assert done.out == b"hello\n"
    assert "name:    allowed by defpolicy=allow" in done.err
    done = run("get", "--explain", "--embedded", origin.url(), ZURL_CONNECT="")
    assert done.status == 120
    assert "name:    refused by deny=@private (127.0.0.0/8 Loopback" in done.err


def test_ctrl_c(run: Run, shared_daemon: Daemon, origin: ScriptedOrigin) -> None:
    origin.script = silent
    process = subprocess.Popen(
        [sys.executable, "-m", "zurl_py", "get", "--packets", origin.url()],
        env={**os.environ, "ZURL_CONNECT": str(shared_daemon.config_path)},
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    assert b"-->" in process.stderr.readline()
    assert b"<--" in process.stderr.readline()  # the daemon's name, to which the cancel goes
    origin.wait_request(1)
    process.send_signal(2)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in err
    origin.wait_closed(1)  # the daemon was told


# -- on a terminal -----------------------------------------------------------------------------


def on_a_terminal(daemon: Daemon, *arguments: str, **environment: str) -> tuple[int, str]:
    """Runs a command on a terminal; its exit status and what the screen was sent."""
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "zurl_py", *arguments],
        stdin=child,
        stdout=child,
        stderr=child,
        env={
            **os.environ,
            "TERM": "xterm",
            "ZURL_CONNECT": str(daemon.config_path),
            **environment,
        },
    )
    os.close(child)
    shown = b""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            piece = os.read(parent, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        shown += piece
    os.close(parent)
    return process.wait(60), shown.decode().replace("\r\n", "\n")


def answer(connection: Connection, kind: bytes, body: bytes, *headers: bytes) -> None:
    connection.read_request()
    lines = [b"HTTP/1.1 200 OK", b"Content-Type: " + kind, b"Content-Length: %d" % len(body)]
    connection.send(b"\r\n".join([*lines, *headers, b"", b""]) + body)


@pytest.mark.parametrize("options", [(), ("--stream",)])
@pytest.mark.parametrize("colour", [True, False])
def test_control_characters_of_an_origin_do_not_reach_the_terminal(
    shared_daemon: Daemon, origin: ScriptedOrigin, colour: bool, options: tuple[str, ...]
) -> None:
    evil = b"\x1b]0;title\x07\x1b[2J\xc2\x9b31m \xe2\x80\xae tab\there\n"
    origin.script = lambda connection: answer(connection, b"text/plain", evil, b"X: \x1b[2Jx")
    extra: dict[str, Any] = {} if colour else {"NO_COLOR": "1"}
    status, shown = on_a_terminal(shared_daemon, "get", "-i", "-v", *options, origin.url(), **extra)
    assert status == 0
    for byte in ("\x07", "\x9b", "\u202e", "\x1b]", "\x1b[2J"):
        assert byte not in shown
    assert "\\x1b]0;title\\x07\\x1b[2J\\x9b31m \\x202e tab\there\n" in shown
    assert ("\x1b[" in shown) is colour


def test_json_is_formatted(shared_daemon: Daemon, origin: ScriptedOrigin) -> None:
    data = json.dumps({"a": [1, "\x1b[2J"], "ü": None}).encode()
    origin.script = lambda connection: answer(connection, b"application/json", data)
    status, shown = on_a_terminal(shared_daemon, "get", origin.url(), NO_COLOR="1")
    assert status == 0
    assert shown == '{\n    "a": [\n        1,\n        "\\u001b[2J"\n    ],\n    "ü": null\n}\n'
    _, shown = on_a_terminal(shared_daemon, "get", "--stream", origin.url(), NO_COLOR="1")
    assert shown == data.decode()


def test_a_character_in_two_pieces_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = "ü".encode()[:1], "ü".encode()[1:]
    response = SimpleNamespace(headers={}, encoding="utf-8", iter_bytes=lambda: [first, second])
    _show_body(cast(Response, response), Outcome("GET", "http://h/"), formatted=True)
    assert capsys.readouterr().out == "ü"


def test_head_prints_the_head(run: Run, origin: ScriptedOrigin) -> None:
    origin.script = reply(b"HTTP/1.1 200 Fine\r\nX: y\r\nContent-Length: 5\r\n\r\n")
    assert (
        run("head", origin.url()).out == b"HTTP/1.1 200 Fine\r\nX: y\r\nContent-Length: 5\r\n\r\n"
    )


def test_binary_answers_do_not_garble_the_terminal(
    shared_daemon: Daemon, origin: ScriptedOrigin, tmp_path: Path
) -> None:
    origin.script = lambda connection: answer(connection, b"image/png", b"\x89PNG\0\1\2")
    status, shown = on_a_terminal(shared_daemon, "get", origin.url())
    assert status == 23
    assert "use -o FILE" in shown
    assert "PNG" not in shown
    status, shown = on_a_terminal(shared_daemon, "get", "-o", str(tmp_path / "x"), origin.url())
    assert status == 0
    assert (tmp_path / "x").read_bytes() == b"\x89PNG\0\1\2"
    assert "bytes" in shown  # the progress bar


def test_an_upload_shows_its_progress(
    shared_daemon: Daemon, origin: ScriptedOrigin, tmp_path: Path
) -> None:
    body = bytes(3_000_000)
    (tmp_path / "file").write_bytes(body)
    file = str(tmp_path / "file")
    status, shown = on_a_terminal(shared_daemon, "put", "-T", file, "-o", "/dev/null", origin.url())
    assert status == 0
    assert "3.0/3.0 MB" in shown
    assert origin.requests[-1].body == body
    _, shown = on_a_terminal(shared_daemon, "put", "-s", "-T", file, origin.url())
    assert "MB" not in shown


def test_what_comes_by_a_pipe_is_sent_as_it_comes(
    shared_daemon: Daemon, origin: ScriptedOrigin
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "zurl_py", "put", "-T-", origin.url()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "ZURL_CONNECT": str(shared_daemon.config_path)},
    )
    assert process.stdin is not None
    process.stdin.write(b"some")
    process.stdin.flush()
    wait_until(lambda: [request.body for request in origin.requests] == [b"some"], "the first part")
    assert process.communicate(b"more", timeout=60)[0] == b"hello\n"
    assert origin.requests[-1].body == b"somemore"


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:abc/", "http://127.0.0.1:99999/", "http://[::1/", "http://[x]/"]
)
def test_a_url_that_nobody_can_use(run: Run, url: str) -> None:
    for more in ([], ["-w", "%{scheme}"], ["--connect-to", "::127.0.0.1:1"]):
        done = run("get", *more, url)
        assert (done.status, "bad-uri" in done.err) == (3, True), done.err
        assert "Traceback" not in done.err


def run_without(closed: str, daemon: Daemon, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Runs ``zurl-py`` as a shell does with, for example, ``2>&-``."""
    return subprocess.run(
        ["/bin/sh", "-c", f'exec "$0" -m zurl_py "$@" {closed}', sys.executable, *arguments],
        capture_output=True,
        timeout=60,
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": ":".join(path for path in sys.path if path),
            "ZURL_CONNECT": str(daemon.config_path),
        },
    )


@pytest.mark.parametrize("kind", ["get", "ws"])
def test_a_closed_standard_output_cannot_be_written(
    shared_daemon: Daemon, origin: ScriptedOrigin, kind: str
) -> None:
    origin.script = reply(OK) if kind == "get" else echo
    url = origin.url("/", "http" if kind == "get" else "ws")
    more = ["-1"] if kind == "ws" else []
    done = run_without("<<end >&-\nline\nend\n", shared_daemon, kind, *more, url)
    assert (done.returncode, b"Traceback" in done.stderr) == (23, False), done.stderr
    assert b"cannot write" in done.stderr


def test_a_closed_standard_error_leaves_the_output_alone(
    shared_daemon: Daemon, origin: ScriptedOrigin, tmp_path: Path
) -> None:
    done = run_without("2>&-", shared_daemon, "get", "-v", origin.url())
    assert (done.returncode, done.stdout) == (0, b"hello\n")
    path = tmp_path / "body"
    done = run_without("2>&-", shared_daemon, "get", "-o", str(path), origin.url())
    assert (done.returncode, done.stdout, path.read_bytes()) == (0, b"", b"hello\n")
    with dead_port() as port:
        done = run_without("2>&-", shared_daemon, "get", f"http://127.0.0.1:{port}/")
    assert (done.returncode, done.stdout) == (7, b"")


def test_a_closed_standard_input_is_empty(shared_daemon: Daemon, origin: ScriptedOrigin) -> None:
    for option in ("-d@-", "-T-"):
        done = run_without("<&-", shared_daemon, "post", option, origin.url())
        assert (done.returncode, done.stderr) == (0, b"")
        assert origin.requests[-1].body == b""
    origin.script = echo
    done = run_without("<&-", shared_daemon, "ws", origin.url("/", "ws"))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_arguments_that_are_not_utf8(run: Run, origin: ScriptedOrigin) -> None:
    """They go out as they are, where bytes can; where text is needed, it is a usage error."""
    latin = os.fsdecode(b"gr\xfcn")
    done = run("get", "-H", f"X: {latin}", "-A", latin, origin.url(), f"Y:{latin}", f"q=={latin}")
    assert done.status == 0, done.err
    request = origin.requests[-1]
    assert request.line == b"GET /?q=gr%FCn HTTP/1.1"
    assert [request.get(name) for name in (b"x", b"y", b"user-agent")] == [b"gr\xfcn"] * 3
    for wrong in (f"a={latin}", f'a:="{latin}"'):
        done = run("post", origin.url(), wrong)
        assert done.status == 2
        assert "not UTF-8" in done.err
        assert "Traceback" not in done.err
    origin.script = echo
    done = run("ws", "-H", f"X: {latin}", origin.url("/", "ws"))
    assert done.status == 0, done.err
    assert origin.requests[-1].get(b"x") == b"gr\xfcn"
