"""What is measured: each case runs one daemon once and returns a ``Result``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .driver import Result, Worker, encode
from .origin import HoldingOrigin, Nginx

__all__ = ["CASES", "Case", "Sites"]

_HEADERS = [["User-Agent", "bench/1.0"], ["X-Request-Id", "0123456789abcdef"]]


@dataclass
class Sites:
    """The origins of a run."""

    nginx: Nginx
    holding: HoldingOrigin


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        unit: what ``Result.count`` counts.
        daemons: those that can do it.
        target: the most that ours may cost, as a share of ``against``; None: no target is set.
        extra: configuration lines; ``{ca_file}`` is filled in.
    """

    name: str
    title: str
    run: Callable[[Worker, Sites, float], Result]
    unit: str = "request"
    daemons: tuple[str, ...] = ("ours", "zurl")
    target: float | None = None
    against: str = "zurl"
    extra: str = ""


def _request(uri: str, method: str = "GET", **more: object) -> dict[str, object]:
    return {"id": "1", "method": method, "uri": uri, "headers": _HEADERS, **more}


def _plain(sites: Sites) -> str:
    return f"http://127.0.0.1:{sites.nginx.plain}/hello"


def _buffered(letter: str) -> Callable[[Worker, Sites, float], Result]:
    def run(worker: Worker, sites: Sites, scale: float) -> Result:
        uri = _plain(sites)
        floor = worker.daemon.name == "floor"
        message = uri.encode() if floor else encode(letter, _request(uri))
        return worker.requests([message], int(20_000 * scale), 100)

    return run


def _one_at_a_time(worker: Worker, sites: Sites, scale: float) -> Result:
    uri = _plain(sites)
    message = uri.encode() if worker.daemon.name == "floor" else encode("J", _request(uri))
    return worker.requests([message], int(5_000 * scale), 1)


def _post(size: int, count: int) -> Callable[[Worker, Sites, float], Result]:
    def run(worker: Worker, sites: Sites, scale: float) -> Result:
        uri = f"http://127.0.0.1:{sites.nginx.plain}/hello"
        message = encode("T", _request(uri, "POST", body="x" * size))
        return worker.requests([message], int(count * scale), 100)

    return run


def _tls(port: str) -> Callable[[Worker, Sites, float], Result]:
    def run(worker: Worker, sites: Sites, scale: float) -> Result:
        uri = f"https://localhost:{getattr(sites.nginx, port)}/hello"
        message = encode("T", _request(uri, **{"ignore-tls-errors": True}))
        return worker.requests([message], int(10_000 * scale), 100)

    return run


def _hosts(number: int, count: int) -> Callable[[Worker, Sites, float], Result]:
    def run(worker: Worker, sites: Sites, scale: float) -> Result:
        # libcurl resolves *.localhost by itself, to loopback.
        messages = [
            encode("T", _request(f"http://h{host}.localhost:{sites.nginx.plain}/hello"))
            for host in range(max(1, int(number * min(1.0, scale))))
        ]
        return worker.requests(messages, max(len(messages), int(count * scale)), 100)

    return run


def _streamed(worker: Worker, sites: Sites, scale: float) -> Result:
    packet = {"method": "GET", "uri": _plain(sites), "headers": _HEADERS}
    return worker.streams(packet, int(20_000 * scale), 100)


def _download(worker: Worker, sites: Sites, scale: float) -> Result:
    packet = {"method": "GET", "uri": f"http://127.0.0.1:{sites.nginx.plain}/file"}
    number = max(1, int(8 * scale))
    result = worker.streams(packet, number, 1)
    result.count = number * 64.0
    return result


def _upload(worker: Worker, sites: Sites, scale: float) -> Result:
    uri = f"http://127.0.0.1:{sites.holding.port}/sink"
    return worker.upload(uri, max(1, int(256 * scale)))


def _unanswered(worker: Worker, sites: Sites, scale: float) -> Result:
    log = worker.daemon.directory / "log"
    message = encode("J", {"method": "POST", "uri": _plain(sites), "body": "x" * 200})

    def arrived() -> int:
        return log.read_bytes().count(b" OUT ")

    return worker.unanswered(message, int(10_000 * scale), arrived)


def _while_open(number: int) -> Callable[[Worker, Sites, float], Result]:
    def run(worker: Worker, sites: Sites, scale: float) -> Result:
        uri = f"http://127.0.0.1:{sites.holding.port}/hold"
        memory = worker.hold([uri] * max(1, int(number * scale)))
        message = encode("T", _request(f"http://127.0.0.1:{sites.holding.port}/hello"))
        result = worker.requests([message], int(5_000 * scale), 20)
        result.memory = memory
        return result

    return run


def _echo(size: int, count: int) -> Callable[[Worker, Sites, float], Result]:
    def run(worker: Worker, sites: Sites, scale: float) -> Result:
        uri = f"ws://127.0.0.1:{sites.holding.port}/echo"
        return worker.echo(uri, 50, size, int(count * scale))

    return run


def _idle(number: int) -> Callable[[Worker, Sites, float], Result]:
    def run(worker: Worker, sites: Sites, scale: float) -> Result:
        import time

        uri = f"ws://127.0.0.1:{sites.holding.port}/idle"
        memory = worker.idle_websockets(uri, max(1, int(number * scale)))

        def rest() -> float:
            time.sleep(10 * scale)
            return 10 * scale

        result = worker.measure(rest)
        result.memory = memory
        return result

    return run


_WITH_FLOOR = ("ours", "zurl", "floor")
_OURS_ONLY = ("ours",)

CASES = (
    Case("json", "buffered, JSON", _buffered("J"), daemons=_WITH_FLOOR, target=0.40),
    Case("tnetstring", "buffered, TNetString", _buffered("T"), target=0.50),
    Case("msgpack", "buffered, MessagePack", _buffered("M"), daemons=_OURS_ONLY),
    Case(
        "streamed",
        "streamed, 12-byte body",
        _streamed,
        daemons=("ours", "zurl", "condure"),
        target=1.1,
        against="condure",
    ),
    Case("single", "one at a time", _one_at_a_time, daemons=_WITH_FLOOR, target=0.90),
    Case("post-1k", "POST of 1 kB", _post(1_000, 10_000)),
    Case("post-100k", "POST of 100 kB", _post(100_000, 3_000)),
    Case("tls", "TLS, kept connections", _tls("tls")),
    Case("http2", "HTTP/2 over TLS", _tls("h2")),
    Case("hosts-1k", "1,000 hosts", _hosts(1_000, 10_000)),
    Case("hosts-10k", "10,000 hosts", _hosts(10_000, 20_000), daemons=_OURS_ONLY),
    Case("webhooks", "fire and forget", _unanswered),
    Case("download", "streamed download", _download, unit="MB", target=0.50),
    Case("upload", "streamed upload", _upload, unit="MB", target=0.50),
    Case("echo-20", "WebSocket echo, 20 bytes", _echo(20, 20_000), unit="message", target=0.45),
    Case("echo-10k", "WebSocket echo, 10 kB", _echo(10_000, 10_000), unit="message"),
    Case("open-100", "other traffic beside 100 open requests", _while_open(100)),
    Case("open-1k", "other traffic beside 1,000 open requests", _while_open(1_000)),
    Case("open-10k", "other traffic beside 10,000 open requests", _while_open(10_000)),
    Case("idle-ws", "2,000 idle WebSockets", _idle(2_000), unit="s at rest"),
    Case(
        "idle-ws-10k", "10,000 idle WebSockets", _idle(10_000), unit="s at rest", daemons=_OURS_ONLY
    ),
)
