"""Damaged messages against a running daemon, in a network namespace that leads nowhere.

    python -m tests.labs.fuzz.live [MESSAGES] [SEED]

Prints JSON: how many messages went out, how many answers came, and what the daemon's books say
after it: sessions, threads, descriptors and memory are where they were, and it still answers.
Every message is made from a good one by a seeded random damage, so a run can be repeated.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from typing import Any

import zmq

from tests.labs.ssrf.namespace import run_inside
from tests.support import Daemon, ScriptedOrigin, Worker, encode, reply

_BATCH = 500  # messages between two looks at whether the daemon is still there
_VALUES = (b"null", b"-1", b"9999999999999999999", b'"', b"}", b"\0")
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


def fuzz(messages: int, seed: int) -> dict[str, Any]:
    """The same from a test: in a namespace of its own."""
    found: dict[str, Any] = run_inside(__name__, str(messages), str(seed), timeout=3600)
    return found


def good_packets(port: int) -> list[dict[str, Any]]:
    """One of each kind of packet that a worker may send."""
    common: dict[str, Any] = {"from": "fuzzer", "id": "1", "seq": 0}
    http = {**common, "method": "GET", "uri": f"http://127.0.0.1:{port}/", "timeout": 2000}
    later = [
        {**common, "seq": 1, "type": kind}
        for kind in ("credit", "keep-alive", "cancel", "error", "ping", "pong", "close")
    ]
    return [
        {**http, "stream": True, "credits": 3, "user-data": {"a": [1, None]}},
        {**http, "method": "POST", "body": "x" * 300, "headers": [["A", "b"], ["C", "d"]]},
        {**http, "method": "PUT", "more": True, "body": "x", "ext": {"multi": True}},
        {**common, "uri": f"ws://127.0.0.1:{port}/", "credits": 10},
        {**common, "seq": 1, "body": "data", "more": True, "credits": 5},
        {"id": [{"id": "1", "seq": 1}, {"id": "2", "seq": 2}], "from": "fuzzer", "type": "credit"},
        *later,
    ]


def damage(message: bytes, rng: random.Random) -> bytes:
    """A message with some of its bytes changed, lost, said again or cut off."""
    data = bytearray(message)
    for _ in range(rng.choice((0, 1, 1, 2, 5))):
        if not data:
            break
        at = rng.randrange(len(data))
        end = min(len(data), at + rng.randrange(1, 9))
        match rng.randrange(5):
            case 0:
                data[at] = rng.randrange(256)
            case 1:
                del data[at:end]
            case 2:
                data[at:at] = data[at:end] * rng.randrange(1, 4)
            case 3:
                data[at:end] = rng.choice(
                    (b"null", b"-1", b"9999999999999999999", b'"', b"}", b"\0")
                )
            case _:
                del data[at:]
    return bytes(data)


class _Sender:
    """All ways in, from one worker that reads what comes back and forgets it."""

    def __init__(self, daemon: Daemon, worker: Worker) -> None:
        self._context = zmq.Context()
        self._push = self._connect(zmq.PUSH, daemon.endpoints["in_spec"])
        self._dealer = self._connect(zmq.DEALER, daemon.endpoints["in_req_spec"])
        self._sub = self._connect(zmq.SUB, daemon.endpoints["out_spec"])
        self._sub.setsockopt(zmq.SUBSCRIBE, b"")
        self._router = worker.router
        self._instance = worker.instance
        self.answers = 0

    def _connect(self, kind: int, endpoint: str) -> zmq.Socket[bytes]:
        socket = self._context.socket(kind)
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(endpoint)
        return socket

    def send(self, message: bytes, rng: random.Random) -> None:
        match rng.randrange(4):
            case 0:
                self._dealer.send_multipart([b"", message])
            case 1:
                self._router.send_multipart([self._instance, b"", message])
            case _:
                self._push.send(message)

    def drain(self) -> None:
        for socket in (self._dealer, self._sub):
            while socket.poll(0):
                socket.recv_multipart()
                self.answers += 1

    def close(self) -> None:
        self._context.destroy(linger=0)


def _books(daemon: Daemon) -> dict[str, int]:
    return {"descriptors": daemon.descriptors(), "bytes": daemon.memory()}


def _inside(messages: int, seed: int) -> dict[str, Any]:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    rng = random.Random(seed)
    origin = ScriptedOrigin()
    origin.script = reply(_OK)
    daemon = Daemon(
        arguments=("--loglevel=1",), timeout=3, defpolicy="deny", allow="127.0.0.1"
    ).start()
    worker = Worker(daemon)
    sender = _Sender(daemon, worker)
    packets = good_packets(origin.port)
    try:
        worker.ready()
        before = _books(daemon)
        sent = 0
        while sent < messages:
            for _ in range(min(_BATCH, messages - sent)):
                fields = {**rng.choice(packets)}
                if isinstance(fields.get("id"), str):
                    fields["id"] = str(rng.randrange(50))
                sender.send(damage(encode(fields, rng.choice("JTM")), rng), rng)
                sent += 1
            sender.drain()
            assert worker.request(method="GET", uri=origin.url("/"))["code"] == 200
        deadline = time.monotonic() + 20  # what is still open has 3 s, and its connections a little
        while time.monotonic() < deadline:
            sender.drain()
            if _books(daemon)["descriptors"] <= before["descriptors"] + 20:
                break
            time.sleep(0.2)
        worker.request(method="GET", uri=origin.url("/"))
        after, log = _books(daemon), daemon.log()
        status = daemon.stop()
    finally:
        sender.close()
        worker.close()
        daemon.close()
        origin.close()
    return {
        "sent": sent,
        "answers": sender.answers,
        "before": before,
        "after": after,
        "status": status,
        "tracebacks": log.count("Traceback"),
        "log": log[-2000:] if "Traceback" not in log else log[log.index("Traceback") :][:4000],
    }


if __name__ == "__main__":
    arguments = [int(argument) for argument in sys.argv[1:]]
    print(json.dumps(_inside(*(arguments + [20_000, 1][len(arguments) :]))))
