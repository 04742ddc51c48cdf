"""A ZHTTP client over real ZeroMQ sockets that records everything."""

import itertools
import time
from collections import deque
from typing import Any

import zmq

from tests.support.daemon import Daemon
from tests.support.deadline import DEADLINE
from tests.support.messages import Message, decode, encode

_PROBE = b"probe-"
_PROBE_INTERVAL = 50  # milliseconds


class NoAnswer(AssertionError):
    """Nothing came before the deadline, or the daemon died."""


class Session:
    """One streamed request, with its sequence numbers counted.

    Attributes:
        messages: every packet of the daemon that was read, in order.
    """

    def __init__(self, worker: "Worker", id: bytes, format: str) -> None:
        self.worker = worker
        self.id = id
        self.format = format
        self.seq = 0
        self.messages: list[Message] = []

    def start(self, **fields: Any) -> "Session":
        """Sends the first packet, by PUSH. Underscores in names stand for dashes."""
        packet = {"from": self.worker.address, "id": self.id, "seq": 0, **_dashed(fields)}
        self.worker.push({k: v for k, v in packet.items() if v is not None}, self.format)
        self.seq = 1
        return self

    def send(self, **fields: Any) -> None:
        """Sends a later packet, by ROUTER, with the next `seq` unless one is given."""
        packet = {"from": self.worker.address, "id": self.id, "seq": self.seq, **_dashed(fields)}
        if "seq" not in fields:
            self.seq += 1
        self.worker.follow({k: v for k, v in packet.items() if v is not None}, self.format)

    def credit(self, credits: int) -> None:
        """Grants credits."""
        self.send(type="credit", credits=credits)

    def cancel(self) -> None:
        """Sends a cancel."""
        self.send(type="cancel")

    def next(self, timeout: float = DEADLINE) -> Message:
        """The next packet of this session; NoAnswer after `timeout` seconds."""
        message = self.worker.next_of(self.id, timeout)
        self.messages.append(message)
        return message

    def skip(self, *types: bytes, timeout: float = DEADLINE) -> Message:
        """The next packet that is of none of `types`."""
        while True:
            message = self.next(timeout)
            if message.type not in types:
                return message

    def finish(self, timeout: float = DEADLINE) -> list[Message]:
        """Reads until the final packet; returns everything since the start."""
        while not self.messages or not self.messages[-1].is_final:
            self.next(timeout)
        return self.messages

    def read_all(self) -> bytes:
        """Reads until the final packet, giving back the credits of what comes; returns the body."""
        while not self.messages or not self.messages[-1].is_final:
            message = self.next()
            if message.body:
                self.credit(len(message.body))
        return self.body

    @property
    def body(self) -> bytes:
        """Bodies of all data packets read so far, joined."""
        return b"".join(m.body for m in self.messages if m.type == b"data")


def _dashed(fields: dict[str, Any]) -> dict[str, Any]:
    return {key.rstrip("_").replace("_", "-"): value for key, value in fields.items()}


class Worker:
    """PUSH, ROUTER, SUB and DEALER sockets to one daemon.

    Args:
        daemon: whose endpoints to connect to.
        address: the worker's `from`.
        format: letter of the format for what is sent, unless said otherwise.
        instance: identity of the daemon; needed for `follow` where it is random.

    Attributes:
        received: all messages of the streaming interface, in order.
    """

    def __init__(
        self,
        daemon: Daemon,
        address: bytes = b"worker",
        format: str = "T",
        instance: bytes | None = None,
        hwm: int = 0,
    ) -> None:
        self.daemon = daemon
        self.address = address
        self.format = format
        self.instance = daemon.instance_id if instance is None else instance
        self.received: list[Message] = []
        self._queues: dict[bytes | None, deque[Message]] = {}
        self._order: deque[Message] = deque()
        self._ids = itertools.count()
        self.context = zmq.Context()
        self.streaming = "in_spec" in daemon.endpoints
        self.requesting = "in_req_spec" in daemon.endpoints
        if self.streaming:
            self.push_socket = self._socket(zmq.PUSH, "in_spec", hwm)
            self.router = self._socket(zmq.ROUTER, "in_stream_spec", hwm, mandatory=True)
            self.sub = self._socket(zmq.SUB, "out_spec", hwm, topic=address + b" ")
        if self.requesting:
            self.dealer = self._socket(zmq.DEALER, "in_req_spec", hwm)

    def _socket(
        self, kind: int, key: str, hwm: int, mandatory: bool = False, topic: bytes | None = None
    ) -> "zmq.Socket[bytes]":
        socket = self.context.socket(kind)
        socket.linger = 0
        socket.set_hwm(hwm)
        socket.reconnect_ivl = 10
        socket.ipv6 = "://[" in self.daemon.endpoints[key]
        if mandatory:
            socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        if topic is not None:
            socket.subscribe(topic)
        socket.connect(self.daemon.endpoints[key])
        return socket

    # Readiness

    def ready(self, timeout: float = DEADLINE) -> "Worker":
        """Waits until every interface answers, by asking it something harmless."""
        end = time.monotonic() + timeout
        if self.requesting:
            self.send_req({"id": _PROBE + b"req", "method": "GET", "uri": "x-probe:"})
            answer = self.recv_req(timeout)
            assert answer.get("condition") == b"bad-request", answer
        if self.streaming:
            self._probe(end, self._probe_push, b"error")
            self._probe(end, self._probe_router, b"cancel")
        return self

    def _probe_push(self, id: bytes) -> None:
        self.push({"from": self.address, "id": id, "method": "GET", "uri": "x-probe:"})

    def _probe_router(self, id: bytes) -> None:
        try:
            self.follow({"from": self.address, "id": id, "type": "keep-alive"})
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise

    def _probe(self, end: float, ask: Any, answer: bytes) -> None:
        """Sends probes until one is answered: earlier answers found no subscriber yet."""
        while True:
            ask(_PROBE + b"%d" % next(self._ids))
            while self.sub.poll(_PROBE_INTERVAL):
                message = decode(self.sub.recv().partition(b" ")[2])
                assert message.id is not None
                assert message.id.startswith(_PROBE), message
                if message.get("from"):
                    self.instance = message["from"]
                if message.type == answer:
                    return
            self._check_alive()
            if time.monotonic() > end:
                raise NoAnswer(f"daemon is not ready:\n{self.daemon.log()[-4000:]}")

    def _check_alive(self) -> None:
        if not self.daemon.alive:
            raise NoAnswer(f"daemon died:\n{self.daemon.log()[-4000:]}")

    # Request interface

    def send_req(
        self, fields: Any, format: str | None = None, envelope: tuple[bytes, ...] = (b"",)
    ) -> None:
        """Sends a request over DEALER; `fields` may be a raw message."""
        self.dealer.send_multipart([*envelope, self._message(fields, format)])

    def recv_req(self, timeout: float = DEADLINE, envelope: tuple[bytes, ...] = (b"",)) -> Message:
        """The next answer; asserts that it comes in the envelope of the question."""
        self._poll(self.dealer, timeout)
        frames = self.dealer.recv_multipart()
        assert tuple(frames[:-1]) == envelope, frames
        return decode(frames[-1])

    def request(
        self, timeout: float = DEADLINE, format: str | None = None, **fields: Any
    ) -> Message:
        """Asks over the request interface and returns the answer."""
        self.send_req(_dashed(fields), format)
        return self.recv_req(timeout)

    # Streaming interface

    def _message(self, fields: Any, format: str | None) -> bytes:
        return fields if isinstance(fields, bytes) else encode(fields, format or self.format)

    def push(self, fields: Any, format: str | None = None) -> None:
        """Sends one frame to in_spec; `fields` may be a raw message."""
        self.push_socket.send(self._message(fields, format))

    def follow(self, fields: Any, format: str | None = None) -> None:
        """Sends a packet to in_stream_spec; `fields` may be a raw message."""
        self.router.send_multipart([self.instance, b"", self._message(fields, format)])

    def session(self, id: bytes | str | None = None, format: str | None = None) -> Session:
        """A session that is not started yet."""
        if id is None:
            id = b"session-%d" % next(self._ids)
        return Session(self, id.encode() if isinstance(id, str) else id, format or self.format)

    def start(self, id: bytes | str | None = None, **fields: Any) -> Session:
        """Starts a session with a first packet of `fields`."""
        return self.session(id).start(**fields)

    def _poll(self, socket: "zmq.Socket[bytes]", timeout: float) -> None:
        end = time.monotonic() + timeout
        while not socket.poll(int(min(500, max(0, 1000 * (end - time.monotonic()))))):
            self._check_alive()
            if time.monotonic() >= end:
                raise NoAnswer(f"no answer within {timeout} s")

    def _read_sub(self) -> None:
        frames = self.sub.recv_multipart()
        assert len(frames) == 1, frames
        address, _, packet = frames[0].partition(b" ")
        message = decode(packet, address)
        if (message.id or b"").startswith(_PROBE):  # of `ready`, which asked more than once
            return
        self.received.append(message)
        self._queues.setdefault(message.id, deque()).append(message)
        self._order.append(message)

    def next(self, timeout: float = DEADLINE) -> Message:
        """The next message of any session that nobody has read."""
        while not self._order:
            self._poll(self.sub, timeout)
            self._read_sub()
        message = self._order.popleft()
        self._queues[message.id].remove(message)
        return message

    def next_of(self, id: bytes | None, timeout: float = DEADLINE) -> Message:
        """The next message of session `id`; others stay for those who ask for them."""
        queue = self._queues.setdefault(id, deque())
        end = time.monotonic() + timeout
        while not queue:
            self._poll(self.sub, max(0.0, end - time.monotonic()))
            self._read_sub()
        message = queue.popleft()
        self._order.remove(message)
        return message

    def drain(self) -> None:
        """Reads what is there without waiting."""
        while self.sub.poll(0):
            self._read_sub()

    def fence(self, timeout: float = DEADLINE) -> None:
        """Returns when everything sent before on PUSH and ROUTER has been read by the daemon.

        Both sockets are read in order, so once later messages are answered, an immediate answer
        to an earlier one has been received too (and is on record in `received`).
        """
        for send in (self._probe_push, self._probe_router):
            id = b"fence-%d" % next(self._ids)
            send(id)
            self.next_of(id, timeout)
        self.received = [m for m in self.received if not (m.id or b"").startswith(b"fence-")]

    def close(self) -> None:
        """Closes every socket at once."""
        self.context.destroy(linger=0)

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *args: object) -> None:
        self.close()
