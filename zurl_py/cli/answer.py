"""Makes a request of the command line, prints the answer, and determines the exit status."""

from __future__ import annotations

import codecs
import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import IO, Any, Final
from urllib.parse import unquote, urlsplit

import click

from ..client import Client, PolicyViolation, Request, Response, ZurlError, exit_code
from ..errors import Error
from .connecting import Connected
from .errors import tell_error
from .terminal import (
    colours,
    escape,
    highlight,
    is_terminal,
    looks_binary,
    pretty_json,
    tell,
)
from .writeout import Outcome, write_out

__all__ = ["forget", "perform"]

_FAILED: Final = 22  # --fail: status 400 or more
_NOT_WRITTEN: Final = 23
_INTERRUPTED: Final = 130
_PRETTY: Final = 1_000_000  # bytes of JSON that are formatted for a terminal
_TRANSIENT: Final = frozenset((408, 429, 500, 502, 503, 504))
_TRANSIENT_EXITS: Final = frozenset((6, 7, 28, 52, 56))
_FIRST_WAIT: Final = 1.0  # seconds; doubles with each attempt
_LONGEST_WAIT: Final = 600.0  # seconds

Open = Callable[[], tuple[Client, Connected]]
Build = Callable[[Client], Request]


class _NotWritten(Error):
    """The body could not be written."""


def forget(opened: Open, build: Build) -> int:
    """Send a fire-and-forget request. Returns the exit status.

    An embedded gateway ends with this command, so there it waits for the answer's head.
    """
    try:
        client, connected = opened()
        with client:
            made = build(client)
            if connected.embedded is None:
                client.post_nowait(made)
            else:
                client.send(made, stream=True).close()
    except ZurlError as error:
        return _print_error(error, {})
    except KeyboardInterrupt:
        return _INTERRUPTED
    return 0


def perform(opened: Open, build: Build, options: dict[str, Any]) -> int:
    """Make the request, with retries according to the options.

    Returns:
        The exit status: 0, or curl's number for the error.
    """
    try:
        client, connected = opened()
    except ZurlError as error:
        return _print_error(error, options)
    with client:
        try:
            if options["explain"]:
                _explain(connected, build(client))
            outcome = _try_all(client, connected, build, options)
        except KeyboardInterrupt:
            return _INTERRUPTED
    if options["write_out"]:
        for to_stderr, text in write_out(options["write_out"], outcome):
            click.echo(text, nl=False, err=to_stderr)
    return outcome.exit_code


def _try_all(
    client: Client, connected: Connected, build: Build, options: dict[str, Any]
) -> Outcome:
    for attempt in range(options["retry"] + 1):
        made = build(client)
        last = attempt == options["retry"] or not made.body.replayable
        outcome, wait = _try(client, connected, made, options, last)
        if wait is None:
            return outcome
        wait = wait or min(_FIRST_WAIT * 2**attempt, _LONGEST_WAIT)
        if not options["silent"]:
            tell(f"zurl-py: {outcome.error or outcome.code}; trying again in {wait:g} s")
        time.sleep(wait)
    raise AssertionError("the last try has an outcome")


def _try(
    client: Client, connected: Connected, made: Request, options: dict[str, Any], last: bool
) -> tuple[Outcome, float | None]:
    """Make one attempt.

    Returns:
        Its outcome; and None for no retry, or the seconds to wait before it, 0 if the answer gives
        none.
    """
    outcome = Outcome(made.method, made.url, uploaded=made.body.length or 0)
    started = time.monotonic()
    shows_upload = bool(options["upload_file"]) and not options["silent"]
    try:
        if options["verbose"]:
            _show_request(made)
        with (
            _sent_with_progress(client, made) if shows_upload else client.send(made, stream=True)
        ) as response:
            outcome.response = response
            if not last and response.status_code in _TRANSIENT:
                return outcome, _retry_after(response)
            _receive(response, outcome, options)
    except ZurlError as error:
        outcome.error, outcome.exit_code = str(error), exit_code(error)
        if not last and outcome.exit_code in _TRANSIENT_EXITS and outcome.response is None:
            return outcome, 0.0
        _print_error(error, options)
        refused = isinstance(error, PolicyViolation) and connected.embedded is not None
        if refused and not options["silent"]:
            tell(
                "zurl-py: the rule is an embedded gateway's; --explain shows it, --allow opens more"
            )
    except _NotWritten as error:
        outcome.error, outcome.exit_code = str(error), _NOT_WRITTEN
        if not options["silent"] or options["show_error"]:
            tell(f"zurl-py: {error}")
    outcome.seconds = time.monotonic() - started
    if outcome.response is not None:
        outcome.timing = outcome.response.timing
        if options["verbose"]:
            _show_end(outcome)
    return outcome, None


def _retry_after(response: Response) -> float:
    text = response.headers.get("retry-after", "")
    return min(float(text), _LONGEST_WAIT) if text.isdecimal() else 0.0


def _print_error(error: ZurlError, options: dict[str, Any]) -> int:
    status = exit_code(error)
    if not options.get("silent") or options.get("show_error"):
        tell_error(error)
    return status


def _explain(connected: Connected, made: Request) -> None:
    """Print the policy's decision about the URL on standard error."""
    from ..config import ConfigError, load
    from ..url import BadUrl, parse
    from .check_url import Check

    for path in connected.configuration_file():
        try:
            check = Check(
                load(path), parse(made.url.encode()), bool(made.options.get("ignore_policies"))
            )
        except (ConfigError, BadUrl) as error:
            tell(f"explain: {error}")
            return
        for line in check.lines([]):
            tell(escape(line))


# -- the answer ------------------------------------------------------------------------------------


def _receive(response: Response, outcome: Outcome, options: dict[str, Any]) -> None:
    if options["verbose"]:
        _show_head(response)
    failed = response.status_code >= 400 and (options["fail"] or options["fail_with_body"])
    if failed:
        outcome.exit_code = _FAILED
        outcome.error = f"the origin answered {response.status_code}"
        if not options["silent"] or options["show_error"]:
            tell(f"zurl-py: ({_FAILED}) {outcome.error}")
    if options["dump_header"]:
        with _file(options["dump_header"]) as file:
            _write(file, _head_of(response))
    if failed and not options["fail_with_body"]:
        return
    path = _path(response, options)
    with _file(path) as file:
        if options["include"] or options["head"]:
            _write(file, _shown_head(response) if _is_shown(file) else _head_of(response))
        if _is_shown(file) and path is None:
            _show_body(response, outcome, formatted=not options["stream"])
        else:
            _save_body(response, outcome, file, path is not None and not options["silent"])


def _path(response: Response, options: dict[str, Any]) -> str | None:
    if not options["remote_name"]:
        path: str | None = options["output"]
        return path
    name = os.path.basename(unquote(urlsplit(response.url).path)).replace("\0", "")
    if name in ("", ".", ".."):
        raise _NotWritten("-O: the URL has no last part to name a file by; use -o FILE")
    return name


@contextlib.contextmanager
def _file(path: str | None) -> Iterator[IO[bytes]]:
    """The output for the body: a file, or standard output."""
    if path is None or path == "-":
        if sys.stdout is None:
            raise _NotWritten("cannot write: standard output is closed")
        yield sys.stdout.buffer
        return
    try:
        with open(path, "wb") as file:
            yield file
    except OSError as error:
        raise _NotWritten(f"cannot write {path}: {error.strerror}") from None


def _write(file: IO[bytes], data: bytes) -> None:
    try:
        file.write(data)
        file.flush()
    except BrokenPipeError:
        # The reader has closed the pipe. Python would report that again when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise _NotWritten("nobody reads the output any more") from None
    except OSError as error:
        raise _NotWritten(f"cannot write: {error.strerror}") from None


def _is_shown(file: IO[bytes]) -> bool:
    return is_terminal(file)


@contextlib.contextmanager
def _sent_with_progress(client: Client, made: Request) -> Iterator[Response]:
    """Send a request whose body is a file, and show the progress of the upload."""
    with _progress(made.body.length) as advance:
        pieces = made.body.pieces
        if isinstance(pieces, Iterable):
            made.body = replace(made.body, pieces=_counted(pieces, advance))
        response = client.send(made, stream=True)
    with response:
        yield response


def _counted(pieces: Iterable[bytes], advance: Callable[[int], None]) -> Iterator[bytes]:
    for piece in pieces:
        advance(len(piece))
        yield piece


def _save_body(response: Response, outcome: Outcome, file: IO[bytes], progress: bool) -> None:
    """Write the body unchanged, piece by piece."""
    length = response.headers.get("content-length", "")
    total = int(length) if length.isdecimal() and len(length) < 19 else None
    with _progress(total) if progress else contextlib.nullcontext(_no_progress) as advance:
        for piece in response.iter_bytes():
            outcome.downloaded += len(piece)
            _write(file, piece)
            advance(len(piece))


def _show_body(response: Response, outcome: Outcome, formatted: bool) -> None:
    """Print the body for a terminal: escaped, and JSON formatted and coloured."""
    out = sys.stdout
    is_json = formatted and "json" in response.headers.get("content-type", "").lower()
    decoder = codecs.getincrementaldecoder(response.encoding)("replace")
    held: list[bytes] = []
    for piece in response.iter_bytes():
        if not outcome.downloaded and looks_binary(piece):
            raise _NotWritten(
                "the answer is binary and may garble your terminal: use -o FILE, or -o - if you "
                "want it here"
            )
        outcome.downloaded += len(piece)
        if is_json and outcome.downloaded <= _PRETTY:
            held.append(piece)
            continue
        out.write(escape(decoder.decode(b"".join([*held, piece])), lines=True))
        out.flush()
        held, is_json = [], False
    text = decoder.decode(b"".join(held), True)
    if text:
        pretty = pretty_json(text) if is_json else None
        if pretty is not None:
            text = escape(pretty, lines=True)
            out.write(highlight(text, "json") if colours(out) else text + "\n")
        else:
            out.write(escape(text, lines=True))
    out.flush()


@contextlib.contextmanager
def _progress(total: int | None) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error, if that is a terminal.

    Args:
        total: bytes, if that is known.
    """
    if not is_terminal(sys.stderr):
        yield _no_progress
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=total)
        yield lambda size: progress.update(task, advance=size)


def _no_progress(_size: int) -> None:
    pass


# -- heads -----------------------------------------------------------------------------------------


def _status_line(response: Response) -> str:
    version = response.http_version or "1.1"
    return f"HTTP/{version} {response.status_code} {response.reason}".rstrip()


def _head_of(response: Response) -> bytes:
    """The head in the form of HTTP/1.1."""
    lines = [_status_line(response).encode("latin-1", "replace")]
    lines += [name + b": " + value for name, value in response.headers.raw]
    return b"\r\n".join([*lines, b"", b""])


def _shown_head(response: Response) -> bytes:
    lines = [escape(_status_line(response))]
    lines += [f"{escape(name)}: {escape(value)}" for name, value in response.headers.raw]
    text = "\n".join(lines) + "\n"
    if colours(sys.stdout):
        text = highlight(text, "http")
    return (text + "\n").encode()


def _show_request(made: Request) -> None:
    tell(f"> {made.method} {escape(made.url)}")
    for name, value in made.headers.raw:
        tell(f"> {escape(name)}: {escape(value)}")


def _show_head(response: Response) -> None:
    for redirect in response.history:
        tell(f"* {redirect.status_code} {escape(redirect.url)}")
    if response.history:
        tell(f"* {escape(response.url)}")
    tell(f"< {escape(_status_line(response))}")
    for name, value in response.headers.raw:
        tell(f"< {escape(name)}: {escape(value)}")


def _show_end(outcome: Outcome) -> None:
    phases = [f"{name} {value} µs" for name, value in outcome.timing.items() if type(value) is int]
    rest = f" ({', '.join(phases)})" if phases else ""
    tell(f"* {outcome.downloaded} bytes in {outcome.seconds:.3f} s{rest}")
