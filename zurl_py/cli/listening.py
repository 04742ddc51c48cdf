"""Finds a daemon's status listener, and sends requests to it."""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlencode

import click

from ..config.listener import Listener, ListenerError, parse_listener
from ..errors import Error

__all__ = ["NotThere", "StatusClient", "find_listener", "listener_options", "needs_listener"]

DEFAULT_PATH: Final = "/etc/zurl.conf"
VARIABLE: Final = "ZURL_CONNECT"
_TIMEOUT = 10.0  # seconds, as the listener allows a connection
EXIT_NOT_THERE: Final = 121  # the same as for a missing gateway

_OPTIONS: Final = (
    click.option(
        "--config",
        "-c",
        metavar="FILE",
        help="The daemon's zurl.conf, whose metrics_listen is asked.",
    ),
    click.option(
        "--connect",
        metavar="ADDRESS",
        help="Where it listens: 127.0.0.1:9116 or unix:PATH. Default: as $ZURL_CONNECT, "
        "else /etc/zurl.conf, has it.",
    ),
)


class NotThere(Error):
    """There is no status listener; the text says where it was looked for."""


def listener_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that choose the daemon."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def needs_listener(command: Callable[[], None]) -> None:
    """Run a command that needs a listener; if there is none, report it and exit with 121."""
    try:
        command()
    except NotThere as error:
        click.echo(f"zurl-py: {error}", err=True)
        raise SystemExit(EXIT_NOT_THERE) from None
    except BrokenPipeError:  # the reader has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def find_listener(
    config: str | None, connect: str | None, environment: Mapping[str, str] = os.environ
) -> Listener:
    """The listener from the options, the environment, or the default configuration.

    Raises:
        click.UsageError: both options were given, or an address is malformed.
        NotThere: the configuration cannot be read, or has no listener.
    """
    if config and connect:
        raise click.UsageError("--config and --connect name two daemons; give one of them")
    if connect:
        if connect.startswith(("/", "./", "~")) and not connect.startswith("unix:"):
            return _of_file(connect)
        try:
            return parse_listener(connect)
        except ListenerError as allowed:
            raise click.UsageError(f"--connect {connect!r}: {allowed}") from None
    if config:
        return _of_file(config)
    named = environment.get(VARIABLE, "").strip()
    if not named:
        return _of_file(DEFAULT_PATH)
    try:
        return parse_listener(named)
    except ListenerError:
        pass
    if "=" in named or named == "embedded":
        raise NotThere(
            f"${VARIABLE} is {named!r}, which names no status listener: give --connect, such as "
            "127.0.0.1:9116 or unix:/run/zurl/status"
        )
    return _of_file(named.split(",")[0])


def _of_file(path: str) -> Listener:
    # Only this key is read, so that an error elsewhere in the file does no harm.
    from ..ini import IniError, parse_ini

    path = os.path.expanduser(path)
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            entries = list(parse_ini(file.read(), lambda *_: None))
    except OSError as error:
        raise NotThere(f"cannot read {path}: {error.strerror}") from None
    except IniError as error:
        raise NotThere(f"{path}: {error}") from None
    found = [e for e in entries if (e.section, e.key) == ("General", "metrics_listen")]
    if not found or not found[-1].text:
        raise NotThere(
            f"{path} has no status listener: set metrics_listen, such as 127.0.0.1:9116 or "
            "unix:/run/zurl/status, and restart the daemon"
        )
    try:
        return parse_listener(found[-1].text)
    except ListenerError as allowed:
        raise NotThere(f"{path}: metrics_listen={found[-1].text!r}: {allowed}") from None


class StatusClient:
    """A client of a status listener."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def status(self) -> dict[str, Any]:
        """The state of the daemon.

        Raises:
            NotThere: nobody listens there, or it is no daemon's status listener.
        """
        with self._ask("/status") as response:
            try:
                found: dict[str, Any] = json.loads(response.read())
            except (ValueError, OSError, http.client.HTTPException) as error:
                raise NotThere(f"{self._listener} gave no status: {error}") from None
        return found

    def outcomes(self, wanted: Mapping[str, str]) -> Iterator[bytes]:
        """Outcomes as they come, each a line of JSON; ends with the daemon.

        Args:
            wanted: the filter: ``errors``, ``worker``, ``host``, ``condition``.

        Raises:
            NotThere: as above.
        """
        query = f"?{urlencode(wanted)}" if wanted else ""
        with self._ask(f"/monitor{query}", None) as response:
            try:
                yield from response
            except (OSError, http.client.HTTPException):
                return

    def _ask(self, path: str, timeout: float | None = _TIMEOUT) -> http.client.HTTPResponse:
        connection = _Connection(self._listener)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise NotThere(
                f"no daemon answers at {self._listener}: {why}; is it running, with this "
                "metrics_listen?"
            ) from None
        if response.status != 200:
            raise NotThere(f"{self._listener} answers {response.status} to {path}")
        if connection.sock is not None:
            connection.sock.settimeout(timeout)
        return response


class _Connection(http.client.HTTPConnection):
    """A connection to an address or to a Unix socket."""

    def __init__(self, listener: Listener) -> None:
        host = _ANY.get(listener.host, listener.host) or "localhost"
        super().__init__(host, listener.port or None, timeout=_TIMEOUT)
        self._path = listener.path

    def connect(self) -> None:
        if not self._path:
            super().connect()
            return
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_TIMEOUT)
        self.sock.connect(self._path)


_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}
