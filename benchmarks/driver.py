"""The worker's side: messages for driver.c to send, and sessions that are held open meanwhile."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import median
from typing import Any

import msgpack
import zmq

from zurl_py.zhttp import tnetstring

from .build import program
from .daemons import Daemon

__all__ = ["Holder", "Result", "drive", "encode", "pace", "pace_echo"]

_WORKER = Path(__file__).with_name("worker.py")
_PATIENCE = 60.0  # seconds until a lost answer is noticed
_KEEP_ALIVE_INTERVAL = 25.0  # seconds; sessions end after 60 without a word from the worker
_IDS_PER_KEEP_ALIVE = 100


@dataclass
class Result:
    """What one run came to, or the medians of several.

    Attributes:
        count: requests, messages, megabytes or seconds.
        cpu: seconds of the daemon's CPU time.
        wall: seconds.
        p50, p99: seconds of one request, where they go one at a time.
        memory: bytes for each session that is held open.
        switches: context switches of the daemon's threads: one for each sleep.
        calls: system calls of the daemon, counted in a run of its own where strace is there.
    """

    count: float
    cpu: float
    wall: float
    p50: float | None = None
    p99: float | None = None
    memory: float | None = None
    switches: float | None = None
    calls: float | None = None

    @property
    def cpu_each(self) -> float:
        """Microseconds of CPU time per request, message or megabyte."""
        return self.cpu / self.count * 1e6

    @property
    def rate(self) -> float:
        """Requests, messages or megabytes per second."""
        return self.count / self.wall

    @classmethod
    def middle(cls, runs: list[Result]) -> Result:
        """The median of each number."""
        found: dict[str, Any] = {}
        for field in fields(cls):
            values = [getattr(run, field.name) for run in runs]
            found[field.name] = None if None in values else median(values)
        return cls(**found)


def encode(letter: str, packet: dict[str, object]) -> bytes:
    """A message in one of the three formats."""
    if letter == "J":
        return b"J" + json.dumps(packet).encode()
    if letter == "M":
        return b"M" + bytes(msgpack.packb(packet))
    return b"T" + bytes(tnetstring.dumps(_bytes(packet)))


def _bytes(value: object) -> object:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict):
        return {_bytes(key): _bytes(content) for key, content in value.items()}
    if isinstance(value, list):
        return [_bytes(content) for content in value]
    return value


def drive(
    daemon: Daemon,
    mode: str,
    what: Iterable[bytes] | str,
    *arguments: object,
    python: bool = False,
) -> Result:
    """Run driver.c; see there.

    Args:
        what: the messages, or the URI of WebSockets.
        python: run worker.py in its place.
    """
    if isinstance(what, str):
        source = what
    else:
        path = daemon.directory / "messages"
        path.write_bytes(b"".join(struct.pack("<I", len(each)) + each for each in what))
        source = str(path)
    driver = [sys.executable, str(_WORKER)] if python else [str(program("driver"))]
    command = [*driver, mode, daemon.endpoints, str(daemon.pid), source]
    done = subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"{daemon.name}: {done.stderr[-500:]} {daemon.last_words()}")
    found = {key: value / 1e9 for key, value in json.loads(done.stdout).items()}
    return Result(
        found["count"] * 1e9,
        found["cpu_ns"],
        found["wall_ns"],
        found.get("p50_ns"),
        found.get("p99_ns"),
    )


def pace(daemon: Daemon, message: bytes, count: int, rate: int, warm_up: int) -> Result:
    """So many requests a second, for CPU and context switches; then some more under strace."""
    before = daemon.switches()
    result = drive(daemon, "paced", [message], count, rate, warm_up)
    result.switches = (daemon.switches() - before) * count / (count + warm_up)
    counted = max(1, min(count, 2 * rate))
    with daemon.counted_calls() as calls:
        if calls is None:
            return result
        drive(daemon, "paced", [message], counted, rate, 0)
    result.calls = calls[0] * count / counted
    return result


def pace_echo(
    daemon: Daemon, uri: str, count: int, rate: int, warm_up: int, size: int, sockets: int
) -> Result:
    """So many messages a second on WebSockets, in turn, for CPU and context switches."""
    before = daemon.switches()
    result = drive(daemon, "echo-paced", uri, count, rate, warm_up, size, sockets)
    result.switches = (daemon.switches() - before) * count / (count + warm_up + sockets)
    return result


class Holder:
    """A worker with many streamed sessions that have nothing to say, kept alive until closed.

    Attributes:
        memory: bytes of the daemon's memory that each takes.
    """

    def __init__(self, daemon: Daemon, uri: str, count: int) -> None:
        self._context = zmq.Context()
        self._push = self._connect(daemon, zmq.PUSH, "in")
        self._router = self._connect(daemon, zmq.ROUTER, "in-stream")
        self._sub = self._connect(daemon, zmq.SUB, "out")
        self._seqs = 0
        self._stop = threading.Event()
        self._ids: list[str] = []
        self._wait_for_subscription(daemon)
        # The first few are the daemon's warm-up and not counted.
        warm_up = min(20, count)
        self._open(uri, warm_up)
        before = daemon.memory()
        self._open(uri, count - warm_up)
        self.memory = max(0, daemon.memory() - before) / max(1, count - warm_up)
        self._thread = threading.Thread(target=self._keep_alive, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Leave; the daemon is expected to be ended next."""
        self._stop.set()
        self._thread.join()
        self._context.destroy(linger=0)

    def _connect(self, daemon: Daemon, kind: int, key: str) -> zmq.Socket[bytes]:
        socket = self._context.socket(kind)
        socket.set_hwm(0)
        if kind == zmq.SUB:
            socket.setsockopt(zmq.SUBSCRIBE, b"hold ")
        socket.connect(f"{daemon.endpoints}{key}")
        return socket

    def _wait_for_subscription(self, daemon: Daemon) -> None:
        """A bad request is answered at once, which shows that all is connected."""
        probe = encode("T", {"from": "hold", "id": "p", "seq": 0, "method": "GET", "uri": "x:/"})
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            self._push.send(probe)
            if self._sub.poll(100):
                while self._sub.poll(200):
                    self._sub.recv()
                return
        raise SystemExit(f"{daemon.name}: no answer on out_spec")

    def _open(self, uri: str, count: int) -> None:
        for number in range(len(self._ids), len(self._ids) + count):
            id = f"h{number}"
            self._ids.append(id)
            packet = {"from": "hold", "id": id, "seq": 0, "uri": uri, "credits": 1000}
            if uri.startswith("http"):
                packet |= {"method": "GET", "stream": True}
            self._push.send(encode("T", packet))
        told = 0
        while told < count:
            if not self._sub.poll(int(_PATIENCE * 1000)):
                raise SystemExit(f"only {told} of {count} sessions were opened")
            packet = tnetstring.loads(self._sub.recv().partition(b" ")[2][1:])
            if b"condition" in packet:
                raise SystemExit(f"a session was refused: {packet}")
            told += packet[b"seq"] == 0
        self._wait_for_rest()

    def _wait_for_rest(self) -> None:
        """Until nobody sets up connections any more: the daemon tells only of the session."""
        before = -1
        while (now := len(Path("/proc/net/tcp").read_bytes())) != before:
            before = now
            time.sleep(0.3)

    def _keep_alive(self) -> None:
        """As real workers do it: one message for many sessions."""
        while not self._stop.wait(_KEEP_ALIVE_INTERVAL):
            self._seqs += 1
            for at in range(0, len(self._ids), _IDS_PER_KEEP_ALIVE):
                ids = [
                    {"id": id, "seq": self._seqs} for id in self._ids[at : at + _IDS_PER_KEEP_ALIVE]
                ]
                message = encode("T", {"from": "hold", "id": ids, "type": "keep-alive"})
                self._router.send_multipart([b"bench", b"", message])
