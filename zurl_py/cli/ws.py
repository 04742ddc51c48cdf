"""``zurl-py ws``: a WebSocket from the shell: a prompt on a terminal, a filter in a pipe.

Options have websocat's names.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Protocol

import click

from ..client import Client, InvalidStatus, ZurlError, exit_code
from ..client.errors import ConnectionClosed, ConnectionClosedOK
from ..client.websocket import WebSocket
from ..errors import Error
from .connecting import CERTIFICATE_OPTIONS, client_certificate, connect, gateway_options
from .errors import tell_error
from .items import as_sent, full_url, split_header
from .options import with_options
from .packets import show_packet
from .terminal import colours, escape, is_terminal, tell

__all__ = ["ws"]

_INTERRUPTED: Final = 130
_NOT_WRITTEN: Final = 23
_PIECE: Final = 65536  # bytes of stdin that make one binary message
_LONGEST_LINE: Final = 100_000_000  # bytes
_HISTORY: Final = 1000  # lines
_PROMPT: Final = "> "
_WAKES: Final = 0.02  # seconds between signals to a prompt that is to end
_GRACE: Final = 10.0  # seconds for the origin to answer our close


@click.command()
@click.argument("url")
@click.option("-1", "--one-message", "one", is_flag=True, help="Send and receive one message.")
@click.option("-E", "--exit-on-eof", is_flag=True, help="End as soon as stdin does.")
@click.option("-n", "--no-close", is_flag=True, help="Send no close at the end of stdin.")
@click.option("-b", "--binary", is_flag=True, help="Binary messages; no line ends.")
@click.option("-t", "--text", is_flag=True, help="Text messages, a line each (default).")
@click.option("-H", "--header", multiple=True, metavar="HEADER", help="'Name: value'.")
@click.option("--protocol", multiple=True, metavar="NAME", help="Subprotocol to offer.")
@click.option("--origin", metavar="URL", help="The Origin header.")
@click.option("--jsonrpc", is_flag=True, help="A line 'method a, b' is a JSON-RPC 2.0 call.")
@click.option("-k", "--insecure", is_flag=True, help="Accept any certificate.")
@with_options(CERTIFICATE_OPTIONS)
@click.option("--connect-timeout", type=click.FloatRange(0), default=10.0, help="Seconds to open.")
@click.option("--max-size", type=click.IntRange(1), default=_LONGEST_LINE, metavar="BYTES",
              help="Of a message from the origin.")  # fmt: skip
@click.option("--ignore-policies", is_flag=True, help="Ask the gateway to set its policy aside.")
@click.option("-v", "--verbose", is_flag=True, help="Tell what happens on stderr.")
@click.option("--format", "packet_format", type=click.Choice(["J", "T", "M"]), default="T",
              help="Of the packets.")  # fmt: skip
@click.option("--packets", is_flag=True, help="Show every ZHTTP message on stderr.")
@gateway_options
def ws(url: str, **options: Any) -> None:
    """Open a WebSocket to URL: lines of standard input are sent, messages are printed.

    On a terminal there is a prompt with history; Ctrl-D closes. :8000/x is ws://localhost:8000/x.
    """
    if options["binary"] and (options["text"] or options["jsonrpc"]):
        raise click.UsageError("-b is for binary messages; -t and --jsonrpc are for text")
    headers = [split_header(text) for text in options["header"]]
    try:
        with _open_client(options) as client, _open(client, url, headers, options) as socket:
            status = _Conversation(socket, options).run()
    except ZurlError as error:
        status = _print_error(error)
    except KeyboardInterrupt:
        status = _INTERRUPTED
    raise SystemExit(status)


def _open_client(options: dict[str, Any]) -> Client:
    tracer = show_packet if options["packets"] else None
    return Client(connect(options).gateways, on_packet=tracer, format=options["packet_format"])


def websocket_url(text: str) -> str:
    """The URL for an argument; http and https stand for ws and wss."""
    url = full_url(text)
    return f"ws{url[4:]}" if url.lower().startswith(("http://", "https://")) else url


def _open(
    client: Client, url: str, headers: list[tuple[str, str | None]], options: dict[str, Any]
) -> WebSocket:
    socket = client.websocket(
        websocket_url(url),
        headers=[(as_sent(name), as_sent(value)) for name, value in headers if value is not None],
        subprotocols=options["protocol"] or None,
        origin=options["origin"],
        timeout=options["connect_timeout"],
        max_size=options["max_size"],
        ignore_tls_errors=options["insecure"],
        ignore_policies=options["ignore_policies"],
        **client_certificate(options),
    )
    if options["verbose"]:
        tell(f"< {socket.response.status_code} {escape(socket.response.reason)}")
        for name, value in socket.response.headers.raw:
            tell(f"< {escape(name)}: {escape(value)}")
    return socket


def _print_error(error: ZurlError) -> int:
    status = tell_error(error)
    if isinstance(error, InvalidStatus) and error.response.content:
        tell(escape(error.response.text[:2000], lines=True))
    return status


class _Input(Protocol):
    """A source of messages."""

    def messages(self) -> Iterator[bytes]:
        """All messages, until the end of input, or until ``wake`` is called."""

    def wake(self) -> None:
        """End ``messages`` now; called by another thread."""


class _Conversation:
    """Sends messages in this thread, and prints received ones in another."""

    def __init__(self, socket: WebSocket, options: dict[str, Any]) -> None:
        self._socket = socket
        self._options = options
        self._binary: bool = options["binary"]
        self._calls = 0
        self._status = 0
        self._over = threading.Event()
        self._interrupted = False
        on_terminal = is_terminal(sys.stdin) and not self._binary
        self._input: _Input = _Prompt() if on_terminal else _Pipe(self._binary)
        self._printer = _Printer(self._binary, prompt=on_terminal)

    def run(self) -> int:
        """Run until one side ends. Returns the exit status."""
        receiver = threading.Thread(target=self._receive, daemon=True)
        receiver.start()
        try:
            for message in self._input.messages():
                self._send(message)
                if self._options["one"]:
                    break
            self._wait_for_the_rest()
        except ConnectionClosed:
            self._over.wait(_GRACE)
        except KeyboardInterrupt:
            self._interrupted = True
            raise
        return self._status

    def _send(self, message: bytes) -> None:
        if self._options["jsonrpc"]:
            call = self._as_call(message.decode("utf-8", "replace"))
            if call is not None:
                self._socket.send(call)
            return
        if self._binary:
            self._socket.send(message)
        else:
            self._socket.send(message.decode("utf-8", "replace"))

    def _as_call(self, line: str) -> str | None:
        method, _, rest = line.strip().partition(" ")
        rest = rest.strip()
        text = rest if rest[:1] in ("[", "{") else f"[{rest}]"
        try:
            parameters = json.loads(text)
        except ValueError as error:
            tell(f"zurl-py: parameters are JSON, with commas between them: {error}")
            return None
        self._calls += 1
        call = {"jsonrpc": "2.0", "id": self._calls, "method": method, "params": parameters}
        return json.dumps(call)

    def _wait_for_the_rest(self) -> None:
        """Close after the end of standard input, or wait for the origin."""
        if self._over.is_set() or self._options["exit_on_eof"]:
            return
        if self._options["one"] or self._options["no_close"]:
            self._over.wait()
        else:
            self._socket.send_close()
            self._over.wait(_GRACE)

    def _receive(self) -> None:
        try:
            while True:
                self._printer.show(self._socket.recv())
                if self._options["one"]:
                    break
        except ConnectionClosedOK:
            pass
        except ConnectionClosed as error:
            self._status = exit_code(error)
            if not self._interrupted:
                tell(f"zurl-py: ({self._status}) {escape(str(error))}")
        except ZurlError as error:
            self._status = _print_error(error)
        except BrokenPipeError:  # the reader has closed the pipe
            self._status = _NOT_WRITTEN
        except OSError as error:
            self._status = _NOT_WRITTEN
            tell(f"zurl-py: ({_NOT_WRITTEN}) cannot write: {error.strerror}")
        finally:
            self._over.set()
            self._input.wake()


class _Printer:
    """Prints messages on standard output."""

    def __init__(self, binary: bool, prompt: bool) -> None:
        self._binary = binary
        self._prompt = prompt
        self._on_terminal = is_terminal(sys.stdout)
        self._colours = colours(sys.stdout)

    def show(self, message: str | bytes) -> None:
        if sys.stdout is None:
            raise OSError(errno.EBADF, "standard output is closed")
        out = sys.stdout.buffer
        if not self._on_terminal:
            data = message if isinstance(message, bytes) else message.encode()
            out.write(data if self._binary else data + b"\n")
            out.flush()
            return
        if isinstance(message, bytes):
            text = f"({len(message)} bytes) {message[:64].hex(' ')}"
        else:
            text = escape(message, lines=True)
        if self._colours:
            text = f"\x1b[32m{text}\x1b[0m"
        if self._prompt:
            text = f"\r\x1b[K{text}\n{_PROMPT}{_typed_so_far()}"
        else:
            text += "\n"
        out.write(text.encode())
        out.flush()


def _typed_so_far() -> str:
    import readline

    return readline.get_line_buffer()


class _Pipe:
    """Messages from standard input: lines, or, if binary, the bytes of one read."""

    def __init__(self, binary: bool) -> None:
        self._binary = binary
        self._woken, self._wake = os.pipe()

    def messages(self) -> Iterator[bytes]:
        stdin = sys.stdin.fileno()
        held = b""
        while True:
            ready, _, _ = select.select([stdin, self._woken], [], [])
            if self._woken in ready:
                return
            data = os.read(stdin, _PIECE)
            if self._binary:
                if not data:
                    return
                yield data
                continue
            if not data:
                if held:
                    yield held
                return
            *lines, held = (held + data).split(b"\n")
            for line in lines:
                yield line.removesuffix(b"\r")

    def wake(self) -> None:
        os.write(self._wake, b"x")


class _Woken(Error):
    """Interrupts ``input``."""


class _Prompt:
    """Messages from a terminal, with line editing and a history file."""

    def __init__(self) -> None:
        self._waiting = False
        self._done = False
        signal.signal(signal.SIGUSR1, self._interrupt)

    def messages(self) -> Iterator[bytes]:
        with _history(), contextlib.suppress(EOFError, _Woken):
            while True:
                try:
                    self._waiting = True
                    if self._done:  # in this order: who wakes sets one, and reads the other
                        return
                    line = input(_PROMPT)
                finally:
                    self._waiting = False
                yield line.encode("utf-8", "surrogateescape")

    def wake(self) -> None:
        self._done = True
        # Only a real signal interrupts readline, and only one that comes while it waits.
        while self._waiting:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
            time.sleep(_WAKES)

    def _interrupt(self, *_: object) -> None:
        if self._waiting:
            self._waiting = False
            raise _Woken


@contextlib.contextmanager
def _history() -> Iterator[None]:
    import readline

    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    path = Path(state) / "zurl-py" / "ws_history"
    readline.set_history_length(_HISTORY)
    with contextlib.suppress(OSError):
        readline.read_history_file(path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(0o600)
            readline.write_history_file(path)
