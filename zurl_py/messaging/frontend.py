"""The daemon's four sockets on the loop: reads messages and sends answers.

Each turn of the loop reads at most a batch of messages from each socket, so that a flood on one
cannot starve the others, timers or transfers. Later packets (credits, cancels) are always read, new
requests only while there is room for them; ZeroMQ's high-water marks then hold back the workers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

import zmq

from ..config.curve import CurveClient
from ..log import Log
from ..loop import Loop, Timer
from .access import Access
from .outbox import Publisher, Replier
from .reader import TIME_SHARE, SocketReader
from .sockets import Endpoints
from .subscribers import Subscribers

__all__ = ["Frontend", "NullOutlet", "Receiver"]


class _Handle(Protocol):
    def __call__(self, frames: list[bytes], client: CurveClient | None = None) -> None: ...


_BATCH = 64  # messages read from one socket in one turn
# Seconds of one turn for new requests beyond the first eight. Packets of sessions get more: they
# cost less, and most of them wait for credits.
_TIME_SHARE = 0.0001
_START_WAIT = 0.5  # seconds after the start; then first packets are read in any case
_START_INTERVAL = 0.01  # seconds between two checks whether a worker is connected


class Receiver(Protocol):
    """Takes the messages: their frames, and the client that sent them, where clients have keys."""

    @property
    def has_room(self) -> Callable[[], bool]:
        """Whether a new request may be read."""

    def begin(self, frames: list[bytes], client: CurveClient | None = None) -> None:
        """A message of in_spec."""

    def go_on(self, frames: list[bytes], client: CurveClient | None = None) -> None:
        """A message of in_stream_spec."""

    def request(self, frames: list[bytes], client: CurveClient | None = None) -> None:
        """A message of in_req_spec."""

    def packet_dropped(self, address: bytes, message: bytes) -> None:
        """A packet for a worker was dropped."""


class NullOutlet:
    """In place of an outbox whose socket is not configured: it sends nothing."""

    slow: Collection[bytes] = ()

    def publish(self, address: bytes, message: bytes) -> None:
        """Do nothing: no worker can receive it."""

    def when_caught_up(self, worker: bytes, tell: Callable[[], None]) -> None:
        """Do nothing: no worker is slow."""

    def reply(self, envelope: list[bytes], answer: bytes) -> None:
        """Do nothing: no request can have come."""


class Frontend:
    """Reads and writes the sockets that are configured.

    `attach` names the receiver of messages; it is to be called before all that reads.

    Args:
        access: access control; None: clients have no keys.

    Attributes:
        outlet: sends packets to workers' addresses.
        replier: sends answers of the request interface.
    """

    def __init__(
        self, endpoints: Endpoints, loop: Loop, log: Log, access: Access | None = None
    ) -> None:
        self._loop = loop
        self._access = access
        self._first = self._reader(endpoints.in_)
        self._later = self._reader(endpoints.in_stream, share=TIME_SHARE)
        self._requests = self._reader(endpoints.in_req, answers=True)
        # An XPUB's messages are the workers' subscriptions; libzmq has acted on them already.
        self._subscriptions = self._reader(endpoints.out)
        every = (self._first, self._later, self._requests, self._subscriptions)
        self._readers = [reader for reader in every if reader is not None]
        self._requests_go_first = False
        self._publisher = self._replier = None
        self.outlet: Publisher | NullOutlet = NullOutlet()
        self.replier: Replier | NullOutlet = NullOutlet()
        if endpoints.out is not None and self._subscriptions is not None:
            self.outlet = self._publisher = Publisher(
                endpoints.out, loop, log, self._subscriptions.used
            )
            self._take_subscription: Callable[[list[bytes]], None] = self._publisher.subscription
            if access is not None:
                subscribers = Subscribers(endpoints.out, access, log, self._publisher.subscription)
                self._take_subscription = self._with_client(
                    subscribers.subscription, self._subscriptions
                )
        if endpoints.in_req is not None and self._requests is not None:
            self.replier = self._replier = Replier(endpoints.in_req, loop, log, self._requests.used)
        self._in_stream = endpoints.in_stream
        self._may_read_first = endpoints.in_stream is None
        self._start_timer = Timer(self._check_connected)
        self._start_deadline = loop.now + _START_WAIT
        self._check_connected()

    def attach(self, receiver: Receiver) -> None:
        """Hand messages on to this receiver from now on."""
        self._has_room = receiver.has_room
        self._packet_dropped = receiver.packet_dropped
        self._begin = self._with_client(receiver.begin, self._first)
        self._go_on = self._with_client(receiver.go_on, self._later)
        self._request = self._with_client(receiver.request, self._requests)

    def _reader(
        self, socket: zmq.Socket[bytes] | None, answers: bool = False, share: float = _TIME_SHARE
    ) -> SocketReader | None:
        if socket is None:
            return None
        return SocketReader(socket, self._loop, answers, self._access, share)

    @property
    def idle(self) -> bool:
        """Whether no answer waits for a worker that is slow or has not subscribed yet."""
        return not any(outbox and outbox.slow for outbox in (self._publisher, self._replier))

    @property
    def read_counts(self) -> list[int]:
        """Messages read from in_spec, in_stream_spec and in_req_spec."""
        readers = (self._first, self._later, self._requests)
        return [0 if reader is None else reader.count for reader in readers]

    @property
    def sent_counts(self) -> list[int]:
        """Messages sent by out_spec and in_req_spec."""
        outboxes = (self._publisher, self._replier)
        return [0 if outbox is None else outbox.sent for outbox in outboxes]

    def losses(self, socket: str) -> tuple[int, int]:
        """Numbers of messages to workers that were lost.

        Args:
            socket: out_spec or in_req_spec.

        Returns:
            Messages that were dropped as a worker was too slow, and messages without a receiver.
        """
        outbox = self._publisher if socket == "out_spec" else self._replier
        return (0, 0) if outbox is None else (outbox.dropped, outbox.undeliverable)

    @property
    def dropped(self) -> int:
        """Number of answers that were dropped as a worker was too slow."""
        outboxes = (self._publisher, self._replier)
        return sum(outbox.dropped for outbox in outboxes if outbox is not None)

    @property
    def undeliverable(self) -> int:
        """Number of answers without a receiver."""
        outboxes = (self._publisher, self._replier)
        return sum(outbox.undeliverable for outbox in outboxes if outbox is not None)

    def backlog(self) -> list[tuple[bytes, int, int]]:
        """Each worker for whom answers wait, how many they are, and their bytes."""
        found = [] if self._publisher is None else self._publisher.backlog()
        return found if self._replier is None else found + self._replier.backlog()

    @property
    def first_packets_wait(self) -> bool:
        """Whether messages wait, or may wait, in in_spec."""
        return self._first is not None and self._first.backlog

    # -- one turn ------------------------------------------------------------------------------

    def read(self) -> None:
        """Hand on messages, at most a batch from each socket.

        First packets are read before later ones, as a worker may send both at once. The two sockets
        for new requests take turns in being read first, as there may not be room for all.
        """
        first, requests = self._first, self._requests
        first_waits = first is not None and (first.backlog or not self._may_read_first)
        if requests is not None and requests.backlog:
            if first_waits:
                self._read_both()
            else:
                requests.read(_BATCH, self._request, self._has_room)
        elif first_waits:
            self._read_first()
        if self._later is not None and self._later.backlog:
            self._later.read(_BATCH, self._go_on)
        if self._subscriptions is not None and self._subscriptions.backlog:
            self._subscriptions.read(_BATCH, self._take_subscription)

    def _read_both(self) -> None:
        if self._requests_go_first:
            self._read_requests()
            self._read_first()
        else:
            self._read_first()
            self._read_requests()
        if not self._has_room():
            self._requests_go_first = not self._requests_go_first

    def _read_first(self) -> None:
        if self._first is None:
            return
        if not self._may_read_first:
            self._first.used()  # without this its descriptor signals in every turn
        elif self._first.backlog:
            self._first.read(_BATCH, self._begin, self._has_room)

    def _read_requests(self) -> None:
        if self._requests is not None and self._requests.backlog:
            self._requests.read(_BATCH, self._request, self._has_room)

    def _with_client(
        self, handle: _Handle, reader: SocketReader | None
    ) -> Callable[[list[bytes]], None]:
        """``handle`` with the client that sent the message, where clients have keys."""
        if self._access is None or reader is None:
            return handle
        return lambda frames: handle(frames, reader.client)

    def flush(self) -> None:
        """Send the packets of this turn."""
        publisher = self._publisher
        if publisher is not None:
            if publisher.held:
                publisher.flush()
            if publisher.dropped_packets:
                dropped_packets, publisher.dropped_packets = publisher.dropped_packets, []
                for address, message in dropped_packets:
                    self._packet_dropped(address, message)
        if self._replier is not None and self._replier.held:
            self._replier.flush()

    def has_more(self) -> bool:
        """Whether messages wait that may be read now; if not, a descriptor signals the next one."""
        found = False
        for reader in self._readers:
            if reader.must_check:
                reader.check()
            if reader.backlog and not found:
                found = self._may_read(reader)
        return found

    def _may_read(self, reader: SocketReader) -> bool:
        """Whether the next turn may read a socket: new requests only if there is room."""
        if reader is self._first:
            return self._may_read_first and self._has_room()
        return reader is not self._requests or self._has_room()

    # -- the start -----------------------------------------------------------------------------

    def _check_connected(self) -> None:
        """Wait until a worker's ROUTER is connected: a ROUTER drops packets that it cannot send.

        A worker's sockets connect independently. Its first packet may come before the socket for
        later ones, such as the rest of an upload, is connected.
        """
        if self._may_read_first or self._in_stream is None or self._later is None:
            return
        self._later.used()
        connected = bool(int(self._in_stream.getsockopt(zmq.EVENTS)) & int(zmq.POLLOUT))
        self._may_read_first = connected or self._loop.now >= self._start_deadline
        if not self._may_read_first:
            self._loop.set_timer(self._start_timer, self._loop.now + _START_INTERVAL)
