"""The outboxes: they send answers, and lose none because one worker is slow.

Messages of one turn of the loop are held until its end. ZeroMQ's own thread is then woken once and
writes them together, at a fraction of the cost of a wake-up and a write for each.

Both sockets refuse a message when the queue of its worker is full. A message that was refused waits
here, in a queue for that worker; messages to other workers are sent.

A packet that no worker has subscribed to yet waits as well, for a while. A worker's sockets connect
independently, so after a start of the daemon a request may come before the subscription.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from typing import Generic, TypeVar

import zmq

from ..log import Log
from ..loop import Loop, Timer
from .subscriptions import Subscriptions

__all__ = ["Publisher", "Replier", "show_address"]

Message = TypeVar("Message")

_RETRY_INTERVAL = 0.02  # seconds; ZeroMQ has no event for room in a full queue
# Packets of one turn; more are sent before its end, so that a worker that takes no more is known to
# be slow.
_MAX_HELD = 100
_MAX_WAITING = 10_000  # messages that may wait for one worker
_MAX_WAITING_SIZE = 64 << 20  # bytes that may wait for one worker; one message may be larger
_STUCK_AFTER = 30.0  # seconds without room for a message, after which a receiver is stuck
_SUBSCRIPTION_TIMEOUT = 3.0  # seconds that packets wait for a subscription; a reconnect takes 0.2
_CHECK_INTERVAL = 0.001  # seconds between two checks for subscriptions while packets are sent
_MAX_KNOWN = 10_000  # addresses to remember, with and without a subscription

_NUDGE_INTERVAL = 1.0  # seconds
_NUDGES = 8  # in a row: one may fill the queue of the next onlooker, which had room for one message
_NUDGE = b'\0 J{"type":"keep-alive"}'  # no worker's address ends like that

_NOBLOCK = int(zmq.NOBLOCK)
_SNDMORE = int(zmq.SNDMORE)


class _Queue(Generic[Message]):
    """Messages that wait for one worker.

    Attributes:
        size: bytes of the messages.
        sent_at: time when the last of them was sent, or the first was queued.
    """

    __slots__ = ("messages", "sent_at", "size")

    def __init__(self, now: float) -> None:
        self.messages: deque[Message] = deque()
        self.size = 0
        self.sent_at = now


class _Outbox(Generic[Message]):
    """Sends messages to workers, and keeps those for which a worker's queue has no room.

    Args:
        used: called when the socket was used, as that may reset the signal of its descriptor.

    Attributes:
        held: messages for the next ``flush``.
        slow: the workers for which messages wait.
        dropped: number of messages dropped because a worker was too slow for too long.
        sent: number of messages given to ZeroMQ.
        undeliverable: number of these without a receiver.
    """

    def __init__(self, loop: Loop, log: Log, used: Callable[[], None]) -> None:
        self._loop = loop
        self._used = used
        self._log = log
        self._timer = Timer(self._retry)
        self.held: list[tuple[bytes, Message]] = []
        self._waiting: dict[bytes, _Queue[Message]] = {}
        self.slow: Collection[bytes] = self._waiting.keys()
        self._when_caught_up: dict[bytes, dict[Callable[[], None], None]] = {}
        self.dropped = 0
        self.sent = 0
        self.undeliverable = 0

    def __repr__(self) -> str:
        waiting = {show_address(w): len(queue.messages) for w, queue in self._waiting.items()}
        return f"<{type(self).__name__} sent={self.sent} dropped={self.dropped} waiting={waiting}>"

    def backlog(self) -> list[tuple[bytes, int, int]]:
        """Each worker for whom messages wait, how many they are, and their bytes."""
        return [
            (worker, len(queue.messages), queue.size) for worker, queue in self._waiting.items()
        ]

    def _transmit(self, worker: bytes, message: Message) -> None:
        """Give a message to ZeroMQ, or raise ``zmq.Again``."""
        raise NotImplementedError

    def _size(self, message: Message) -> int:
        """Bytes of a message."""
        raise NotImplementedError

    def when_caught_up(self, worker: bytes, tell: Callable[[], None]) -> None:
        """Call ``tell`` once when no message waits any more for a worker that is slow now."""
        self._when_caught_up.setdefault(worker, {})[tell] = None

    def flush(self) -> None:
        """Send the messages of this turn. Called in each turn of the loop."""
        held = self.held
        if not held:
            return
        self.held = []
        self._used()
        for worker, message in held:
            if worker in self._waiting:
                self._wait(worker, message)
                continue
            try:
                self._transmit(worker, message)
                self.sent += 1
            except zmq.Again:
                self._wait(worker, message)

    def _wait(self, worker: bytes, message: Message) -> None:
        queue = self._waiting.get(worker)
        if queue is None:
            queue = self._waiting[worker] = _Queue(self._loop.now)
            self._loop.set_timer(self._timer, self._loop.now + _RETRY_INTERVAL)
            self._log.warning(f"the worker {show_address(worker)} is {self._why_waiting(worker)}")
        messages, size = queue.messages, queue.size + self._size(message)
        if len(messages) >= _MAX_WAITING or (messages and size > _MAX_WAITING_SIZE):
            if self.dropped % 1000 == 0:
                self._log.error(
                    f"the worker {show_address(worker)} is too slow: dropping packets "
                    f"({self.dropped} so far)"
                )
            self.dropped += 1
            self._on_dropped(worker, message)
            return
        messages.append(message)
        queue.size = size

    def _on_dropped(self, worker: bytes, message: Message) -> None:
        """Handle the loss of a message that was dropped; a subclass may report it."""

    def _why_waiting(self, worker: bytes) -> str:
        """Why messages wait for a worker, for the log."""
        return "slow; its packets wait"

    def _retry(self) -> None:
        self._used()
        self._loop.set_timer(self._timer, self._loop.now + _RETRY_INTERVAL)
        for worker in list(self._waiting):
            if self._should_retry(worker) and self._send_waiting(worker):
                del self._waiting[worker]
                self._call_caught_up(worker)
        if not self._waiting:
            self._loop.cancel_timer(self._timer)

    def _send_waiting(self, worker: bytes) -> bool:
        """Send what waits for a worker while there is room; True if nothing is left."""
        queue = self._waiting[worker]
        messages = queue.messages
        try:
            while messages:
                self._transmit(worker, messages[0])
                self.sent += 1
                queue.size -= self._size(messages.popleft())
                queue.sent_at = self._loop.now
        except zmq.Again:
            if self._loop.now - queue.sent_at >= _STUCK_AFTER:
                queue.sent_at = self._loop.now
                if self._handle_stuck(worker, messages[0]):
                    queue.size -= self._size(messages.popleft())
            return False
        return True

    def _call_caught_up(self, worker: bytes) -> None:
        for tell in self._when_caught_up.pop(worker, ()):
            try:
                tell()
            except Exception:  # a bug in one session
                self._log.exception("a session could not go on")

    def _handle_stuck(self, worker: bytes, message: Message) -> bool:
        """Act where there has been no room for long; True if this message need not wait longer."""
        return False

    def _should_retry(self, worker: bytes) -> bool:
        """Whether to try again to send to a worker: something may have changed."""
        return True


class Publisher(_Outbox[bytes]):
    """Packets to workers' addresses, over an XPUB with ``XPUB_NODROP``.

    Attributes:
        dropped_packets: packets that were dropped, with their addresses, for the caller to handle.
    """

    def __init__(
        self, socket: zmq.Socket[bytes], loop: Loop, log: Log, used: Callable[[], None]
    ) -> None:
        super().__init__(loop, log, lambda: None)
        self.dropped_packets: list[tuple[bytes, bytes]] = []
        self._socket = socket
        self._send_frame = socket.send
        self._check_subscriptions = used
        self._subscriptions = Subscriptions()
        self._subscribed: set[bytes] = set()  # addresses that a subscription covers
        self._next_check = 0.0
        # Workers that may be slow, and the time of the next nudge.
        self._next_nudge: dict[bytes, float] = {}
        self._next_warning = 0.0
        # Addresses without a subscription, and the time until which packets wait for one.
        self._awaiting_subscription: dict[bytes, float] = {}

    def publish(self, address: bytes, message: bytes) -> None:
        """Send ``message``, which begins with ``address`` and a space, to its subscribers.

        Where there is no subscription, it waits for one for a few seconds.
        """
        held = self.held
        held.append((address, message))
        if len(held) >= _MAX_HELD:
            self.flush()

    def subscription(self, frames: list[bytes]) -> None:
        """Handle a message that was read from the socket (RFC 29 of ZeroMQ): a subscription."""
        kind, prefix = frames[0][:1], frames[0][1:]
        if kind == b"\1":
            self._subscriptions.add(prefix)
            for worker in [w for w in self._awaiting_subscription if _may_match(w + b" ", prefix)]:
                del self._awaiting_subscription[worker]
        elif kind == b"\0":
            self._subscriptions.discard(prefix)
            self._subscribed.clear()

    def _size(self, message: bytes) -> int:
        return len(message)

    def _on_dropped(self, worker: bytes, message: bytes) -> None:
        self.dropped_packets.append((worker, message))

    def _transmit(self, worker: bytes, message: bytes) -> None:
        if worker not in self._subscribed and not self._may_send_now(worker, message):
            raise zmq.Again
        try:
            self._send_frame(message, _NOBLOCK)
        except zmq.Again:
            self._retry_refused(worker, message)
        if worker not in self._subscribed:
            self.undeliverable += 1
        # That may have reset the signal of an unsubscription.
        if self._loop.now >= self._next_check:
            self._next_check = self._loop.now + _CHECK_INTERVAL
            self._check_subscriptions()

    def _retry_refused(self, worker: bytes, message: bytes) -> None:
        """Send a refused message again, as there may be room by now.

        Between two sends in a row libzmq takes no note of what receivers have read meanwhile.
        """
        self._process_reads()
        try:
            self._send_frame(message, _NOBLOCK)
        except zmq.Again:
            self._send_past_onlookers(worker, message)

    def _process_reads(self) -> None:
        self._socket.getsockopt(zmq.EVENTS)
        self._check_subscriptions()  # sending may have reset the signal of one

    def _send_past_onlookers(self, worker: bytes, message: bytes) -> None:
        """Send a message that was refused, unless it is the worker that has no room for it.

        XPUB refuses a message that one of its receivers has no room for, and one that subscribed
        to everything is a receiver of all. But it does not count a receiver any more that has
        missed a message, until that reads again. So a packet that nobody but the onlookers gets,
        sent so that it may be lost, tells them from the worker: if the worker's is refused after
        that, it is the worker that is slow.
        """
        now = self._loop.now
        onlookers = self._subscriptions.onlookers(worker, message)
        if onlookers is None or self._next_nudge.get(worker, 0.0) > now:
            raise zmq.Again
        if onlookers in self._subscribed or onlookers in self._waiting:
            raise zmq.Again  # a worker, whose address begins ours, subscribed without a space
        if not self._nudge(onlookers + _NUDGE, message):
            if len(self._next_nudge) >= _MAX_KNOWN:
                self._next_nudge.clear()
            self._next_nudge[worker] = now + _NUDGE_INTERVAL
            raise zmq.Again
        if now >= self._next_warning:
            self._next_warning = now + _STUCK_AFTER
            self._log.warning(
                "a receiver that subscribed to more than one worker's packets does not read them: "
                "it loses some from now on"
            )

    def _nudge(self, nudge: bytes, message: bytes) -> bool:
        """Fill the queues of onlookers with ``nudge`` until ``message`` can be sent.

        Returns:
            Whether it was sent.
        """
        for _ in range(_NUDGES):
            self._send_to_those_with_room(nudge)
            try:
                self._send_frame(message, _NOBLOCK)
            except zmq.Again:
                continue
            return True
        return False

    def _send_to_those_with_room(self, message: bytes) -> None:
        self._socket.setsockopt(zmq.XPUB_NODROP, 0)
        try:
            self._send_frame(message, _NOBLOCK)
        finally:
            self._socket.setsockopt(zmq.XPUB_NODROP, 1)

    def _handle_stuck(self, worker: bytes, message: bytes) -> bool:
        """Send one packet to those receivers only that have room for it.

        The receiver that has none may be an old connection of the worker, whose end was not
        noticed, while its current connection works.
        """
        self._process_reads()
        self._send_to_those_with_room(message)
        self._log.warning(
            f"a receiver of packets for {show_address(worker)} has read none for "
            f"{_STUCK_AFTER:.0f} s: it loses some from now on"
        )
        return True

    def _should_retry(self, worker: bytes) -> bool:
        until = self._awaiting_subscription.get(worker)
        if until is None or self._loop.now >= until:
            return True
        self._check_subscriptions()
        return False

    def _may_send_now(self, worker: bytes, message: bytes) -> bool:
        """Whether to send packets to a worker now: it has subscribed, or the wait is over."""
        if self._subscriptions.match(worker + b" "):
            if len(self._subscribed) >= _MAX_KNOWN:
                self._subscribed.clear()
            self._subscribed.add(worker)
            self._awaiting_subscription.pop(worker, None)
            return True
        # A prefix longer than the address, such as "worker T", may match one message and not the
        # next.
        if self._subscriptions.match(message):
            self._awaiting_subscription.pop(worker, None)
            return True
        # A send may have reset the signal of a subscription.
        self._check_subscriptions()
        if (
            worker not in self._awaiting_subscription
            and len(self._awaiting_subscription) >= _MAX_KNOWN
        ):
            now = self._loop.now
            self._awaiting_subscription = {
                w: until for w, until in self._awaiting_subscription.items() if until > now
            }
            if len(self._awaiting_subscription) >= _MAX_KNOWN:
                return True  # too many unknown addresses: do not wait for this one
        return self._loop.now >= self._awaiting_subscription.setdefault(
            worker, self._loop.now + _SUBSCRIPTION_TIMEOUT
        )

    def _why_waiting(self, worker: bytes) -> str:
        if worker in self._subscribed:
            return super()._why_waiting(worker)
        return "not subscribed to its answers; they wait"


def _may_match(address: bytes, prefix: bytes) -> bool:
    """Whether a subscription may match packets to an address."""
    return address.startswith(prefix) or prefix.startswith(address)


class Replier(_Outbox[list[bytes]]):
    """Answers to REQ and DEALER sockets, over a ROUTER with ``ROUTER_MANDATORY``."""

    def __init__(
        self, socket: zmq.Socket[bytes], loop: Loop, log: Log, used: Callable[[], None]
    ) -> None:
        super().__init__(loop, log, used)
        self._send_frame = socket.send

    def reply(self, envelope: list[bytes], answer: bytes) -> None:
        """Send ``answer`` after the frames of the request's envelope, the identity first."""
        held = self.held
        held.append((envelope[0], [*envelope, answer]))
        if len(held) >= _MAX_HELD:
            self.flush()

    def _size(self, message: list[bytes]) -> int:
        return sum(map(len, message))

    def _transmit(self, worker: bytes, message: list[bytes]) -> None:
        send = self._send_frame
        try:
            # Only the first frame can be refused; the others follow it.
            send(message[0], _NOBLOCK | _SNDMORE)
        except zmq.Again:
            raise
        except zmq.ZMQError as error:
            self.undeliverable += 1
            self._log.info(
                f"an answer was lost, as its worker is gone: {error}", "answer-undeliverable"
            )
            return
        for frame in message[1:-1]:
            send(frame, _SNDMORE)
        send(message[-1])


def show_address(address: bytes) -> str:
    """An address for a log line."""
    return ascii(address[:64].decode("utf-8", "replace"))
