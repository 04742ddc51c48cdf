"""Runs Autobahn's fuzzing server against the gateway and writes a table of the outcome.

usage: python -m tests.autobahn.driver ROOT [--kind ours|zurl] [--cases 1.*,2.*] [--table FILE]

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

from tests.support import Daemon, Worker
from tests.support.daemon import free_port
from tests.support.deadline import wait_until

_BUFFER = 20_000_000  # the largest message of the suite has 16 MiB, in one frame
_AGENT = "gateway"
_CASE_DEADLINE = 120.0
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

    def results(self) -> dict[str, dict[str, str]]:
        """Outcome of each case, as the server has written it down."""
        index: dict[str, dict[str, dict[str, str]]] = json.loads(
            (self.root / _REPORTS / "index.json").read_text()
        )
        return index[_AGENT]

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()


def play(worker: Worker, uri: str, echo: bool) -> bytes:
    """Open a WebSocket, echo until it ends (if ``echo``), and return the text that came."""
    session = worker.start(uri=uri, credits=_BUFFER)
    text = b""
    while True:
        message = session.next(_CASE_DEADLINE)
        if message.type in (b"error", b"cancel"):
            return text
        if message.type == b"close":
            # Whether ours was the first or the second close: then nothing more comes.
            code = message.get("code")
            session.send(type="close", **({"code": code} if code else {}))
            return text
        if message.get("code") == 101 or message.type in (b"credit", b"keep-alive", b"pong"):
            continue
        if message.type == b"ping":
            session.send(type="pong", body=message.body, credits=len(message.body))
            continue
        text += message.body
        if echo:
            fields = {"body": message.body, "credits": len(message.body)}
            if message.get("content-type"):
                fields["content_type"] = message["content-type"]
            if message.get("more"):
                fields["more"] = True
            session.send(**fields)
        else:
            session.credit(len(message.body))


def run(root: Path, kind: str, cases: list[str]) -> dict[str, dict[str, str]]:
    """Play all cases and return their outcomes."""
    settings = {"buffer_size": _BUFFER}
    if kind == "ours":
        settings["websocket_compression"] = True
    fuzzer = Fuzzer(root, cases)
    try:
        with Daemon(kind=kind, arguments=("--loglevel=1",), **settings) as daemon:
            worker = Worker(daemon).ready()
            count = int(play(worker, fuzzer.uri("/getCaseCount"), False))
            for case in range(1, count + 1):
                print(f"\r{case} of {count} ", end="", file=sys.stderr, flush=True)
                play(worker, fuzzer.uri(f"/runCase?case={case}&agent={_AGENT}"), True)
                if not daemon.alive:
                    print(f"\ndied in case {case}", file=sys.stderr)
                    worker.close()
                    daemon.start()
                    worker = Worker(daemon).ready()
            play(worker, fuzzer.uri(f"/updateReports?agent={_AGENT}"), False)
            print(file=sys.stderr)
            worker.close()
        return fuzzer.results()
    finally:
        fuzzer.close()


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
    parser.add_argument("--table", type=Path)
    arguments = parser.parse_args()
    results = run(arguments.root, arguments.kind, arguments.cases.split(","))
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
