"""The sockets to one daemon. Only the hub's thread uses them."""

from __future__ import annotations

import errno
import math
import os
import time
from collections import deque
from collections.abc import Callable
from typing import Final

import zmq
from zmq.utils.monitor import recv_monitor_message

from .address import Endpoints

__all__ = ["Link", "Socket"]

Socket = zmq.Socket[bytes]

_RECONNECT: Final = (20, 1000)  # milliseconds between attempts: at first, and at most
# Milliseconds between pings to a silent peer, and until it counts as lost
_HEARTBEAT: Final = (10_000, 20_000)
_MOST_QUEUED: Final = 200  # first packets that ZeroMQ holds for a daemon that does not read
_MOST_HELD: Final = 10_000  # later packets for a daemon that is not known by its name
_LAST_ANSWERS: Final = 0.5  # seconds within which a daemon's sockets close one after the other
_BATCH: Final = 100  # messages read in one turn
_NOBLOCK: Final = int(zmq.NOBLOCK)
_STATES: Final = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_CLOSED
)
_FAILED: Final = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL,
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL,
    zmq.EVENT_HANDSHAKE_FAILED_AUTH,
)


class Link:
    """Connections to one daemon. If one is lost, all of them are made again.

    Nothing is queued while the daemon is not connected, so that no request is carried out long
    after its caller was told that it had failed.

    Args:
        address: our ``from``, with which the daemon's messages for us begin.
        watch: calls a function whenever a socket has something to read.
        unwatch: ends that.

    Attributes:
        endpoints: of the daemon.
        there: every socket is connected.
        stops: the daemon begins no more requests, as it stops.
        peer: the daemon's name, for later packets; None until a packet has told it.
        orphans: ids of sessions to cancel once the name is known; the hub uses it.
        outbox: calls whose packets wait for room; the hub uses it.
    """

    def __init__(
        self,
        context: zmq.Context[Socket],
        endpoints: Endpoints,
        address: bytes,
        watch: Callable[[Socket, Callable[[], None]], None],
        unwatch: Callable[[Socket], None],
        received: Callable[[Link, bytes], None],
        changed: Callable[[Link], None],
    ) -> None:
        self._context = context
        self.endpoints = endpoints
        self._topic = address + b" "
        self._watch = watch
        self._unwatch = unwatch
        self._received = received
        self._changed = changed
        self.there = self.stops = False
        self.peer: bytes | None = None
        self.orphans: list[bytes] = []
        self.outbox: deque[object] = deque()
        self._held: deque[list[bytes]] = deque()  # later packets that could not be sent yet
        self._unknown = False  # nobody with the name in the first of them is connected
        self._tell: list[Callable[[], None]] = []
        self._sockets: dict[str, Socket] = {}
        self._monitors: dict[str, Socket] = {}
        self._connected: set[str] = set()
        self._trouble: dict[str, str] = {}

    def __repr__(self) -> str:
        state = "connected" if self.there else "not connected"
        return f"<Link {self.endpoints!r} {state} peer={self.peer!r}>"

    # -- connecting ----------------------------------------------------------------------------

    def open(self) -> None:
        """Begin to connect."""
        ends = self.endpoints
        if ends.streams:
            assert ends.in_ and ends.in_stream and ends.out  # noqa: PT018 - come all or none
            self._add("out", zmq.SUB, ends.out)
            self._add("in_stream", zmq.ROUTER, ends.in_stream)
            self._add("in", zmq.PUSH, ends.in_)
            self._watch(self._sockets["out"], self._read_out)
        else:
            assert ends.req
            self._add("req", zmq.DEALER, ends.req)
            self._watch(self._sockets["req"], self._read_req)

    def _add(self, name: str, kind: int, endpoint: str) -> None:
        socket = self._context.socket(kind)
        socket.linger = 0
        socket.setsockopt(zmq.RECONNECT_IVL, _RECONNECT[0])
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, _RECONNECT[1])
        socket.setsockopt(zmq.HEARTBEAT_IVL, _HEARTBEAT[0])
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, _HEARTBEAT[1])
        if "[" in endpoint:
            socket.setsockopt(zmq.IPV6, 1)
        if kind == zmq.SUB:
            socket.subscribe(self._topic)
            # Our credits bound the queue. With a limit here, a PUB socket would drop packets.
            socket.setsockopt(zmq.RCVHWM, 0)
        else:
            # Messages for the next daemon must not wait in these. A SUB would lose unread ones.
            socket.setsockopt(zmq.IMMEDIATE, 1)
            if kind == zmq.ROUTER:
                socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
            else:
                socket.setsockopt(zmq.SNDHWM, _MOST_QUEUED)
        monitor = socket.get_monitor_socket(_STATES)
        self._sockets[name] = socket
        self._monitors[name] = monitor
        self._watch(monitor, lambda: self._read_monitor(name, monitor))
        try:
            socket.connect(endpoint)
        except zmq.ZMQError as error:  # no endpoint can be like that
            self._trouble[name] = os.strerror(error.errno or 0)

    def close(self, linger: int = 0) -> None:
        """Disconnect.

        Args:
            linger: milliseconds for packets that ZeroMQ has not sent yet.
        """
        for name, socket in self._sockets.items():
            monitor = self._monitors[name]
            self._unwatch(socket)
            self._unwatch(monitor)
            socket.disable_monitor()
            monitor.close(0)
            # Only a subscription waits in this one, for as long as nobody is there.
            socket.close(0 if name == "out" else linger)
        self._sockets.clear()
        self._monitors.clear()
        self._connected.clear()
        self._trouble.clear()
        self._held.clear()
        self._tell_all()
        self.peer = None
        self.orphans.clear()
        self.there = self.stops = False

    def _reset(self) -> None:
        """Make new sockets: a ROUTER keeps the first identity that its peer had."""
        self.close()
        self.open()

    def _read_monitor(self, name: str, monitor: Socket) -> None:
        while not monitor.closed:
            try:
                event = recv_monitor_message(monitor, _NOBLOCK)["event"]
            except zmq.Again:
                return
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._connected.add(name)
                self._trouble.pop(name, None)
                if len(self._connected) == len(self._sockets):
                    self.there = True
                    self._changed(self)
            elif event in _FAILED:
                self._trouble[name] = "what listens there is no such socket of a gateway"
            elif event == zmq.EVENT_CLOSED:  # no connection could be made
                self._trouble.pop(name, None)
            elif name in self._connected:  # the connection was lost
                was_there = self.there
                if name != "out" and "out" in self._connected:
                    self._wait_for_the_last_answers()
                self._read_all()
                self._reset()
                if was_there:
                    self._changed(self)
                return

    def _wait_for_the_last_answers(self) -> None:
        """A daemon that stops answers, and ends; its sockets are closed in any order.

        Those of one that is gone are closed within a moment. Nothing else is done meanwhile, as
        nothing can be sent, and whoever reconnects must not be taken for the one that was lost.
        """
        monitor = self._monitors["out"]
        until = time.monotonic() + _LAST_ANSWERS
        while (rest := until - time.monotonic()) > 0:
            if monitor.poll(math.ceil(rest * 1000)):
                event = recv_monitor_message(monitor, _NOBLOCK)["event"]
                if event == zmq.EVENT_DISCONNECTED:
                    return

    def why_not(self) -> str:
        """Why no request can be sent, with the daemon's endpoint."""
        ends = self.endpoints
        if self.stops:
            return f"{ends}: the gateway is stopping"
        by_name = {"in": ends.in_, "in_stream": ends.in_stream, "out": ends.out, "req": ends.req}
        for name in (*self._trouble, *self._sockets):
            if name not in self._connected:
                endpoint = by_name[name] or ""
                return f"{endpoint}: {self._trouble.get(name) or _reason(endpoint)}"
        return f"{ends}: not connected"

    # -- sending -------------------------------------------------------------------------------

    def send_first(self, packet: bytes) -> bool:
        """Give a first packet to ZeroMQ. Returns False if there is no room."""
        try:
            if "in" in self._sockets:
                self._sockets["in"].send(packet, _NOBLOCK)
            else:
                self._sockets["req"].send_multipart([b"", packet], _NOBLOCK)
        except zmq.Again:
            return False
        return True

    def has_room(self) -> bool:
        """Whether ZeroMQ has room for a first packet."""
        socket = self._sockets.get("in") or self._sockets["req"]
        return bool(int(socket.getsockopt(zmq.EVENTS)) & zmq.POLLOUT)

    def send_later(self, peer: bytes, packet: bytes) -> None:
        """Send a later packet, now or when it can be sent."""
        if "in_stream" not in self._sockets:
            return  # the request interface has no later packets
        frames = [peer, b"", packet]
        if self._held or not self._send_later(frames):
            self._held.append(frames)
            if self._unknown and len(self._held) > _MOST_HELD:
                self._held.popleft()

    def _send_later(self, frames: list[bytes]) -> bool:
        self._unknown = False
        try:
            self._sockets["in_stream"].send_multipart(frames, _NOBLOCK)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            if error.errno != errno.EHOSTUNREACH:
                raise
            self._unknown = True
            return False
        return True

    def retry_later(self) -> bool:
        """Try again to send later packets. Returns False if some still wait."""
        while self._held:
            if not self._send_later(self._held[0]):
                return False
            self._held.popleft()
        self._tell_all()
        return True

    def when_taken(self, tell: Callable[[], None]) -> None:
        """Call a function when ZeroMQ has all later packets, or the connection is lost."""
        self._tell.append(tell)
        if not self._held:
            self._tell_all()

    def _tell_all(self) -> None:
        told, self._tell = self._tell, []
        for tell in told:
            tell()

    @property
    def waits(self) -> bool:
        """Whether packets wait to be sent."""
        return bool(self.outbox or self._held)

    # -- receiving -----------------------------------------------------------------------------

    def _read_all(self) -> None:
        """Read all messages that came before a connection was lost."""
        for name, read in (("out", self._read_out), ("req", self._read_req)):
            while name in self._sockets and int(self._sockets[name].getsockopt(zmq.EVENTS)) & 1:
                read()

    def _read_out(self) -> None:
        socket, skip = self._sockets["out"], len(self._topic)
        for _ in range(_BATCH):
            try:
                message = socket.recv(_NOBLOCK)
            except zmq.Again:
                return
            self._received(self, message[skip:])

    def _read_req(self) -> None:
        socket = self._sockets["req"]
        for _ in range(_BATCH):
            try:
                frames = socket.recv_multipart(_NOBLOCK)
            except zmq.Again:
                return
            self._received(self, frames[-1])


def _reason(endpoint: str) -> str:
    """A probable reason why nothing answers at an endpoint."""
    path = endpoint.removeprefix("ipc://")
    if path == endpoint or path.startswith("@"):
        return "no gateway answers"
    if not os.path.exists(path):
        return "no such socket; is the gateway running?"
    if not os.access(path, os.W_OK):
        return (
            "permission denied (ipc_file_mode of the gateway, and the socket's group, say who may)"
        )
    return "nobody listens there; is the gateway running?"
