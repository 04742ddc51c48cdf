"""One side of a ZHTTP session, without I/O: what may be sent, in which order, and until when.

An `Endpoint` is either the worker's or the gateway's side, like h11's ``our_role``. Each side has a
state, and the tables below hold every transition. `receive` takes a packet of the other side,
`send` numbers, counts and encodes one of ours, and `deadline` says when to look at the clock again.
What a packet means for HTTP or for a WebSocket is decided by the owner of the endpoint.

The rules are those of RFC 33 of ZeroMQ and of Zurl's wire format: each side numbers its packets
from 0; a packet out of sequence ends the session with ``cancel``; data needs credits; each side
sends a packet at least every 60 seconds.
"""

from __future__ import annotations

import enum
import math
from typing import Any, Final

from ..errors import Error
from .conditions import Condition
from .envelope import Envelope
from .packet import Packet
from .request import RequestPacket

__all__ = [
    "KEEP_ALIVE_INTERVAL",
    "SESSION_EXPIRY",
    "TRANSITIONS",
    "Endpoint",
    "LocalProtocolError",
    "PeerProtocolError",
    "Protocol",
    "Role",
    "State",
]

KEEP_ALIVE_INTERVAL: Final = 30.0  # seconds between keep-alives, also while data is sent
SESSION_EXPIRY: Final = 60.0  # seconds without a valid packet until the session is given up


class Role(enum.Enum):
    """Which side of a session an endpoint is."""

    WORKER = "worker"  # sends the request
    GATEWAY = "gateway"  # sends the response

    @property
    def other(self) -> Role:
        """The role of the other side."""
        return Role.GATEWAY if self is Role.WORKER else Role.WORKER


class Protocol(enum.Enum):
    """What a session carries."""

    HTTP = "http"
    WEBSOCKET = "websocket"


class State(enum.IntEnum):  # not Enum, whose __hash__ is a Python function, and slow
    """What one side may still send."""

    IDLE = 0  # no data so far; a gateway may have sent credits or keep-alives
    SENDING = 1  # data was sent, and more is to come
    DONE = 2  # all data was sent; credits and keep-alives may follow
    CLOSED = 3  # the session is over for both sides


IDLE, SENDING, DONE, CLOSED = State.IDLE, State.SENDING, State.DONE, State.CLOSED

# The tables go by signals. A signal is a packet's type; for data, which has no type, it is one of
# these two.
MORE: Final = b"data, more follows"
LAST: Final = b"data, the last"

_COUNTED: Final = (b"credit", b"keep-alive", b"handoff-start", b"handoff-proceed")
# In HTTP sessions Zurl counts packets of these types and otherwise ignores them.
_IGNORED: Final = (*_COUNTED, b"error", b"ping", b"pong", b"close")
_FRAMES: Final = (MORE, LAST, b"ping", b"pong")

_Table = dict[State, dict[bytes, State]]


def _to(state: State, *signals: bytes) -> dict[bytes, State]:
    return dict.fromkeys(signals, state)


# By protocol and role: for each state of that side, the state after each signal that it may send.
TRANSITIONS: Final[dict[tuple[Protocol, Role], _Table]] = {
    (Protocol.HTTP, Role.WORKER): {
        IDLE: {MORE: SENDING, LAST: DONE},
        SENDING: {MORE: SENDING, LAST: DONE, **_to(SENDING, *_IGNORED), b"cancel": CLOSED},
        DONE: {**_to(DONE, *_IGNORED), b"cancel": CLOSED},
        CLOSED: {},
    },
    (Protocol.HTTP, Role.GATEWAY): {
        IDLE: {
            MORE: SENDING,
            **_to(IDLE, *_COUNTED),
            **_to(CLOSED, LAST, b"error", b"cancel"),
        },
        SENDING: {
            MORE: SENDING,
            **_to(SENDING, *_COUNTED),
            **_to(CLOSED, LAST, b"error", b"cancel"),
        },
        CLOSED: {},
    },
    # A WebSocket session is over when both sides have sent their close.
    (Protocol.WEBSOCKET, Role.WORKER): {
        IDLE: _to(SENDING, MORE, LAST),
        SENDING: {
            **_to(SENDING, *_FRAMES, *_COUNTED, b"error"),
            b"close": DONE,
            b"cancel": CLOSED,
        },
        DONE: {**_to(DONE, *_COUNTED, b"error"), b"cancel": CLOSED},
        CLOSED: {},
    },
    (Protocol.WEBSOCKET, Role.GATEWAY): {
        IDLE: {
            **_to(SENDING, MORE, LAST),
            **_to(IDLE, *_COUNTED),
            **_to(CLOSED, b"error", b"cancel"),
        },
        SENDING: {
            **_to(SENDING, *_FRAMES, *_COUNTED),
            b"close": DONE,
            **_to(CLOSED, b"error", b"cancel"),
        },
        DONE: {**_to(DONE, *_COUNTED), **_to(CLOSED, b"error", b"cancel")},
        CLOSED: {},
    },
}


class LocalProtocolError(Error):
    """This side was about to break the protocol: a bug in the code that owns the endpoint."""


class PeerProtocolError(Error):
    """The other side broke the protocol, and the session has to end.

    Attributes:
        reason: which rule was broken, for a log line and the answer.
        condition: of the error packet to answer with; None: answer with ``cancel``.
    """

    def __init__(self, reason: str, condition: bytes | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.condition = condition


# Signals that cost credits. A gateway's pings and pongs do, as its data does; a worker's do not.
_COSTS: Final = {
    Role.WORKER: frozenset((MORE, LAST)),
    Role.GATEWAY: frozenset((MORE, LAST, b"ping", b"pong")),
}


class _Rules:
    """The rules for one side of one protocol; looked up once in a session."""

    __slots__ = ("our_costs", "ours", "protocol", "role", "their_costs", "theirs")

    def __init__(self, protocol: Protocol, role: Role) -> None:
        self.protocol = protocol
        self.role = role
        self.ours = TRANSITIONS[protocol, role]
        self.theirs = TRANSITIONS[protocol, role.other]
        self.our_costs = _COSTS[role]
        self.their_costs = _COSTS[role.other]


_RULES: Final = {(protocol, role): _Rules(protocol, role) for protocol, role in TRANSITIONS}
_GATEWAY_HTTP: Final = _RULES[Protocol.HTTP, Role.GATEWAY]
_GATEWAY_WEBSOCKET: Final = _RULES[Protocol.WEBSOCKET, Role.GATEWAY]


class Endpoint:
    """One side of one session.

    Attributes:
        ours: state of this side.
        theirs: state of the other side.
        peer: the address of the other side; a worker learns it from the first answer.
        credits: bytes of data that this side may send.
        window: bytes of data that the other side may send.
        multi: the other side understands lists of ids.
        keep_alive_at: time when a keep-alive is to be sent; seconds.
        expires_at: time when the session expires unless a packet comes before; seconds.
    """

    __slots__ = (
        "_envelope",
        "_in_seq",
        "_numbered",
        "_out_seq",
        "_rules",
        "credits",
        "expires_at",
        "keep_alive_at",
        "multi",
        "ours",
        "peer",
        "theirs",
        "window",
    )

    def __init__(self, rules: _Rules, envelope: Envelope) -> None:
        self._rules = rules
        self._envelope = envelope
        self._numbered = True
        self._in_seq = -1
        self._out_seq = 0
        self.expires_at = self.keep_alive_at = math.inf
        self.ours = self.theirs = IDLE
        self.peer: bytes | None = None
        self.credits = 0
        self.window = 0
        self.multi = False

    @classmethod
    def open(
        cls, request: RequestPacket, now: float, timeout: float = math.inf
    ) -> tuple[Endpoint, bytes]:
        """The worker's side of a new session, and the first packet to be sent.

        Args:
            timeout: seconds to wait for the first answer. There is no natural limit, as the
                request may have to wait in the gateway's admission.
        """
        # Later packets have no user data: the gateway keeps the first packet's.
        envelope = Envelope(request.format, request.sender, request.id)
        protocol = Protocol.WEBSOCKET if request.is_websocket else Protocol.HTTP
        endpoint = cls(_RULES[protocol, Role.WORKER], envelope)
        endpoint.expires_at = now + timeout
        fields = request.fields()
        if request.has_user_data:
            fields["user-data"] = request.user_data
        return endpoint, endpoint.send(fields, now)

    @classmethod
    def accept(cls, packet: RequestPacket, sender: bytes | None, now: float) -> Endpoint:
        """The gateway's side of the session that a first packet begins.

        Args:
            sender: the gateway's own address, the ``from`` of its packets; None leaves it out.
        """
        id = packet.id or None
        address = packet.sender if sender is not None else None
        envelope = Envelope(packet.format, sender, id, packet.user_data, address)
        rules = _GATEWAY_WEBSOCKET if packet.is_websocket else _GATEWAY_HTTP
        endpoint = cls.__new__(cls)  # without __init__: nearly all of its values differ here
        endpoint._rules = rules
        endpoint._envelope = envelope
        endpoint._numbered = id is not None
        endpoint._out_seq = 0
        endpoint.ours = IDLE
        # Its seq may be any number, and its type is ignored, as with Zurl.
        endpoint._in_seq = packet.seq or 0
        endpoint.expires_at = now + SESSION_EXPIRY
        endpoint.keep_alive_at = now + KEEP_ALIVE_INTERVAL
        endpoint.theirs = rules.theirs[IDLE][MORE if packet.more else LAST]
        endpoint.peer = packet.sender
        endpoint.credits = packet.credits or 0
        endpoint.window = -len(packet.body)
        endpoint.multi = packet.multi and sender is not None
        return endpoint

    @property
    def role(self) -> Role:
        """Which side of the session this is."""
        return self._rules.role

    def move_to(self, address: bytes) -> None:
        """Let another worker have the session from now on (a handoff of RFC 33)."""
        self.peer = address
        self._envelope = self._envelope.to(address)

    @property
    def closed(self) -> bool:
        """The session is over: no packet may be sent, and those that come are ignored."""
        return self.ours is CLOSED

    def __repr__(self) -> str:
        return (
            f"<Endpoint {self.role.value} {self._rules.protocol.value} ours={self.ours.name}"
            f" theirs={self.theirs.name} sent={self._out_seq} received={self._in_seq + 1}"
            f" credits={self.credits} window={self.window}>"
        )

    # -- packets -------------------------------------------------------------------------------

    def send(self, fields: dict[str, Any], now: float) -> bytes:
        """Encode a packet with its sequence number; update credits, states and deadlines.

        Args:
            fields: as for `Envelope.encode`, with ``more`` only where it is true; ``seq`` is
                added here.
            now: seconds.

        Raises:
            LocalProtocolError: this packet may not be sent now.
        """
        rules = self._rules
        signal = fields.get("type", MORE if "more" in fields else LAST)
        try:
            after = rules.ours[self.ours][signal]
        except KeyError:
            raise LocalProtocolError(f"{signal!r} may not be sent: {self!r}") from None
        seq = self._out_seq
        if self._numbered:
            fields["seq"] = seq
        if not seq and self.multi and signal != b"error":
            fields["ext"] = {**fields.get("ext", {}), "multi": True}
        message = self._envelope.encode(fields)
        self._out_seq = seq + 1
        if signal in rules.our_costs:
            if "body" in fields:
                self.credits -= len(fields["body"])
        elif signal == b"keep-alive":
            self.keep_alive_at = now + KEEP_ALIVE_INTERVAL
        if "credits" in fields:
            self.window += fields["credits"]
        if after is CLOSED:
            self.ours = self.theirs = CLOSED
        elif after is not self.ours:
            self._move(after, self.theirs)
        return message

    def receive(self, packet: Packet, seq: int | None, now: float) -> None:
        """Check a packet of the other side; update credits, states and deadlines.

        Args:
            seq: its sequence number in this session; a packet for several sessions has one for
                each.
            now: seconds.

        Raises:
            PeerProtocolError: the session has to end; it is for the caller to send the answer.
        """
        if self.ours is CLOSED:
            return
        signal = packet.type
        if self.peer is None:
            self._learn_peer(packet, now)
        rules = self._rules
        if signal == b"cancel" or (
            seq is None and signal == b"error" and rules.role is Role.WORKER
        ):
            # These two need no number: the other side may not know the session (any more).
            self.close()
            return
        if seq != self._in_seq + 1:
            raise PeerProtocolError(f"out of sequence: {seq} after {self._in_seq}")
        if signal is None:
            signal = MORE if packet.more else LAST
        after = rules.theirs[self.theirs].get(signal)
        if after is None:
            raise self._unexpected(signal)
        self._in_seq = seq
        self.expires_at = now + SESSION_EXPIRY
        if packet.credits:
            self.credits += packet.credits
        if signal in rules.their_costs:
            self.window -= len(packet.body)
        if after is not self.theirs:
            self._move(self.ours, after)

    def expects(self, seq: int | None) -> bool:
        """Whether this is the number of the next packet of the other side."""
        return seq == self._in_seq + 1

    def _learn_peer(self, packet: Packet, now: float) -> None:
        """Note the address that the gateway gives in its first packet."""
        self.peer = packet.sender
        self.multi = packet.multi
        self.expires_at = now + SESSION_EXPIRY
        self.keep_alive_at = now + KEEP_ALIVE_INTERVAL

    def _unexpected(self, signal: bytes) -> PeerProtocolError:
        kind = "data" if signal in (MORE, LAST) else signal.decode()
        end = "close" if self._rules.protocol is Protocol.WEBSOCKET else "end of the body"
        if self.role is Role.GATEWAY:
            return PeerProtocolError(f"{kind} after the {end}", Condition.BAD_REQUEST)
        return PeerProtocolError(f"{kind} where the gateway is {self.theirs.name}")

    def _move(self, ours: State, theirs: State) -> None:
        # A gateway's side is DONE in a WebSocket only: with HTTP its last data closes the session.
        over = CLOSED in (ours, theirs) or ours is theirs is DONE
        self.ours, self.theirs = (CLOSED, CLOSED) if over else (ours, theirs)

    def close(self) -> None:
        """End the session without a packet."""
        self.ours = self.theirs = CLOSED

    # -- time ----------------------------------------------------------------------------------

    @property
    def deadline(self) -> float:
        """Time when to call `expired` and `keep_alive_due` again; infinite if there is no need."""
        if self.ours is CLOSED:
            return math.inf
        return min(self.keep_alive_at, self.expires_at)

    def expired(self, now: float) -> bool:
        """Whether no packet has come for too long: the session is to be closed."""
        return now >= self.expires_at

    def keep_alive_due(self, now: float) -> bool:
        """Whether a keep-alive is to be sent."""
        return now >= self.keep_alive_at and self.ours is not CLOSED
