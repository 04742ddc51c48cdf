"""What is measured: each case runs one daemon once and returns a ``Result``."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from .daemons import Daemon
from .driver import Holder, Result, drive, encode, pace, pace_echo
from .origin import FILE_MEGABYTES, Sites

__all__ = ["CASES", "Case", "Setting", "Target", "request_message"]

_HEADERS = [["User-Agent", "bench/1.0"], ["X-Request-Id", "0123456789abcdef"]]
_IN_FLIGHT = 100
_ENDLESS = 1_000_000_000  # credits
_WINDOW = 400_000  # credits that a download has
_ADDRESS = {"from": "w", "seq": 0, "id": "########", "stream": True}


@dataclass(frozen=True)
class Setting:
    """What a case has to do with.

    Attributes:
        scale: share of the full number of requests.
    """

    daemon: Daemon
    sites: Sites
    scale: float

    def count(self, full: int) -> int:
        """The number to do where ``full`` are done in a full run."""
        return max(1, int(full * self.scale))

    def url(self, path: str = "/hello") -> str:
        """An URL of nginx."""
        return f"http://127.0.0.1:{self.sites.plain}{path}"

    def special(self, path: str, scheme: str = "http") -> str:
        """An URL of origin.c."""
        return f"{scheme}://127.0.0.1:{self.sites.special}{path}"


Run = Callable[[Setting], Result]
_LOGGED = 2.0  # seconds until a line must be in the log


@dataclass(frozen=True)
class Target:
    """The most that ours may cost, as a share of what another costs."""

    share: float
    of: str = "zurl"


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        unit: what ``Result.count`` counts.
        daemons: those that can do it.
        group: the table it is in: requests, paced, bodies, versions, sockets, open, hosts, idle.
        size: the number on the axis of the plot of its group.
        rounds: runs at most.
        buffer_size: condure's, in bytes.
    """

    name: str
    title: str
    run: Run
    unit: str = "request"
    daemons: tuple[str, ...] = ("ours", "zurl")
    target: Target | None = None
    group: str = "requests"
    size: int = 0
    rounds: int = 99
    buffer_size: int = 8192


def request_message(daemon: str, letter: str, uri: str, body: str = "") -> bytes:
    """A request for the request interface of this daemon, in this format where it has formats."""
    if daemon == "floor":
        return uri.encode() + (b"\0" + body.encode() if body else b"")
    packet: dict[str, object] = {"id": "1", "uri": uri, "headers": _HEADERS}
    packet["method"] = "POST" if body else "GET"
    if body:
        packet["body"] = body
    return encode(letter, packet)


def _buffered(letter: str, in_flight: int = _IN_FLIGHT, full: int = 30_000) -> Run:
    def run(setting: Setting) -> Result:
        message = request_message(setting.daemon.name, letter, setting.url())
        warm_up = setting.count(1_000)
        return drive(setting.daemon, "req", [message], setting.count(full), in_flight, warm_up)

    return run


def _paced(rate: int, seconds: int, slow: bool = False) -> Run:
    """A steady load, most of which the daemon sleeps through."""

    def run(setting: Setting) -> Result:
        uri = setting.special("/slow") if slow else setting.url()
        message = request_message(setting.daemon.name, "J", uri)
        count = setting.count(rate * seconds)
        return pace(setting.daemon, message, count, rate, setting.count(rate))

    return run


def _post(size: int, full: int) -> Run:
    def run(setting: Setting) -> Result:
        message = request_message(setting.daemon.name, "T", setting.special("/sink"), "x" * size)
        warm_up = setting.count(500)
        return drive(setting.daemon, "req", [message], setting.count(full), _IN_FLIGHT, warm_up)

    return run


def _tls(version: str) -> Run:
    def run(setting: Setting) -> Result:
        port = setting.sites.h2 if version == "h2" else setting.sites.tls
        message = request_message(setting.daemon.name, "T", f"https://localhost:{port}/hello")
        warm_up = setting.count(1_000)
        return drive(setting.daemon, "req", [message], setting.count(20_000), _IN_FLIGHT, warm_up)

    return run


def _hosts(number: int) -> Run:
    def run(setting: Setting) -> Result:
        # libcurl resolves *.localhost by itself, to loopback.
        port = setting.sites.plain
        messages = [
            request_message(setting.daemon.name, "T", f"http://h{host}.localhost:{port}/hello")
            for host in range(setting.count(number) if number > 1 else 1)
        ]
        count = max(len(messages), setting.count(20_000))
        return drive(setting.daemon, "req", messages, count, _IN_FLIGHT, len(messages))

    return run


def _streamed(setting: Setting) -> Result:
    packet = {"method": "GET", "uri": setting.url(), "headers": _HEADERS}
    message = encode("T", {**packet, **_ADDRESS, "credits": _ENDLESS})
    warm_up = setting.count(1_000)
    return drive(setting.daemon, "stream", [message], setting.count(30_000), _IN_FLIGHT, warm_up)


def _download(python: bool = False) -> Run:
    def run(setting: Setting) -> Result:
        packet = {"method": "GET", "uri": setting.url("/file")}
        message = encode("T", {**packet, **_ADDRESS, "credits": _WINDOW})
        count = setting.count(8)
        result = drive(setting.daemon, "stream", [message], count, 1, 1, python=python)
        result.count *= FILE_MEGABYTES
        return result

    return run


def _by_version(version: str, in_flight: int, full: int) -> Run:
    """Small requests by one version of HTTP."""

    def run(setting: Setting) -> Result:
        uri = f"https://localhost:{setting.sites.caddy}/hello"
        packet = {"id": "1", "uri": uri, "method": "GET", "headers": _HEADERS}
        message = encode("T", {**packet, "ext": {"http-version": version}})
        count, warm_up = setting.count(full), setting.count(full // 10)
        result = drive(setting.daemon, "req", [message], count, in_flight, warm_up)
        _check_version(setting.daemon, version)
        return result

    return run


def _download_by_version(version: str) -> Run:
    def run(setting: Setting) -> Result:
        uri = f"https://localhost:{setting.sites.caddy}/file"
        packet = {"method": "GET", "uri": uri, "ext": {"http-version": version}}
        message = encode("T", {**packet, **_ADDRESS, "credits": _WINDOW})
        result = drive(setting.daemon, "stream", [message], setting.count(4), 1, 1)
        result.count *= FILE_MEGABYTES
        _check_version(setting.daemon, version)
        return result

    return run


def _check_version(daemon: Daemon, version: str) -> None:
    """All answers came by this version of HTTP: else another one was measured."""
    log, until = daemon.directory / "log", time.monotonic() + _LOGGED
    while True:
        answers = [line for line in log.read_text().splitlines() if " code=200 " in line]
        if answers or time.monotonic() > until:
            break
        time.sleep(0.1)
    others = [line for line in answers if f" http_version={version}" not in line]
    if others or not answers:
        raise SystemExit(f"{len(others)} of {len(answers)} answers not by HTTP/{version}")


def _upload(piece: int, python: bool = False) -> Run:
    def run(setting: Setting) -> Result:
        packet = {"method": "POST", "uri": setting.special("/sink"), "more": True}
        message = encode("T", {**packet, **_ADDRESS, "credits": _ENDLESS})
        size = setting.count(256) << 20
        warm_up = size // 10
        result = drive(setting.daemon, "upload", [message], size, piece, warm_up, python=python)
        result.count /= 1 << 20
        return result

    return run


def _webhooks(setting: Setting) -> Result:
    packet = {"method": "POST", "uri": setting.special("/hook"), "body": "x" * 200}
    message = encode("T", {**packet, "headers": _HEADERS})
    warm_up = setting.count(1_000)
    counter = setting.sites.counter
    return drive(setting.daemon, "push", [message], setting.count(20_000), counter, warm_up)


def _echo(size: int, full: int) -> Run:
    def run(setting: Setting) -> Result:
        uri = setting.special("/echo", "ws")
        count, warm_up = setting.count(full), setting.count(full // 10)
        return drive(setting.daemon, "echo", uri, count, 50, warm_up, size)

    return run


def _echo_paced(rate: int, seconds: int) -> Run:
    """A steady load of messages of 20 bytes on 50 WebSockets."""

    def run(setting: Setting) -> Result:
        uri = setting.special("/echo", "ws")
        count, warm_up = setting.count(rate * seconds), setting.count(rate)
        return pace_echo(setting.daemon, uri, count, rate, warm_up, 20, 50)

    return run


def _beside(number: int) -> Run:
    """Other traffic while so many requests wait for their answers."""

    def run(setting: Setting) -> Result:
        holder = Holder(setting.daemon, setting.special("/hold"), setting.count(number))
        message = request_message(setting.daemon.name, "T", setting.special("/hello"))
        warm_up = setting.count(500)
        result = drive(setting.daemon, "req", [message], setting.count(10_000), 20, warm_up)
        holder.close()
        result.memory = holder.memory
        return result

    return run


def _idle(scheme: str, number: int) -> Run:
    """Sessions that do nothing for a minute, but for the keep-alives of both sides."""

    def run(setting: Setting) -> Result:
        path = "/echo" if scheme == "ws" else "/hold"
        holder = Holder(setting.daemon, setting.special(path, scheme), setting.count(number))
        before, started = setting.daemon.cpu(), time.monotonic()
        time.sleep(60 * min(1.0, setting.scale))
        wall = time.monotonic() - started
        result = Result(wall, setting.daemon.cpu() - before, wall)
        holder.close()
        result.memory = holder.memory
        return result

    return run


_WITH_FLOOR = ("ours", "zurl", "floor")
_WITH_CONDURE = ("ours", "zurl", "condure")
_PIECES = (5_000, 20_000, 50_000)
_OPEN = (0, 100, 1_000, 4_000, 10_000)
_HOSTS = (1, 10, 100, 1_000, 10_000)
_VERSIONS = {"http1": "1.1", "http2": "2", "http3": "3"}

CASES = (
    Case("json", "buffered, JSON", _buffered("J"), daemons=_WITH_FLOOR, target=Target(0.40)),
    Case(
        "tnetstring",
        "buffered, TNetString",
        _buffered("T"),
        daemons=_WITH_FLOOR,
        target=Target(0.50),
    ),
    Case("msgpack", "buffered, MessagePack", _buffered("M"), daemons=("ours",)),
    Case(
        "streamed",
        "streamed, 12-byte body",
        _streamed,
        daemons=_WITH_CONDURE,
        target=Target(1.10, "condure"),
    ),
    Case(
        "single",
        "one at a time, JSON",
        _buffered("J", in_flight=1, full=8_000),
        daemons=_WITH_FLOOR,
        target=Target(0.90),
    ),
    Case("paced-20", "20 requests a second", _paced(20, 20), group="paced"),
    Case(
        "paced-200",
        "200 requests a second",
        _paced(200, 10),
        group="paced",
        target=Target(0.80),
    ),
    Case(
        "paced-200-slow", "200 a second, answered after 10 ms", _paced(200, 10, True), group="paced"
    ),
    Case(
        "paced-2000",
        "2,000 requests a second",
        _paced(2000, 5),
        group="paced",
        target=Target(0.65),
    ),
    Case(
        "paced-echo",
        "200 WebSocket messages a second",
        _echo_paced(200, 10),
        unit="message",
        group="paced",
        target=Target(0.45),
    ),
    Case("post-1k", "POST of 1 kB", _post(1_000, 20_000), daemons=_WITH_FLOOR),
    Case("post-100k", "POST of 100 kB", _post(100_000, 4_000), daemons=_WITH_FLOOR),
    Case("tls", "TLS, kept connections", _tls("tls"), daemons=_WITH_FLOOR),
    Case("http2", "HTTP/2 over TLS", _tls("h2"), daemons=_WITH_FLOOR),
    Case("webhooks", "fire and forget, no reader", _webhooks),
    Case(
        "download",
        "streamed download",
        _download(),
        unit="MB",
        daemons=_WITH_CONDURE,
        target=Target(0.50),
        group="bodies",
        buffer_size=200_000,
    ),
    Case(
        "download-python",
        "the same, by a worker in Python",
        _download(python=True),
        unit="MB",
        target=Target(0.50),
        group="bodies",
    ),
    *(
        Case(
            f"versions-{name}{suffix}",
            f"HTTP/{version}, {title}",
            run(version),
            unit=unit,
            daemons=("ours",),
            group="versions",
        )
        for suffix, title, unit, run in (
            ("", "20 at once", "request", lambda v: _by_version(v, 20, 20_000)),
            ("-single", "one at a time", "request", lambda v: _by_version(v, 1, 5_000)),
            ("-download", "streamed download, a MB", "MB", _download_by_version),
        )
        for name, version in _VERSIONS.items()
    ),
    *(
        Case(
            f"upload-{piece // 1000}k",
            f"streamed upload in pieces of {piece // 1000} kB",
            _upload(piece),
            unit="MB",
            daemons=_WITH_CONDURE,
            target=Target(0.50),
            group="bodies",
            buffer_size=200_000,
        )
        for piece in _PIECES
    ),
    *(
        Case(
            f"upload-{piece // 1000}k-python",
            f"pieces of {piece // 1000} kB by a worker in Python",
            _upload(piece, python=True),
            unit="MB",
            target=Target(0.50),
            group="bodies",
        )
        for piece in _PIECES
    ),
    Case(
        "echo-20",
        "WebSocket echo, 20 bytes",
        _echo(20, 30_000),
        unit="message",
        daemons=_WITH_CONDURE,
        target=Target(0.45),
        group="sockets",
    ),
    Case(
        "echo-10k",
        "WebSocket echo, 10 kB",
        _echo(10_000, 10_000),
        unit="message",
        daemons=_WITH_CONDURE,
        buffer_size=200_000,
        group="sockets",
    ),
    *(
        Case(
            f"open-{size}",
            f"beside {size:,} open requests",
            _beside(size),
            group="open",
            size=size,
            daemons=("ours", "zurl"),
        )
        for size in _OPEN
    ),
    *(
        Case(
            f"hosts-{size}",
            f"{size:,} hosts",
            _hosts(size),
            group="hosts",
            size=size,
            daemons=_WITH_FLOOR,
        )
        for size in _HOSTS
    ),
    Case(
        "idle-http",
        "10,000 waiting requests",
        _idle("http", 10_000),
        unit="second",
        group="idle",
        size=10_000,
        rounds=1,
    ),
    Case(
        "idle-ws",
        "10,000 idle WebSockets",
        _idle("ws", 10_000),
        unit="second",
        group="idle",
        size=10_000,
        rounds=1,
    ),
)
