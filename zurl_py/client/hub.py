"""The hub: the thread that owns a client's sockets, and drives its calls.

Callers pass functions to it by ``post``, and wait for signals. Only this thread uses the sockets,
links and exchanges; the few attributes that callers set directly say so where they are defined.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import zmq

from ..zhttp import Envelope, Format, PacketError, ResponsePacket
from . import embedded, errors
from .address import Embedded, Endpoints, Gateway
from .call import Call
from .exchange import Event, Failed, Sender
from .link import Link, Socket
from .running import Runtime, Signal
from .trace import Direction, PacketTrace, Tracer

__all__ = ["Hub"]

_LINGER: Final = (
    1000  # milliseconds for cancels and fire-and-forget requests that were not sent yet
)
_RETRY: Final = 0.01  # seconds until a packet that could not be sent is tried again
_CONNECTS: Final = 0.2  # seconds to connect to a gateway, however short the limits are
_STARTS: Final = 15.0  # seconds for an embedded gateway to start
_SPARE: Final = 1000  # timers of ended calls that are kept before they are removed

# A request that every daemon refuses at once; the answer has the daemon's name.
_PROBE: Final = {"seq": 0, "method": b"GET", "uri": b"x-probe:", "ext": {"quiet": True}}

_log = logging.getLogger("zurl_py.client")


class Hub:
    """Sockets to every gateway of a client, in a thread that ends with ``close``.

    Args:
        gateways: calls go round robin over those that are connected.
        format: of packets.
        tracer: called with every packet, in the hub's thread.
        clock: returns seconds.

    Attributes:
        pid: of the process that has its thread; after ``fork`` a child has only the object.
        sessions: whether every gateway has the streaming interface.
    """

    def __init__(
        self,
        gateways: Sequence[Gateway],
        format: Format = Format.TNETSTRING,
        tracer: Tracer | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.pid = os.getpid()
        self.clock = clock
        self.sessions = all(isinstance(one, Embedded) or one.streams for one in gateways)
        self._gateways = gateways
        self._format = format
        self._tracer = tracer
        self._address = b"zurl-py-%d-%b" % (self.pid, os.urandom(6).hex().encode())
        self._ids = itertools.count(1)
        self._commands: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._asleep = False
        self._closing = False
        self._ended = False
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._poller = zmq.Poller()
        self._readers: dict[object, Callable[[], None]] = {}
        self._links: list[Link] = []
        self._embedded: dict[Link, Embedded] = {}
        self._starting: dict[Link, float] = {}  # embedded gateways, and until when they may start
        self._turn = 0
        self._calls: dict[bytes, Call] = {}
        self._unplaced: dict[Call, float] = {}  # calls that wait for a gateway, and until when
        self._timers: list[tuple[float, int, bytes | Signal]] = []
        self._timer_numbers = itertools.count()
        self._retry_at = math.inf
        self._to_wake: dict[Runtime, list[Signal]] = {}
        self._thread = threading.Thread(target=self._run, name="zurl_py.client", daemon=True)
        self._thread.start()

    # -- for callers, in any thread --------------------------------------------------------------

    @property
    def inherited(self) -> bool:
        """Whether this is a copy in a child by ``fork``, which has no thread."""
        return self.pid != os.getpid()

    def check_process(self) -> None:
        """Refuse to wait in a child by ``fork``.

        Raises:
            ClientClosed: this process is one.
        """
        if self.inherited:
            raise errors.ClientClosed(
                "this belongs to the process that forked this one, which alone can use it"
            )

    def post(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call a function in the hub's thread, in order.

        Raises:
            ClientClosed: this is a child by ``fork``.
        """
        self.check_process()
        self._commands.append((function, arguments))
        if self._asleep:
            self._asleep = False
            self._wake_up()
        elif self._ended:  # there is no thread to answer the caller
            self._serve_commands()
            self._wake_waiters()

    def _wake_up(self) -> None:
        try:
            os.write(self._wake_write, b"w")
        except BlockingIOError:  # it will wake anyway
            pass

    def close(self) -> None:
        """End all calls and the thread, after ZeroMQ has sent its queues: a second at most."""
        if self.inherited or not self._thread.is_alive():
            return
        self.post(self._stop)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _stop(self) -> None:
        self._closing = True

    # -- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        context: zmq.Context[Socket] = zmq.Context()
        self._poller.register(self._wake_read, zmq.POLLIN)
        self._readers[self._wake_read] = self._drain_wakes
        try:
            self._open_links(context)
            while not self._closing:
                self._one_turn()
        except Exception as error:
            _log.exception("the client's thread failed")
            self._end_calls(errors.ClientClosed(f"the client failed: {error!r}"))
        finally:
            self._closing = True
            self._end_calls(errors.ClientClosed("the client is closed"))
            for link in self._links:
                link.close(_LINGER)
            context.term()
            self._ended = True
            self._serve_commands()  # of callers that do not know yet
            self._wake_waiters()
            os.close(self._wake_read)
            os.close(self._wake_write)

    def _open_links(self, context: zmq.Context[Socket]) -> None:
        for gateway in self._gateways:
            endpoints = gateway
            if isinstance(gateway, Embedded):
                endpoints = embedded.start(gateway, self._embedded_ended)
            assert isinstance(endpoints, Endpoints)
            link = Link(
                context,
                endpoints,
                self._address,
                self._watch,
                self._unwatch,
                self._received,
                self._link_changed,
            )
            self._links.append(link)
            if isinstance(gateway, Embedded):
                self._embedded[link] = gateway
                self._starting[link] = self.clock() + _STARTS
            link.open()

    def _watch(self, socket: Socket, read: Callable[[], None]) -> None:
        self._readers[socket] = read
        self._poller.register(socket, zmq.POLLIN)

    def _unwatch(self, socket: Socket) -> None:
        if self._readers.pop(socket, None) is not None:
            self._poller.unregister(socket)

    def _drain_wakes(self) -> None:
        try:
            os.read(self._wake_read, 4096)
        except BlockingIOError:
            pass

    def _one_turn(self) -> None:
        self._asleep = True
        wait = 0.0 if self._commands else self._until_next_timer()
        ready = self._poller.poll(None if wait == math.inf else math.ceil(wait * 1000))
        self._asleep = False
        readers = self._readers
        for source, _ in ready:
            read = readers.get(source)
            if read is not None:  # an earlier one may have closed this socket
                read()
        self._serve_commands()
        now = self.clock()
        if now >= self._retry_at:
            self._retry()
        if self._timers and now >= self._timers[0][0]:
            self._fire_timers(now)
        if self._unplaced:
            self._give_up_unplaced(now)
        self._wake_waiters()

    def _serve_commands(self) -> None:
        commands = self._commands
        for _ in range(len(commands)):
            try:
                function, arguments = commands.popleft()
            except IndexError:  # after the end several threads may do this
                return
            try:
                function(*arguments)
            except Exception:  # a bug in one call must not end the others
                _log.exception("a command could not be carried out")

    def _wake_waiters(self) -> None:
        if self._to_wake:
            waking, self._to_wake = self._to_wake, {}
            for runtime, signals in waking.items():
                runtime.wake(signals)

    def wake(self, signal: Signal) -> None:
        """Set a signal at the end of the turn; for the hub's thread only."""
        self._to_wake.setdefault(signal.runtime, []).append(signal)

    # -- calls -----------------------------------------------------------------------------------

    def start(self, call: Call) -> None:
        """Begin a call, at a gateway that is connected, or as soon as one is."""
        if self._closing:
            self._fail(call, errors.ClientClosed("the client is closed"))
            return
        link = self._choose()
        if link is not None:
            self._place(call, link)
            return
        now = self.clock()
        for link, gateway in self._embedded.items():
            if not link.there and embedded.restart(gateway):
                self._starting[link] = now + _STARTS
        timeout = call.request.timeout
        limits = [limit for limit in (timeout.connect, timeout.total) if limit is not None]
        patience = max(min(limits, default=math.inf), _CONNECTS)
        self._unplaced[call] = max([call.started + patience, *self._starting.values()])

    def _choose(self, other_than: Link | None = None) -> Link | None:
        """The next gateway, round robin, of those that are connected."""
        links = self._links
        for _ in links:
            self._turn = (self._turn + 1) % len(links)
            link = links[self._turn]
            if link.there and not link.stops and link is not other_than:
                return link
        return None

    def _place(self, call: Call, link: Link) -> None:
        call.link = link
        # A call that has to wait needs its session as well, for its deadlines.
        if not self._make_packet(call):
            return
        if link.outbox or not self._send_first(call, link):
            link.outbox.append(call)
            self._retry_soon()
        if call.id is not None and not call.over:
            self._calls[call.id] = call
            self._schedule(call)

    def _make_packet(self, call: Call) -> bool:
        if call.id is None and call.expects_answer:
            call.id = b"%d" % next(self._ids)
        if call.packet is None:
            try:
                call.packet = call.begin(self._sender(call), self.clock())
            except (TypeError, ValueError, OverflowError, RecursionError) as error:
                asked = f"{call.request.method} {call.request.shown_url!r}"
                detail = f"no packet can hold it: {error}"
                refused = errors.BadRequest(
                    f"{asked}: {detail}", condition="bad-request", detail=detail
                )
                self._fail(call, refused)
                return False
        return True

    def _send_first(self, call: Call, link: Link) -> bool:
        """Send a call's first packet; False if there is no room for it."""
        packet = call.packet
        assert packet is not None
        if not link.send_first(packet):
            return False
        call.sent = True
        call.packet = None
        self._trace(Direction.SENT, link, "in" if link.endpoints.streams else "req", packet)
        if not call.expects_answer:
            call.finish()
            self.wake(call.signal)
        return True

    def _sender(self, call: Call) -> Sender:
        address = self._address if call.expects_answer and self.sessions else None
        return Sender(self._format, address, call.id)

    def _fail(self, call: Call, error: errors.ZurlError) -> None:
        if error.request is None:
            error.request = call.request
        self._remove_call(call)
        failed = call.exchange.fail(error) if call.exchange is not None else None
        call.deliver(failed or Failed(error))
        self.wake(call.signal)

    def _remove_call(self, call: Call) -> None:
        self._unplaced.pop(call, None)
        if call.id is not None:
            self._calls.pop(call.id, None)
        if not call.sent and call.link is not None and call in call.link.outbox:
            call.link.outbox.remove(call)

    def cancel(self, call: Call) -> None:
        """Cancel a call, also at the daemon."""
        exchange = call.exchange
        if exchange is not None and not exchange.over:
            exchange.cancel(self.clock())
            if call.sent:
                self._send_cancel(call)
        self._remove_call(call)

    def _send_cancel(self, call: Call) -> None:
        """Send ``cancel`` to the daemon that has the call, by its name.

        The name is known from the daemon's first packet in this or any earlier session. For a
        WebSocket there is none before its handshake is over: then a probe asks for the name.
        """
        exchange, link = call.exchange, call.link
        assert exchange is not None
        assert link is not None
        if exchange.peer is None and link.peer is not None:
            exchange.meet(link.peer)
        if exchange.peer is not None:
            self.send_later(call)
        elif call.id is not None and self.sessions:
            link.orphans.append(call.id)
            probe = Envelope(self._format, self._address, b"%d" % next(self._ids))
            link.send_first(probe.encode(_PROBE))

    def send_later(self, call: Call) -> None:
        """Send the later packets of a call's exchange."""
        exchange = call.exchange
        if exchange is None or call.link is None:
            return
        for packet in exchange.packets_to_send():
            assert exchange.peer is not None
            self._trace(Direction.SENT, call.link, "in_stream", packet)
            call.link.send_later(exchange.peer, packet)
            if call.link.waits:
                self._retry_soon()

    def _end_calls(self, error: errors.ZurlError) -> None:
        queued = [call for link in self._links for call in link.outbox if isinstance(call, Call)]
        for call in {*self._calls.values(), *self._unplaced, *queued}:
            exchange = call.exchange
            if exchange is not None and call.sent and not exchange.over:
                exchange.cancel(self.clock())
                self._send_cancel(call)
            self._fail(call, type(error)(str(error)))
        self._wake_waiters()

    # -- packets ---------------------------------------------------------------------------------

    def _received(self, link: Link, message: bytes) -> None:
        socket = "out" if link.endpoints.streams else "req"
        self._trace(Direction.RECEIVED, link, socket, message)
        try:
            answer = ResponsePacket.parse(message)
        except PacketError as error:
            _log.warning("%s: dropped a message: %s", link.endpoints, error)
            return
        if answer.sender and answer.sender != link.peer:
            link.peer = answer.sender
            orphans, link.orphans = link.orphans, []
            for id in orphans:
                self._cancel_id(link, answer.sender, id)
        call = self._calls.get(answer.id) if answer.id is not None else None
        if call is None or call.exchange is None:
            self._cancel_unknown(link, answer)
            return
        exchange = call.exchange
        first = not exchange.heard
        events = exchange.receive(answer, self.clock())
        if events and isinstance(events[-1], Failed) and self._goes_on(call, link, events[-1]):
            return
        self._deliver(call, events)
        if first and not exchange.over:
            self._schedule(call)
        self.send_later(call)

    def _goes_on(self, call: Call, link: Link, failed: Failed) -> bool:
        """Whether a request that a gateway ends, or refuses, for its own reasons is sent again."""
        stops = failed.error.error == "stopping"
        link.stops = link.stops or stops
        if failed.begun:
            return stops and self._repeat(call, link)
        if stops:
            self._remove_call(call)
            call.repeat(begun=False)
            self.start(call)  # at another one, or at this one's successor
            return True
        return not call.repeated and self._repeat(call, link, harmless=True)

    def _deliver(self, call: Call, events: Sequence[Event]) -> None:
        wake = False
        for event in events:
            wake = call.deliver(event) or wake
        if call.over:
            self._remove_call(call)
        if wake:
            self.wake(call.signal)

    def _cancel_unknown(self, link: Link, answer: ResponsePacket) -> None:
        """Cancel a session whose call was cancelled before its daemon's name was known."""
        if answer.sender and answer.id and not answer.final:
            self._cancel_id(link, answer.sender, answer.id)

    def _cancel_id(self, link: Link, peer: bytes, id: bytes) -> None:
        packet = Envelope(self._format, self._address, id).encode({"type": b"cancel"})
        self._trace(Direction.SENT, link, "in_stream", packet)
        link.send_later(peer, packet)

    def _trace(self, direction: Direction, link: Link, socket: str, packet: bytes) -> None:
        if self._tracer is None:
            return
        try:
            self._tracer(PacketTrace(direction, socket, str(link.endpoints), packet))
        except Exception:
            _log.exception("on_packet failed; it is not called again")
            self._tracer = None

    # -- gateways come and go --------------------------------------------------------------------

    def _link_changed(self, link: Link) -> None:
        if link.there:
            self._starting.pop(link, None)
            waiting, self._unplaced = self._unplaced, {}
            for call in waiting:
                self.start(call)
        else:
            self._link_lost(link)

    def _link_lost(self, link: Link) -> None:
        waiting = [call for call in link.outbox if isinstance(call, Call)]
        link.outbox.clear()
        lost = [call for call in self._calls.values() if call.link is link and call.sent]
        for call in waiting:  # no packet of these was sent
            self._remove_call(call)
            self.start(call)
        for call in lost:
            self._call_lost(call, link)

    def _repeat(self, call: Call, lost: Link, harmless: bool = False) -> bool:
        """Ask another gateway, if one is there and that does no harm."""
        other = self._choose(lost) if harmless or call.may_be_repeated else None
        if other is None:
            return False
        self._remove_call(call)
        call.repeat()
        self._place(call, other)
        return True

    def _call_lost(self, call: Call, link: Link) -> None:
        if self._repeat(call, link):
            return
        asked = f"{call.request.method} {call.request.shown_url}"
        text = f"{asked}: the gateway at {link.endpoints} went away"
        self._fail(call, errors.GatewayLost(text, error="gateway-lost"))

    def _give_up_unplaced(self, now: float) -> None:
        for call, until in list(self._unplaced.items()):
            if now >= until:
                reasons = "; ".join(self._why_not(link) for link in self._links)
                waited = now - call.started
                text = f"no gateway within {waited:.1f} seconds: {reasons}"
                self._fail(call, errors.GatewayUnavailable(text, error="no-gateway"))

    def _why_not(self, link: Link) -> str:
        gateway = self._embedded.get(link)
        return (gateway and embedded.why_not(gateway)) or link.why_not()

    def _embedded_ended(self) -> None:
        """An embedded gateway has ended, or could not start; called in another thread."""
        if not self._closing:
            self.post(self._give_up_embedded)

    def _give_up_embedded(self) -> None:
        """Fail the calls that wait for embedded gateways that do not start."""
        for link, gateway in self._embedded.items():
            if not link.there and embedded.why_not(gateway):
                self._starting.pop(link, None)
        if len(self._embedded) == len(self._links) and not self._starting:
            self._unplaced = dict.fromkeys(self._unplaced, -math.inf)

    # -- time ------------------------------------------------------------------------------------

    def _until_next_timer(self) -> float:
        """Seconds until the next timer."""
        when = min(self._retry_at, self._timers[0][0] if self._timers else math.inf)
        if self._unplaced:
            when = min(when, *self._unplaced.values())
        return math.inf if when == math.inf else max(0.0, when - self.clock())

    def _schedule(self, call: Call) -> None:
        assert call.exchange is not None
        assert call.id is not None
        when = call.exchange.deadline(self.clock())
        heapq.heappush(self._timers, (when, next(self._timer_numbers), call.id))
        # Most calls end long before their timers.
        if len(self._timers) > 2 * len(self._calls) + _SPARE:
            self._timers = [
                timer
                for timer in self._timers
                if not isinstance(timer[2], bytes) or timer[2] in self._calls
            ]
            heapq.heapify(self._timers)

    def wake_at(self, when: float, signal: Signal) -> None:
        """Set a signal at a time of the hub's clock."""
        heapq.heappush(self._timers, (when, next(self._timer_numbers), signal))

    def _fire_timers(self, now: float) -> None:
        while self._timers and self._timers[0][0] <= now:
            due = heapq.heappop(self._timers)[2]
            if not isinstance(due, bytes):
                self.wake(due)
                continue
            call = self._calls.get(due)
            if call is None or call.exchange is None:
                continue
            events = call.exchange.expire(now)
            if call.sent:
                self.send_later(call)
            self._deliver(call, events)
            if not call.over:
                self._schedule(call)

    def _retry_soon(self) -> None:
        self._retry_at = min(self._retry_at, self.clock() + _RETRY)

    def _retry(self) -> None:
        """Try again to send packets for which there was no room."""
        self._retry_at = math.inf
        for link in self._links:
            while link.outbox and link.there and link.has_room():
                call = link.outbox.popleft()
                assert isinstance(call, Call)
                if not call.over and not self._send_first(call, link):
                    link.outbox.appendleft(call)
                    break
            link.retry_later()
            if link.waits:
                self._retry_soon()
