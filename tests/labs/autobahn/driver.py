"""Runs Autobahn's fuzzing server against the gateway and writes a table of the outcome.

usage: python -m tests.labs.autobahn.driver ROOT [--kind ours|zurl] [--cases 1.*,2.*] [--table FILE]
           [--patience SECONDS]

ROOT is the directory that setup.sh has made. The driver is a worker: it opens each case by ZHTTP
and sends back what it gets, frame by frame, the way a worker does that keeps to the protocol: it
answers pings and closes, and grants the credits that it has used up.
"""

import argparse
import json
import socket
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import zmq
from websockets.sync.client import connect

from tests.support import Daemon, Worker
from tests.support.daemon import free_port
from tests.support.deadline import wait_until
from zurl_py.zhttp import tnetstring

_BUFFER = 20_000_000  # the largest message of the suite has 16 MiB, in one frame
_AGENT = "gateway"
_REPORTS = "root/reports"
_SECTIONS = {
    "1": "Framing",
    "2": "Pings and pongs",
    "3": "Reserved bits",
    "4": "Opcodes",
    "5": "Fragmentation",
    "6": "UTF-8",
    "7": "Closing",
    "9": "Limits and performance",
    "10": "Automatic fragmentation",
    "12": "Compression: payloads",
    "13": "Compression: parameters",
}
# From best to worst, as the suite ranks them.
_OUTCOMES = (
    "OK",
    "INFORMATIONAL",
    "NON-STRICT",
    "UNIMPLEMENTED",
    "WRONG CODE",
    "UNCLEAN",
    "FAILED",
)


class Fuzzer:
    """The fuzzing server in its own file system."""

    def __init__(self, root: Path, cases: list[str]) -> None:
        self.root = root
        self.port = free_port()
        spec = {
            "url": f"ws://127.0.0.1:{self.port}",
            "outdir": f"/{_REPORTS}",
            "cases": cases,
            "exclude-cases": [],
            "exclude-agent-cases": {},
        }
        (root / "root/spec.json").write_text(json.dumps(spec))
        self.process = subprocess.Popen(
            ["chroot", str(root), "/usr/bin/env", "-i", "PATH=/usr/local/bin:/usr/bin:/bin",
             "wstest", "-m", "fuzzingserver", "-s", "/root/spec.json"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        wait_until(self._listens, "the fuzzing server listens")

    def _listens(self) -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    def uri(self, path: str) -> str:
        return f"ws://127.0.0.1:{self.port}{path}"

    def ask(self, path: str) -> str:
        """What the server says about itself; not by way of the gateway."""
        with connect(self.uri(path), open_timeout=60) as connection:
            return "".join(str(message) for message in connection)

    def results(self) -> dict[str, dict[str, str]]:
        """Outcome of each case, as the server has written it down."""
        index: dict[str, dict[str, dict[str, str]]] = json.loads(
            (self.root / _REPORTS / "index.json").read_text()
        )
        return index[_AGENT]

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()


class Echoer:
    """A worker without memory: the suite sends gigabytes.

    Args:
        daemon: whose sockets to use; it must be ready.
        patience: seconds of silence after which a session is given up.
    """

    ADDRESS = b"echoer"

    def __init__(self, daemon: Daemon, patience: float) -> None:
        self.daemon = daemon
        self.patience = patience
        self.context = zmq.Context()
        self.push = self._socket(zmq.PUSH, "in_spec")
        self.router = self._socket(zmq.ROUTER, "in_stream_spec")
        self.sub = self._socket(zmq.SUB, "out_spec")
        self.sub.subscribe(self.ADDRESS + b" ")
        self.count = 0
        self.seq = 0
        self.id = b""

    def _socket(self, kind: int, key: str) -> "zmq.Socket[bytes]":
        made = self.context.socket(kind)
        made.linger = 0
        made.set_hwm(0)
        made.connect(self.daemon.endpoints[key])
        return made

    def _start(self, **fields: Any) -> None:
        self.count += 1
        self.id = b"case-%d" % self.count
        self.seq = 0
        self.push.send(self._packet(fields))

    def _send(self, **fields: Any) -> None:
        self.router.send_multipart([self.daemon.instance_id, b"", self._packet(fields)])

    def _packet(self, fields: dict[str, Any]) -> bytes:
        packet = {b"from": self.ADDRESS, b"id": self.id, b"seq": self.seq}
        self.seq += 1
        packet.update((key.replace("_", "-").encode(), value) for key, value in fields.items())
        return b"T" + bytes(tnetstring.dumps(packet))

    def _next(self) -> dict[bytes, Any] | None:
        """The next packet of the session; None after too long a silence."""
        while self.sub.poll(int(1000 * self.patience)):
            packet: dict[bytes, Any] = tnetstring.loads(self.sub.recv().partition(b" T")[2])
            if packet.get(b"id") == self.id:
                return packet
        return None

    def play(self, uri: str) -> None:
        """Open a WebSocket and echo until it ends."""
        self._start(uri=uri.encode(), credits=_BUFFER)
        while (packet := self._next()) is not None:
            kind = packet.get(b"type")
            body = packet.get(b"body", b"")
            if kind in (b"error", b"cancel"):
                return
            if kind == b"close":
                # Whether this was the first or the second close: nothing more comes.
                code = packet.get(b"code")
                self._send(type=b"close", **({"code": code} if code else {}))
                return
            if kind == b"ping":
                self._send(type=b"pong", body=body, credits=len(body))
            elif kind is None and b"code" not in packet:
                fields = {"body": body, "credits": len(body)}
                if b"content-type" in packet:
                    fields["content_type"] = packet[b"content-type"]
                if packet.get(b"more"):
                    fields["more"] = True
                self._send(**fields)
        self._send(type=b"cancel")

    def close(self) -> None:
        self.context.destroy(linger=0)


def run(root: Path, kind: str, cases: list[str], patience: float) -> dict[str, dict[str, str]]:
    """Play all cases and return their outcomes."""
    settings: dict[str, Any] = {"buffer_size": _BUFFER}
    if kind == "ours":
        settings["websocket_compression"] = True
    fuzzer = Fuzzer(root, cases)
    try:
        with Daemon(kind=kind, arguments=("--loglevel=1",), **settings) as daemon:
            worker = _ready(daemon, patience)
            count = int(fuzzer.ask("/getCaseCount"))
            for case in range(1, count + 1):
                print(f"\r{case} of {count} ", end="", file=sys.stderr, flush=True)
                worker.play(fuzzer.uri(f"/runCase?case={case}&agent={_AGENT}"))
                if not daemon.alive:
                    print(f"\ndied in case {case}", file=sys.stderr)
                    worker.close()
                    daemon.start()
                    worker = _ready(daemon, patience)
            fuzzer.ask(f"/updateReports?agent={_AGENT}")
            print(file=sys.stderr)
            worker.close()
        return fuzzer.results()
    finally:
        fuzzer.close()


def _ready(daemon: Daemon, patience: float) -> Echoer:
    Worker(daemon).ready().close()
    return Echoer(daemon, patience)


def worst(result: dict[str, str]) -> str:
    """The worse of what a case did and how it closed."""
    return max(result["behavior"], result["behaviorClose"], key=_OUTCOMES.index)


def table(results: dict[str, dict[str, str]]) -> str:
    """Outcomes by section, in Markdown."""
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for case, result in results.items():
        counts[case.split(".")[0]][worst(result)] += 1
    shown = [o for o in _OUTCOMES if any(section[o] for section in counts.values())]
    lines = ["| section | cases | " + " | ".join(o.lower() for o in shown) + " |"]
    lines.append("|---|---|" + "---|" * len(shown))
    for number in sorted(counts, key=int):
        section = counts[number]
        cells = [f"{number} {_SECTIONS[number]}", sum(section.values())]
        lines.append(f"| {' | '.join(str(c) for c in [*cells, *(section[o] for o in shown)])} |")
    sums = [sum(section[o] for section in counts.values()) for o in shown]
    lines.append(f"| all | {len(results)} | " + " | ".join(map(str, sums)) + " |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path)
    parser.add_argument("--kind", default="ours", choices=("ours", "zurl"))
    parser.add_argument("--cases", default="*")
    parser.add_argument("--patience", type=float, default=120.0)
    parser.add_argument("--table", type=Path)
    arguments = parser.parse_args()
    results = run(arguments.root, arguments.kind, arguments.cases.split(","), arguments.patience)
    made = table(results)
    print(made)
    for case, result in sorted(
        results.items(), key=lambda item: [int(n) for n in item[0].split(".")]
    ):
        if _OUTCOMES.index(worst(result)) > 1:
            print(case, result["behavior"], result["behaviorClose"], result.get("remoteCloseCode"))
    if arguments.table:
        arguments.table.write_text(made)
    return int(any(_OUTCOMES.index(worst(result)) > 2 for result in results.values()))


if __name__ == "__main__":
    sys.exit(main())
