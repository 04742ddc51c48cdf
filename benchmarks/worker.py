"""A worker in Python in the place of driver.c, which loads the daemon less than that.

    python worker.py stream ENDPOINTS PID MESSAGES COUNT IN_FLIGHT WARM_UP
    python worker.py upload ENDPOINTS PID MESSAGES BYTES CHUNK WARM_UP

Arguments and result are those of driver.c; one session at a time. It gives back credits for each
packet of a download, and sends pieces of an upload as far as its credits allow.
"""

from __future__ import annotations

import json
import struct
import sys
import time
from pathlib import Path
from typing import Any

import zmq

from zurl_py.zhttp import tnetstring

_PATIENCE = 60_000  # milliseconds until a lost packet is noticed
_PROBE_TIME = 100  # milliseconds
_DIGITS = b"########"


class Worker:
    """The worker's three sockets, connected.

    Args:
        endpoints: prefix of the daemon's endpoints.
        message: a first packet, with eight marks where the number of the request goes.
    """

    def __init__(self, endpoints: str, message: bytes) -> None:
        context = zmq.Context()
        self._message = message
        self._number = 0
        self._seq = 0
        self._push, self._router, self._sub = (
            context.socket(kind) for kind in (zmq.PUSH, zmq.ROUTER, zmq.SUB)
        )
        self._router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._sub.setsockopt(zmq.SUBSCRIBE, b"w ")
        for socket, name in ((self._push, "in"), (self._router, "in-stream"), (self._sub, "out")):
            socket.set_hwm(0)
            socket.setsockopt(zmq.LINGER, 0)
            socket.connect(f"{endpoints}{name}")
        self._wait_for_subscription()

    def _wait_for_subscription(self) -> None:
        """A bad request is answered at once, which shows that all is connected."""
        probe = b"T" + tnetstring.dumps({b"from": b"w", b"id": b"probe", b"seq": 0, b"uri": b"x:/"})
        for _ in range(100):
            self._push.send(probe)
            if self._sub.poll(_PROBE_TIME):
                while self._sub.poll(_PROBE_TIME):
                    self._sub.recv()
                return
        sys.exit("no answer on out_spec")

    def begin(self) -> None:
        """Send the first packet of the next request."""
        self._number += 1
        self._seq = 0
        self._push.send(self._message.replace(_DIGITS, b"%08d" % self._number))

    def receive(self) -> dict[bytes, Any]:
        """The next packet of the daemon."""
        if not self._sub.poll(_PATIENCE):
            sys.exit("no answer")
        packet: dict[bytes, Any] = tnetstring.loads(self._sub.recv().partition(b" ")[2][1:])
        if b"condition" in packet:
            sys.exit(f"error: {packet}")
        return packet

    def send(self, **fields: object) -> None:
        """Send a later packet of the request."""
        self._seq += 1
        packet: dict[bytes, object] = {b"from": b"w", b"id": b"%08d" % self._number}
        packet[b"seq"] = self._seq
        packet.update((name.encode(), value) for name, value in fields.items())
        self._router.send_multipart([b"bench", b"", b"T" + tnetstring.dumps(packet)])


def _download(worker: Worker, count: int) -> None:
    for _ in range(count):
        worker.begin()
        while True:
            packet = worker.receive()
            if b"type" in packet:
                continue
            if not packet.get(b"more"):
                break
            if packet.get(b"body"):
                worker.send(type=b"credit", credits=len(packet[b"body"]))


def _upload(worker: Worker, left: int, chunk: int) -> None:
    piece, credits = b"x" * chunk, 0
    worker.begin()
    while True:
        packet = worker.receive()
        if b"type" not in packet and not packet.get(b"more"):
            return
        credits += packet.get(b"credits", 0)
        while left and credits >= min(chunk, left):
            size = min(chunk, left)
            left -= size
            credits -= size
            if left:
                worker.send(body=piece[:size], more=True)
            else:
                worker.send(body=piece[:size])


def _cpu(pid: int) -> int:
    return time.clock_gettime_ns((~pid << 3) | 2)  # as clock_getcpuclockid(3) makes it


def main() -> None:
    """Run one mode, and print the result."""
    mode, endpoints, pid, path = sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
    count, chunk, warm_up = map(int, sys.argv[5:8])
    text = path.read_bytes()
    worker = Worker(endpoints, text[4 : 4 + struct.unpack("<I", text[:4])[0]])
    for number in (warm_up, count):
        cpu, wall = _cpu(pid), time.monotonic_ns()
        if mode == "upload":
            _upload(worker, number, chunk)
        else:
            _download(worker, number)
    spent = {"cpu_ns": _cpu(pid) - cpu, "wall_ns": time.monotonic_ns() - wall}
    print(json.dumps({"count": count, **spent}))


if __name__ == "__main__":
    main()
