"""``zurl-py ws``: a filter in a pipe, a prompt on a terminal."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.cli.conftest import Run
from tests.support import Connection, Daemon, ScriptedOrigin
from tests.support.websocket import CLOSE, accept, echo, frame, read_frame


@pytest.fixture(autouse=True)
def echoes(origin: ScriptedOrigin) -> None:
    origin.script = echo


def url(origin: ScriptedOrigin, path: str = "/") -> str:
    return f"ws://127.0.0.1:{origin.port}{path}"


def test_each_line_is_a_message(run: Run, origin: ScriptedOrigin) -> None:
    done = run("ws", url(origin), input="one\ntwö\r\nthree".encode())
    assert (done.status, done.out.decode(), done.err) == (0, "one\ntwö\nthree\n", "")


def test_one_message(run: Run, origin: ScriptedOrigin) -> None:
    done = run("ws", "-1", url(origin), input=b"one\ntwo\n")
    assert (done.status, done.out) == (0, b"one\n")


def test_binary(run: Run, origin: ScriptedOrigin) -> None:
    done = run("ws", "-b", url(origin), input=b"\0\n\xff")
    assert (done.status, done.out) == (0, b"\0\n\xff")


def test_the_end_of_stdin(run: Run, origin: ScriptedOrigin) -> None:
    def late(connection: Connection) -> None:
        accept(connection)
        opcode, payload = read_frame(connection)
        time.sleep(0.3)
        connection.send(frame(opcode, b"late " + payload) + frame(8, b"\x03\xe8"))
        read_frame(connection)

    origin.script = late
    assert run("ws", "-n", url(origin), input=b"x\n").out == b"late x\n"  # no close was sent
    origin.script = echo
    assert run("ws", "-E", url(origin), input=b"").status == 0


def test_headers_of_the_handshake(run: Run, origin: ScriptedOrigin) -> None:
    options = ["-H", "X-A: b", "--protocol", "chat", "--origin", "http://site.example", "-v"]
    done = run("ws", *options, url(origin, "/x"), input=b"")
    head = origin.requests[0].head
    assert head.startswith(b"GET /x HTTP/1.1\r\n")
    for line in (b"X-A: b", b"Sec-WebSocket-Protocol: chat", b"Origin: http://site.example"):
        assert line in head
    assert done.err.startswith("< 101 ")


def test_json_rpc(run: Run, origin: ScriptedOrigin) -> None:
    done = run("ws", "--jsonrpc", url(origin), input=b'add 1, "x"\nbad 1 2\nping\nset {"a": 1}\n')
    calls = [json.loads(line) for line in done.out.splitlines()]
    assert [(call["method"], call["params"], call["id"]) for call in calls] == [
        ("add", [1, "x"], 1),
        ("ping", [], 2),
        ("set", {"a": 1}, 3),
    ]
    assert "parameters are JSON" in done.err


def test_a_refused_handshake(run: Run, origin: ScriptedOrigin) -> None:
    def refuse(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 403 No\r\nContent-Length: 4\r\n\r\nno\x1b!")

    origin.script = refuse
    done = run("ws", url(origin), input=b"x\n")
    assert done.status == 122
    assert "403" in done.err
    assert "no\\x1b!" in done.err


def test_an_origin_that_ends_it(run: Run, origin: ScriptedOrigin) -> None:
    def end(connection: Connection) -> None:
        accept(connection)
        connection.send(frame(1, b"bye") + frame(8, b"\x03\xf3oops"))
        read_frame(connection)

    origin.script = end
    read, write = os.pipe()  # a standard input that does not end
    try:
        environment = {**os.environ, "ZURL_CONNECT": str(_config(run))}
        done = subprocess.run(
            [sys.executable, "-m", "zurl_py", "ws", url(origin)],
            stdin=read,
            capture_output=True,
            timeout=60,
            env=environment,
        )
    finally:
        os.close(read)
        os.close(write)
    assert done.stdout == b"bye\n"
    assert done.returncode == 56
    assert b"1011" in done.stderr


def test_ctrl_c(run: Run, origin: ScriptedOrigin) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "zurl_py", "ws", url(origin)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "ZURL_CONNECT": str(_config(run))},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"x\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"x\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert process.communicate() == (b"", b"")


def _config(run: Run) -> Path:
    cells = {name: cell.cell_contents for name, cell in zip(
        run.__code__.co_freevars, run.__closure__ or (), strict=True
    )}  # fmt: skip
    daemon: Daemon = cells["shared_daemon"]
    return daemon.config_path


def test_a_prompt_with_history(
    shared_daemon: Daemon, origin: ScriptedOrigin, tmp_path: Path
) -> None:
    process, parent = _on_terminal(shared_daemon, origin, tmp_path)
    _until(parent, "> ")
    os.write(parent, b"hello\n")
    _until(parent, "hello", after="hello")  # as it was typed, and as it came back
    os.write(parent, b"\x04")
    assert process.wait(60) == 0
    os.close(parent)
    history = tmp_path / "zurl-py" / "ws_history"
    assert "hello" in history.read_text()
    assert history.stat().st_mode & 0o777 == 0o600


def test_a_prompt_ends_when_the_origin_closes(
    shared_daemon: Daemon, origin: ScriptedOrigin, tmp_path: Path
) -> None:
    """Also where that is while the prompt is being set up."""

    def script(connection: Connection) -> None:
        accept(connection, tail=frame(CLOSE, (1008).to_bytes(2) + b"no"))
        connection.expect_end()

    origin.script = script
    for _ in range(5):
        process, parent = _on_terminal(shared_daemon, origin, tmp_path)
        assert process.wait(10) == 56
        os.close(parent)


def _on_terminal(
    daemon: Daemon, origin: ScriptedOrigin, tmp_path: Path
) -> tuple[subprocess.Popen[bytes], int]:
    """``zurl-py ws`` on a terminal, and the terminal's other side."""
    parent, child = pty.openpty()
    environment = {**os.environ, "ZURL_CONNECT": str(daemon.config_path)}
    environment |= {"XDG_STATE_HOME": str(tmp_path), "TERM": "xterm", "NO_COLOR": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "zurl_py", "ws", url(origin)],
        stdin=child,
        stdout=child,
        stderr=child,
        env=environment,
    )
    os.close(child)
    return process, parent


def _until(terminal: int, text: str, after: str = "") -> str:
    shown = ""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        shown += os.read(terminal, 4096).decode("utf-8", "replace")
        if text in (shown.partition(after)[2] if after else shown):
            return shown
    raise AssertionError(f"{text!r} was not shown, but {shown!r}")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["-b", "-t", "ws://h/"], "-b is for binary"),
        ([], "Missing argument 'URL'"),
        (["-H", "x", "ws://h/"], "write 'Name: value'"),
    ],
)
def test_usage_errors(run: Run, arguments: list[str], text: str) -> None:
    done = run("ws", *arguments)
    assert done.status == 2
    assert text in done.err
