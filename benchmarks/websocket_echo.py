"""CPU time of the daemon per echoed WebSocket message, ours against Debian's zurl.

usage: python -m benchmarks.websocket_echo [--sockets 50] [--size 20] [--messages 40000] [--runs 3]

Each socket sends a message, waits for its echo, and sends the next, with the credits used up
granted along; so one echoed message is two packets in, two out (data and credit) and a frame each
way. The origin is a process of its own. Runs of both daemons alternate.
"""

import argparse
import multiprocessing
import socket
import statistics
import time
from multiprocessing.connection import Connection as Pipe
from typing import Any

import zmq

from tests.support import Daemon, Worker
from tests.support.websocket import accept_value
from zurl_py.zhttp import tnetstring

_ADDRESS = b"bench"


def origin(pipe: Pipe) -> None:
    """A fast echo server: one epoll, frames of one read only."""
    import select

    from websockets.speedups import apply_mask

    from tests.support.origin import Request

    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    pipe.send(listener.getsockname()[1])
    epoll = select.epoll()
    epoll.register(listener, select.EPOLLIN)
    sockets: dict[int, tuple[socket.socket, bytearray]] = {}
    while True:
        for fd, _ in epoll.poll():
            if fd == listener.fileno():
                sock, _ = listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                head = b""
                while b"\r\n\r\n" not in head:
                    head += sock.recv(65536)
                sock.sendall(
                    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                    b"Connection: Upgrade\r\nSec-WebSocket-Accept: "
                    + accept_value(Request(0, head))
                    + b"\r\n\r\n"
                )
                sockets[sock.fileno()] = (sock, bytearray())
                epoll.register(sock, select.EPOLLIN)
                continue
            sock, buffer = sockets[fd]
            try:
                data = sock.recv(262144)
            except ConnectionError:
                data = b""
            if not data:
                del sockets[fd]
                sock.close()
                continue
            buffer += data
            while len(buffer) >= 6:
                size, start = buffer[1] & 0x7F, 2
                if size == 126:
                    size, start = int.from_bytes(buffer[2:4]), 4
                if len(buffer) < start + 4 + size:
                    break
                head = bytes((buffer[0], buffer[1] & 0x7F)) + buffer[2:start]
                body = apply_mask(buffer[start + 4 : start + 4 + size], buffer[start : start + 4])
                del buffer[: start + 4 + size]
                sock.sendall(head + body)


class Load:
    """A worker that echoes on many sockets at once."""

    def __init__(self, daemon: Daemon) -> None:
        self.instance = daemon.instance_id
        self.context = zmq.Context()
        self.push = self._socket(daemon, zmq.PUSH, "in_spec")
        self.router = self._socket(daemon, zmq.ROUTER, "in_stream_spec")
        self.sub = self._socket(daemon, zmq.SUB, "out_spec")
        self.sub.subscribe(_ADDRESS + b" ")
        self.seqs: dict[bytes, int] = {}
        # An answer before the subscription has arrived would be lost: ask until one comes.
        packet = {b"from": _ADDRESS, b"id": b"none", b"seq": 0, b"type": b"keep-alive"}
        while not self.sub.poll(20):
            self.router.send_multipart([self.instance, b"", b"T" + tnetstring.dumps(packet)])

    def _socket(self, daemon: Daemon, kind: int, key: str) -> "zmq.Socket[bytes]":
        made = self.context.socket(kind)
        made.linger = 0
        made.set_hwm(0)
        made.connect(daemon.endpoints[key])
        return made

    def open(self, port: int, count: int, first: int = 0) -> None:
        """Open sockets and wait until all are."""
        for number in range(first, first + count):
            id = b"s%d" % number
            packet = {b"from": _ADDRESS, b"id": id, b"seq": 0, b"credits": 200_000}
            packet[b"uri"] = b"ws://127.0.0.1:%d/" % port
            self.push.send(b"T" + tnetstring.dumps(packet))
            self.seqs[id] = 0
        opened = 0
        while opened < count:
            packet = self._next()
            assert packet[b"id"] == b"none" or packet.get(b"code") == 101, packet
            opened += packet[b"id"] != b"none"

    def _next(self) -> dict[bytes, Any]:
        packet: dict[bytes, Any] = tnetstring.loads(self.sub.recv().partition(b" T")[2])
        return packet

    def send(self, id: bytes, **fields: Any) -> None:
        """A packet of a session."""
        self.seqs[id] += 1
        packet = {b"from": _ADDRESS, b"id": id, b"seq": self.seqs[id]}
        packet.update((name.encode(), value) for name, value in fields.items())
        self.router.send_multipart([self.instance, b"", b"T" + tnetstring.dumps(packet)])

    def echo(self, size: int, messages: int) -> None:
        """Send and receive so many messages over all sockets."""
        body = b"x" * size
        for id in self.seqs:
            self.send(id, body=body)
        sent, received = len(self.seqs), 0
        while received < messages:
            packet = self._next()
            if b"type" in packet:
                assert packet[b"type"] in (b"credit", b"keep-alive"), packet
                continue
            assert len(packet[b"body"]) == size
            received += 1
            if sent < messages:
                sent += 1
                self.send(packet[b"id"], body=body, credits=size)
            else:
                self.send(packet[b"id"], type=b"credit", credits=size)

    def close(self) -> None:
        """Close all sockets."""
        self.context.destroy(linger=0)


def measure(kind: str, port: int, sockets: int, size: int, messages: int) -> float:
    """Microseconds of the daemon's CPU time per echoed message."""
    arguments = ("--loglevel=2",)
    with Daemon(kind=kind, arguments=arguments, max_open_requests=100_000) as daemon:
        Worker(daemon).ready().close()
        load = Load(daemon)
        load.open(port, sockets)
        load.echo(size, messages // 10)
        before = daemon.cpu_seconds()
        started = time.monotonic()
        load.echo(size, messages)
        used = daemon.cpu_seconds() - before
        rate = messages / (time.monotonic() - started)
        load.close()
        cost = used / messages * 1e6
        print(f"  {kind:5} {cost:7.1f} us per message, {rate:6.0f} messages per second")
        return cost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sockets", type=int, default=50)
    parser.add_argument("--size", type=int, nargs="+", default=[20, 10_000])
    parser.add_argument("--messages", type=int, default=40_000)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=origin, args=(theirs,), daemon=True)
    process.start()
    port = ours.recv()
    for size in arguments.size:
        print(f"{arguments.sockets} sockets, {size} bytes")
        costs: dict[str, list[float]] = {"ours": [], "zurl": []}
        for _ in range(arguments.runs):
            for kind, found in costs.items():
                found.append(measure(kind, port, arguments.sockets, size, arguments.messages))
        mine, others = statistics.median(costs["ours"]), statistics.median(costs["zurl"])
        print(f"median: {mine:.1f} against {others:.1f} us: {mine / others:.2f}")
    process.terminate()


if __name__ == "__main__":
    main()
