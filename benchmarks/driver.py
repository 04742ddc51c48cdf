"""The worker's side: sends requests, keeps a number of them in flight, counts what comes back."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import msgpack
import tnetstring
import zmq

from .daemons import Daemon

__all__ = ["Result", "Worker", "encode"]

_PATIENCE = 60_000  # milliseconds until a lost answer is noticed
_ENDLESS = 1 << 30  # credits


@dataclass
class Result:
    """What one run came to.

    Attributes:
        count: requests, messages or megabytes that were done.
        cpu: seconds of the daemon's CPU time.
        wall: seconds.
        latencies: seconds per request, where they were taken.
        memory: bytes, where that was measured.
    """

    count: float
    cpu: float
    wall: float
    latencies: list[float] = field(default_factory=list)
    memory: float | None = None

    @property
    def cpu_each(self) -> float:
        """Microseconds of CPU time per request, message or megabyte."""
        return self.cpu / self.count * 1e6

    @property
    def rate(self) -> float:
        """Requests, messages or megabytes per second."""
        return self.count / self.wall


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


class Worker:
    """One worker's sockets to one daemon."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self._context = zmq.Context()
        self._sockets: list[zmq.Socket[bytes]] = []

    def close(self) -> None:
        for socket in self._sockets:
            socket.close(0)
        self._context.term()

    def _connect(self, kind: int, key: str) -> zmq.Socket[bytes]:
        socket = self._context.socket(kind)
        socket.set_hwm(0)
        socket.setsockopt(zmq.RCVTIMEO, _PATIENCE)
        if kind == zmq.SUB:
            socket.setsockopt(zmq.SUBSCRIBE, b"w ")
        socket.connect(self.daemon.endpoint(key))
        self._sockets.append(socket)
        return socket

    def measure(self, work: Callable[[], float]) -> Result:
        """The daemon's CPU time during ``work``, which returns how much was done."""
        cpu, wall = self.daemon.cpu(), time.perf_counter()
        count = work()
        return Result(count, self.daemon.cpu() - cpu, time.perf_counter() - wall)

    # -- the request interface -----------------------------------------------------------------

    def requests(self, messages: list[bytes], count: int, in_flight: int) -> Result:
        """``count`` requests over in_req_spec, the messages in turn."""
        socket = self._connect(zmq.DEALER, "req")
        self._exchange(socket, messages, min(count, 2 * in_flight), in_flight, None)
        latencies: list[float] = []
        result = self.measure(
            lambda: self._exchange(
                socket, messages, count, in_flight, latencies if in_flight == 1 else None
            )
        )
        result.latencies = latencies
        return result

    def _exchange(
        self,
        socket: zmq.Socket[bytes],
        messages: list[bytes],
        count: int,
        in_flight: int,
        latencies: list[float] | None,
    ) -> float:
        send, receive = socket.send, socket.recv
        more = int(zmq.SNDMORE)
        sent_at: deque[float] = deque()
        for number in range(min(in_flight, count)):
            sent_at.append(time.perf_counter())
            send(b"", more)
            send(messages[number % len(messages)])
        sent = min(in_flight, count)
        for _ in range(count):
            receive()
            answer = receive()
            if latencies is not None:
                latencies.append(time.perf_counter() - sent_at.popleft())
            if b"condition" in answer:
                raise SystemExit(f"{self.daemon.name}: {answer[:300]!r}")
            if sent < count:
                if latencies is not None:
                    sent_at.append(time.perf_counter())
                send(b"", more)
                send(messages[sent % len(messages)])
                sent += 1
        return count

    # -- the streaming interface ---------------------------------------------------------------

    def open_stream(self) -> None:
        """Connect the three sockets and wait until the subscription is in force."""
        self.push = self._connect(zmq.PUSH, "in")
        self.router = self._connect(zmq.ROUTER, "in-stream")
        self.sub = self._connect(zmq.SUB, "out")
        self.sub.setsockopt(zmq.RCVTIMEO, 200)
        # A bad request is answered at once: the first answer that arrives says all is connected.
        for number in range(100):
            self.push.send(
                encode(
                    "T",
                    {"from": "w", "id": f"p{number}", "seq": 0, "method": "GET", "uri": "http://:"},
                )
            )
            try:
                self.sub.recv()
                break
            except zmq.Again:
                pass
        else:
            raise SystemExit(f"{self.daemon.name}: no answer on out_spec")
        try:
            while True:
                self.sub.recv()
        except zmq.Again:
            self.sub.setsockopt(zmq.RCVTIMEO, _PATIENCE)

    def streams(self, packet: dict[str, object], count: int, in_flight: int) -> Result:
        """``count`` streamed requests, each until its last packet."""
        self.open_stream()
        fields = {"from": "w", "seq": 0, "stream": True, "credits": _ENDLESS, "id": "#" * 8}
        template = encode("T", {**packet, **fields})
        at = template.index(b"########")
        head, tail = template[:at], template[at + 8 :]
        push, receive = self.push.send, self.sub.recv
        total = 0

        def run(number: int) -> float:
            nonlocal total
            first = total
            total += number
            for each in range(first, first + min(in_flight, number)):
                push(b"%b%08d%b" % (head, each, tail))
            sent = done = min(in_flight, number)
            done = 0
            while done < number:
                answer = receive()
                if b"4:more,4:true!" in answer or b"4:type,10:keep-alive," in answer:
                    continue
                if b"9:condition," in answer:
                    raise SystemExit(f"{self.daemon.name}: {answer[:300]!r}")
                done += 1
                if sent < number:
                    push(b"%b%08d%b" % (head, first + sent, tail))
                    sent += 1
            return number

        run(min(count, 2 * in_flight))
        return self.measure(lambda: run(count))

    def unanswered(self, message: bytes, count: int, arrived: Callable[[], int]) -> Result:
        """``count`` fire-and-forget requests; ``arrived`` tells how many reached the origin."""
        push = self._connect(zmq.PUSH, "in")

        def run() -> float:
            before = arrived()
            for _ in range(count):
                push.send(message)
            until = time.monotonic() + _PATIENCE / 1000
            while arrived() - before < count:
                if time.monotonic() > until:
                    raise SystemExit(f"{self.daemon.name}: requests were lost")
                time.sleep(0.005)
            return count

        return self.measure(run)

    def hold(self, uris: list[str]) -> float:
        """Open one streamed request per URI, to an origin that never answers.

        Returns:
            bytes of the daemon's memory that each took.
        """
        self.open_stream()
        before = self.daemon.memory()
        for number, uri in enumerate(uris):
            self.push.send(
                encode(
                    "T",
                    {
                        "from": "w",
                        "id": f"h{number}",
                        "seq": 0,
                        "method": "GET",
                        "uri": uri,
                        "stream": True,
                        "credits": 1000,
                    },
                )
            )
        for _ in uris:
            self.sub.recv()  # the keep-alive that tells of the session
        time.sleep(1.0)  # until the last connections stand; part of no measurement
        return (self.daemon.memory() - before) / len(uris)

    # -- bodies --------------------------------------------------------------------------------

    def upload(self, uri: str, megabytes: int) -> Result:
        """One streamed request body, as fast as credits come."""
        self.open_stream()
        fields = {"from": "w", "id": "up", "method": "POST", "uri": uri, "seq": 0, "more": True,
                  "stream": True, "credits": _ENDLESS}  # fmt: skip
        chunk = b"x" * 50_000

        def run() -> float:
            self.push.send(encode("T", fields))
            left = megabytes << 20
            credits, seq = 0, 0
            while True:
                packet = tnetstring.loads(self.sub.recv().partition(b" ")[2][1:])
                credits += packet.get(b"credits", 0)
                if b"condition" in packet:
                    raise SystemExit(f"{self.daemon.name}: {packet!r}")
                if b"type" not in packet and not packet.get(b"more"):
                    return megabytes
                while left and credits >= min(left, len(chunk)):
                    body = chunk[: min(left, len(chunk))]
                    left -= len(body)
                    credits -= len(body)
                    seq += 1
                    message = {b"from": b"w", b"id": b"up", b"seq": seq, b"body": body}
                    if left:
                        message[b"more"] = True
                    self.router.send_multipart([b"bench", b"", b"T" + tnetstring.dumps(message)])

        return self.measure(run)

    # -- WebSockets ----------------------------------------------------------------------------

    def echo(self, uri: str, sockets: int, size: int, count: int) -> Result:
        """``count`` messages through ``sockets`` connections, one in flight on each."""
        self.open_stream()
        for number in range(sockets):
            self.push.send(
                encode(
                    "T",
                    {"from": "w", "id": f"{number:04d}", "seq": 0, "uri": uri, "credits": _ENDLESS},
                )
            )
        for _ in range(sockets):
            answer = self.sub.recv()
            if b"4:code,3:101#" not in answer:
                raise SystemExit(f"{self.daemon.name}: {answer[:300]!r}")
        body = b"x" * size
        seqs = [0] * sockets

        def send(number: int) -> None:
            seqs[number] += 1
            message = {b"from": b"w", b"id": b"%04d" % number, b"seq": seqs[number], b"body": body}
            self.router.send_multipart([b"bench", b"", b"T" + tnetstring.dumps(message)])

        def run(number: int) -> float:
            for each in range(sockets):
                send(each)
            sent, done = sockets, 0
            while done < number:
                packet = tnetstring.loads(self.sub.recv().partition(b" ")[2][1:])
                if b"type" in packet:
                    if packet[b"type"] == b"error":
                        raise SystemExit(f"{self.daemon.name}: {packet!r}")
                    continue
                done += 1
                if sent < number:
                    send(int(packet[b"id"]))
                    sent += 1
            return number

        run(2 * sockets)
        return self.measure(lambda: run(count))

    def idle_websockets(self, uri: str, count: int) -> float:
        """Open connections; returns the bytes of memory that each took."""
        self.open_stream()
        before = self.daemon.memory()
        for number in range(count):
            self.push.send(
                encode("T", {"from": "w", "id": f"i{number}", "seq": 0, "uri": uri, "credits": 9})
            )
        for _ in range(count):
            self.sub.recv()
        time.sleep(0.5)
        return (self.daemon.memory() - before) / count
