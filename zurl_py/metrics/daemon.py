"""The daemon's metrics. docs/metrics.md says what each of them means."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from .families import Counter, Exemplar, Family, Gauge, Histogram, Info, Observed, Read

__all__ = [
    "CLOSE_CODES",
    "HTTP_VERSIONS",
    "INTERFACES",
    "OUTCOMES",
    "PHASES",
    "SCHEMES",
    "Metrics",
    "outcome_of",
]

# Values of labels.
INTERFACES: Final = ("request", "stream", "push")  # in_req_spec; in_spec with and without an id
SCHEMES: Final = ("http", "https", "ws", "wss")
CONDITIONS: Final = (
    "bad-request",
    "policy-violation",
    "remote-connection-failed",
    "connection-timeout",
    "tls-error",
    "content-not-allowed",
    "too-many-redirects",
    "max-size-exceeded",
    "session-timeout",
    "rejected",
    "frame-too-large",
    "undefined-condition",
)
# 1xx: opened WebSockets, whose code is 101. The last two: sessions that the worker ended.
OUTCOMES: Final = ("1xx", "2xx", "3xx", "4xx", "5xx", *CONDITIONS, "cancelled", "expired")
HTTP_VERSIONS: Final = ("1.0", "1.1", "2", "3")  # of answers
PHASES: Final = ("resolve", "connect", "tls", "first_byte", "transfer")  # of a transfer

_DROPS = (
    "malformed",
    "not-allowed",
    "duplicate-id",
    "no-session",
    "turned-away",
    "worker-slow",
    "nobody-there",
)
_OPCODES = ("text", "binary", "continuation", "close", "ping", "pong")
# From the IANA registry "WebSocket Close Code Number" (RFC 6455 section 7.4).
CLOSE_CODES: Final = (
    *(str(code) for code in range(1000, 1016)),
    "3000",
    "3003",
    "3008",
    "other",
)

# Seconds: from an answer of this machine to one after the usual timeouts.
_REQUEST_BOUNDS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
)
# Seconds. A turn with one message takes some hundred microseconds; it should not exceed 20 ms.
_TURN_BOUNDS = (
    *(0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005),
    *(0.01, 0.02, 0.05, 0.1, 0.25, 1.0),
)
_FOLD_EVERY = 256  # turns between two calls of ``fold``

_CLASSES: Final = {hundreds: f"{hundreds}xx" for hundreds in range(1, 6)}
_OUTCOME_NUMBER: Final = {outcome: number for number, outcome in enumerate(OUTCOMES)}
_VERSION_NUMBER: Final = {version: number for number, version in enumerate(HTTP_VERSIONS)}
_SCHEMES, _PER_SCHEME = len(SCHEMES), len(OUTCOMES)


def outcome_of(code: int | None, condition: str) -> str:
    """The label for an outcome: the class of a status code, or the condition."""
    if code is None:
        return condition if condition in _OUTCOME_NUMBER else "undefined-condition"
    # Codes outside the classes count as 5xx (RFC 9110 section 15).
    return _CLASSES.get(code // 100, "5xx")


class Metrics:
    """All metrics of the daemon.

    Attributes:
        on: metrics can be read (``metrics_listen``); if not, costly ones are not counted.
        requests: finished requests, by interface, scheme and outcome.
        responses: answers, by HTTP version.
        open: number of open sessions, by interface, in the order of ``INTERFACES``.
        turns, lags: seconds of turns of the loop, and seconds by which timers were late; see
            ``observe_turn`` and ``observe_lag``.
    """

    def __init__(self, on: bool = True) -> None:
        self.on = on
        self.open = [0, 0, 0]
        self._count_requests()
        self._count_transport()
        self._count_packets()
        self._count_websockets()
        self._measure_loop()
        self._families: list[Family] = [
            family for family in vars(self).values() if isinstance(family, Family)
        ]
        self.gauge(
            "zurl_sessions_open",
            "Sessions that have no final answer yet.",
            lambda: self.open,
            interface=INTERFACES,
        )

    def _count_requests(self) -> None:
        self.requests = Counter(
            "zurl_requests",
            "Requests that ended, by the interface they came by, scheme and outcome.",
            interface=INTERFACES,
            scheme=SCHEMES,
            outcome=OUTCOMES,
        )
        self.responses = Counter(
            "zurl_responses",
            "Answers of origins whose head the worker got, by the version of HTTP.",
            version=HTTP_VERSIONS,
        )
        self.durations = Histogram(
            "zurl_request_duration_seconds",
            "Time from a request's first packet to its final answer.",
            _REQUEST_BOUNDS,
        )
        self.phases = Histogram(
            "zurl_request_phase_seconds",
            "Time of each phase of a transfer; a kept connection has no phases before the request.",
            _REQUEST_BOUNDS,
            phase=PHASES,
        )

    def _measure_loop(self) -> None:
        self.turns = Histogram(
            "zurl_loop_turn_seconds", "Time that a turn of the event loop took.", _TURN_BOUNDS
        )
        self.lags = Histogram(
            "zurl_loop_lag_seconds",
            "Time by which timers fired late, as other work came first.",
            _TURN_BOUNDS,
        )

    def _count_transport(self) -> None:
        self.uploaded = Counter("zurl_upload_bytes", "Bytes of request bodies sent to origins.")
        self.downloaded = Counter("zurl_download_bytes", "Bytes of bodies received from origins.")
        self.connections_opened = Counter(
            "zurl_connections_opened", "Connections to origins or proxies that were opened."
        )
        self.connections_reused = Counter(
            "zurl_connections_reused", "Transfers that went over a kept connection."
        )
        self.lookups = Counter(
            "zurl_lookups",
            "Look-ups of host names, by outcome.",
            outcome=("resolved", "failed"),
        )

    def _count_packets(self) -> None:
        self.packets_dropped = Counter(
            "zurl_packets_dropped",
            "Messages from or for workers that were dropped or refused, by socket and reason.",
            socket=("in_spec", "in_stream_spec", "in_req_spec", "out_spec"),
            reason=_DROPS,
        )

    def _count_websockets(self) -> None:
        self.frames = Counter(
            "zurl_websocket_frames",
            "WebSocket frames from origins (in) and to them (out), by opcode.",
            direction=("in", "out"),
            opcode=_OPCODES,
        )
        self.closes = Counter(
            "zurl_websocket_closes",
            "WebSockets that ended, by close code (RFC 6455 section 7.4).",
            code=CLOSE_CODES,
        )

    # -- families whose values other objects have ------------------------------------------------

    def add(self, family: Family) -> None:
        """Add a family."""
        self._families.append(family)

    def gauge(self, name: str, help: str, read: Read, **labels: Sequence[str]) -> None:
        """Add gauges; ``read`` returns their values when the metrics are read."""
        self._families.append(Gauge(name, help, read, **labels))

    def observed(self, name: str, help: str, read: Read, **labels: Sequence[str]) -> None:
        """Add counters whose values ``read`` returns; the name is without ``_total``."""
        self._families.append(Observed(name, help, read, **labels))

    def info(self, name: str, help: str, **labels: str) -> None:
        """Add constant labels."""
        self._families.append(Info(name, help, **labels))

    def families(self) -> Iterator[Family]:
        """All families."""
        return iter(self._families)

    # -- the hot path --------------------------------------------------------------------------

    def ended(
        self, interface: int, scheme: int, outcome: str, seconds: float, http_version: str = ""
    ) -> None:
        """Count a session that has ended.

        Args:
            interface, scheme: indexes in ``INTERFACES`` and ``SCHEMES``.
            outcome: one of ``OUTCOMES``.
            seconds: since its first packet.
            http_version: of the origin's answer, if its worker got it.
        """
        self.open[interface] -= 1
        index = (interface * _SCHEMES + scheme) * _PER_SCHEME + _OUTCOME_NUMBER[outcome]
        self.requests.values[index] += 1
        if self.on:  # else `observe_turn` is not called, which empties the list
            self.durations.pending[0].append(seconds)
        if http_version:
            self.responses.values[_VERSION_NUMBER[http_version]] += 1

    def example(self, seconds: float, trace_id: str, time: float) -> None:
        """Keep a request's trace id as the exemplar of its duration, for OpenMetrics."""
        self.durations.remark(Exemplar(trace_id, seconds, time))

    def observe_turn(self, seconds: float) -> None:
        """Count a turn of the loop, with the seconds since it woke."""
        pending = self.turns.pending[0]
        pending.append(seconds)
        if len(pending) >= _FOLD_EVERY:
            # For all of them here: the number of requests in a turn is bounded.
            for histogram in (self.turns, self.lags, self.durations, self.phases):
                histogram.fold()

    def observe_lag(self, seconds: float) -> None:
        """Count a check of the timers that came late by so many seconds."""
        self.lags.pending[0].append(seconds)
