"""The daemon's reports: values for ``/metrics``, figures and lists for ``/status``.

Nothing here is on the hot path: values are read from the other parts when a client asks.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice, product
from typing import Final

import pycurl
import zmq

from . import __version__
from .egress import Egress, Meter
from .gateway import Gateway
from .journal import Account, Journal
from .log import Log
from .loop import Loop
from .messaging.frontend import Frontend
from .metrics import HTTP_VERSIONS, INTERFACES, OUTCOMES, Metrics
from .metrics.process import ProcessFigures, process_families, read_process
from .policy import Policy
from .sessions import Session, WebSocketSession
from .status import HostTable, Monitors

__all__ = ["Parts", "Reporting"]

_SHOWN = 10  # entries of each list
_OLDEST = 20
_SAMPLED = 2000  # sessions whose stage is counted; of more, every second, third and so on
_MAX_WORKER = 200  # characters of a worker's address

_SOCKETS_IN = ("in_spec", "in_stream_spec", "in_req_spec")
_SOCKETS_OUT = ("out_spec", "in_req_spec")
_DECISIONS: Final = ("allowed", "refused")
_REFUSALS: Final = (
    "deny",
    "deny-always",
    "defpolicy",
    "allow-ports",
    "require-tls",
    "privilege",
    "address",
)
_RULES: Final = ("default", "allow", *_REFUSALS)


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of the daemon that are reported on.

    Attributes:
        endpoints: of the daemon, by the key of the configuration.
    """

    config_path: str
    endpoints: Mapping[str, Sequence[str]]
    instance_id: bytes
    loop: Loop
    log: Log
    journal: Journal
    policy: Policy
    gateway: Gateway
    egress: Egress
    frontend: Frontend
    monitors: Monitors


@dataclass(frozen=True, slots=True)
class _Survey:
    """Sums over all open sessions.

    Attributes:
        at: time when they were made, on the loop's clock.
        withheld: bytes of workers for which they got no new credits.
        held: bytes of bodies.
        websockets: number of open WebSockets.
    """

    at: float
    withheld: int
    held: int
    websockets: int


class Reporting:
    """Reads values from the daemon's parts.

    Args:
        state: returns ``running`` or ``draining``.
    """

    def __init__(self, parts: Parts, state: Callable[[], str]) -> None:
        self._parts = parts
        self._state = state
        self._started = time.time()
        self._hosts = HostTable()
        self._surveyed = _Survey(-1.0, 0, 0, 0)
        self._process = (-1.0, read_process())
        parts.journal.watchers.append(self._ended)
        parts.egress.measure(Meter(parts.journal.metrics))
        self._add_families(parts.journal.metrics)

    def _ended(self, account: Account) -> None:
        if account.host:
            error = account.error
            if not error and account.outcome == "5xx":
                error = str(account.code)
            self._hosts.ended(account.host, account.seconds, error)

    # -- /metrics ------------------------------------------------------------------------------

    def _add_families(self, metrics: Metrics) -> None:
        """Add the metrics whose values the parts have."""
        self._add_sockets(metrics)
        self._add_policy(metrics)
        self._add_egress(metrics)
        self._add_sessions(metrics)
        log = self._parts.log
        metrics.observed("zurl_log_lines_dropped", "Log lines that were lost.", lambda: log.dropped)
        metrics.info(
            "zurl_build",
            "Versions of this daemon and of the libraries that it uses.",
            version=__version__,
            libcurl=pycurl.version_info()[1],
            libzmq=zmq.zmq_version(),
            python=platform.python_version(),
        )
        self._add_process(metrics)

    def _add_egress(self, metrics: Metrics) -> None:
        egress = self._parts.egress
        metrics.gauge("zurl_transfers_open", "Transfers that libcurl has.", lambda: len(egress))
        metrics.gauge(
            "zurl_connections_idle",
            "Connections to origins that are kept and not in use.",
            lambda: egress.idle_connections,
        )
        metrics.gauge(
            "zurl_dns_cache_entries",
            "Results of look-ups in the cache, failed ones included.",
            lambda: egress.known_names,
        )

    def _add_sessions(self, metrics: Metrics) -> None:
        metrics.gauge(
            "zurl_credits_withheld",
            "Bytes of bodies from workers without new credits, as origins have not read them.",
            lambda: self._survey().withheld,
        )
        metrics.gauge(
            "zurl_websockets_open",
            "Open WebSockets, after their handshake.",
            lambda: self._survey().websockets,
        )

    def _add_sockets(self, metrics: Metrics) -> None:
        frontend = self._parts.frontend
        metrics.observed(
            "zurl_packets_in",
            "Messages read from workers, by socket.",
            lambda: frontend.read_counts,
            socket=_SOCKETS_IN,
        )
        metrics.observed(
            "zurl_packets_out",
            "Messages sent to workers, by socket.",
            lambda: frontend.sent_counts,
            socket=_SOCKETS_OUT,
        )
        for socket in _SOCKETS_OUT:
            for number, reason in enumerate(("worker-slow", "nobody-there")):
                read = partial(_loss, frontend, socket, number)
                metrics.packets_dropped.keeps(socket, reason, read=read)
        metrics.observed(
            "zurl_answers_given_up",
            "Messages to workers that were dropped, as these took none for too long.",
            lambda: frontend.dropped,
        )
        metrics.gauge(
            "zurl_workers_waiting",
            "Workers for whom messages wait, as they read slowly or are not there yet.",
            lambda: len(frontend.backlog()),
        )
        metrics.gauge(
            "zurl_waiting_bytes",
            "Bytes of the messages that wait for workers.",
            lambda: sum(size for _, _, size in frontend.backlog()),
        )

    def _add_policy(self, metrics: Metrics) -> None:
        policy = self._parts.policy
        keys = [
            (decision == "allowed", rule.replace("-", "_"))
            for decision, rule in product(_DECISIONS, _RULES)
        ]
        metrics.observed(
            "zurl_policy_decisions",
            "Decisions about requests' names, addresses and privileges, by the kind of rule.",
            lambda: [policy.decisions.get(key, 0) for key in keys],
            decision=_DECISIONS,
            rule=_RULES,
        )
        codes = [rule.replace("-", "_") for rule in _REFUSALS]
        metrics.observed(
            "zurl_policy_reports",
            "Refusals that report_deny or policy_mode=report only reported, by the kind of rule.",
            lambda: [policy.reports.get(code, 0) for code in codes],
            rule=_REFUSALS,
        )

    def _add_process(self, metrics: Metrics) -> None:
        for family in process_families(self._figures):
            metrics.add(family)

    def _figures(self) -> ProcessFigures:
        """The kernel's figures, read at most once in a turn of the loop."""
        now = self._parts.loop.now
        if self._process[0] != now:
            self._process = (now, read_process())
        return self._process[1]

    def _survey(self) -> _Survey:
        """The sums over all sessions, made at most once in a turn of the loop."""
        now = self._parts.loop.now
        if self._surveyed.at != now:
            sessions = self._parts.gateway.sessions()
            self._surveyed = _Survey(
                now,
                sum(session.withheld for session in sessions),
                sum(session.bytes_held for session in sessions),
                sum(isinstance(s, WebSocketSession) and s.is_open for s in sessions),
            )
        return self._surveyed

    # -- /healthz ------------------------------------------------------------------------------

    def unhealthy_reason(self) -> str:
        """Why no requests are accepted; "" if they are.

        The answer itself shows that the loop runs.
        """
        state = self._state()
        return "" if state == "running" else state

    # -- /status -------------------------------------------------------------------------------

    def status(self) -> Mapping[str, object]:
        """The state of the daemon, without bodies, headers or queries."""
        parts = self._parts
        return {
            "version": __version__,
            "instance_id": parts.instance_id.decode("utf-8", "backslashreplace"),
            "pid": os.getpid(),
            "state": self._state(),
            "uptime_seconds": round(time.time() - self._started, 3),
            "configuration": parts.config_path,
            "endpoints": parts.endpoints,
            "books": self._books(),
            "sessions": self._sessions(),
            "requests": {"outcomes": self._outcomes(), "http_versions": self._http_versions()},
            "latency_seconds": self._latency(),
            "transport": self._transport(),
            "loop": self._loop(),
            "hosts": {
                "most_errors": tuple(self._hosts.most_errors(_SHOWN)),
                "slowest": tuple(self._hosts.slowest(_SHOWN)),
            },
            "workers": {"slow": tuple(self._slow_workers())},
            "policy": {
                "refusals": dict(
                    sorted(parts.policy.counts.items(), key=lambda item: -item[1])[:_OLDEST]
                )
            },
            "log": {"waiting": parts.log.waiting, "dropped": parts.log.dropped},
            "monitors": len(parts.monitors),
            "waiting_for": tuple(self._waiting_for()),
        }

    def _books(self) -> dict[str, object]:
        """Numbers of accepted, answered and open requests, and bytes held, to check that they add
        up.
        """
        parts, figures = self._parts, self._figures()
        backlog = parts.frontend.backlog()
        return {
            "accepted": parts.journal.accepted,
            "answered": parts.journal.answered,
            "sessions": len(parts.gateway.sessions()),
            "admission_waiting": parts.gateway.waiting,
            "transfers": len(parts.egress),
            "connections_idle": parts.egress.idle_connections,
            "descriptors": figures.descriptors,
            "descriptors_limit": figures.descriptors_limit,
            "timers": parts.loop.timers,
            "bytes_held": self._survey().held + sum(size for _, _, size in backlog),
            "answers_waiting": sum(count for _, count, _ in backlog),
            "answers_given_up": parts.frontend.dropped,
            "memory_bytes": figures.resident_bytes,
        }

    def _sessions(self) -> dict[str, object]:
        sessions = self._parts.gateway.sessions()
        step = -(-len(sessions) // _SAMPLED) or 1
        stages: dict[str, int] = {}
        for session in sessions[::step]:
            stages[session.stage] = stages.get(session.stage, 0) + step
        return {
            "open": dict(zip(INTERFACES, self._parts.journal.metrics.open, strict=True)),
            "states": stages,
            # The sessions are in the order in which they began.
            "oldest": tuple(self._shown(s) for s in islice(sessions, _OLDEST)),
        }

    def _shown(self, session: Session) -> dict[str, object]:
        account = session.account
        found: dict[str, object] = {
            "session": account.session,
            "interface": INTERFACES[account.interface],
            "method": account.method,
            "url": account.url.partition("?")[0],
            "state": session.stage,
            "age_seconds": round(self._parts.loop.now - account.began, 3),
        }
        if account.sender:
            found["from"] = _worker(account.sender)
        return found

    def _outcomes(self) -> dict[str, int]:
        values = self._parts.journal.metrics.requests.values
        count = len(OUTCOMES)
        sums = {name: int(sum(values[i::count])) for i, name in enumerate(OUTCOMES)}
        return {name: total for name, total in sums.items() if total}

    def _http_versions(self) -> dict[str, int]:
        counts = zip(HTTP_VERSIONS, self._parts.journal.metrics.responses.values, strict=True)
        return {version: int(count) for version, count in counts if count}

    def _latency(self) -> dict[str, float | None]:
        durations = self._parts.journal.metrics.durations
        return {f"p{share * 100:.0f}": durations.quantile(share) for share in (0.5, 0.9, 0.99)}

    def _transport(self) -> dict[str, object]:
        metrics, egress = self._parts.journal.metrics, self._parts.egress
        return {
            "connections_opened": int(metrics.connections_opened.total),
            "connections_reused": int(metrics.connections_reused.total),
            "connections_idle": egress.idle_connections,
            "dns_cache_entries": egress.known_names,
            "lookups_resolved": int(metrics.lookups.value("resolved")),
            "lookups_failed": int(metrics.lookups.value("failed")),
            "upload_bytes": int(metrics.uploaded.total),
            "download_bytes": int(metrics.downloaded.total),
        }

    def _loop(self) -> dict[str, object]:
        metrics = self._parts.journal.metrics
        return {
            "turns": metrics.turns.count(),
            "turn_p50_seconds": metrics.turns.quantile(0.5),
            "turn_p99_seconds": metrics.turns.quantile(0.99),
            "lag_p99_seconds": metrics.lags.quantile(0.99),
        }

    def _slow_workers(self) -> Iterator[dict[str, object]]:
        backlog = sorted(self._parts.frontend.backlog(), key=lambda entry: -entry[2])
        for worker, packets, size in backlog[:_SHOWN]:
            yield {"worker": _worker(worker), "packets": packets, "bytes": size}

    def _waiting_for(self) -> Iterator[str]:
        """The causes for which requests wait, in words."""
        gateway = self._parts.gateway
        if not gateway.has_room():
            yield (
                "open sessions to end: max_open_requests or max_memory is reached, and new "
                "requests are not read"
                if self._state() == "running"
                else "open sessions to end: the daemon is stopping"
            )
        if gateway.waiting:
            yield f"shares: {gateway.waiting} requests of workers that have many open"
        backlog = self._parts.frontend.backlog()
        if backlog:
            yield f"workers to read: answers wait for {len(backlog)} of them"


def _worker(address: bytes) -> str:
    return address[:_MAX_WORKER].decode("utf-8", "backslashreplace")


def _loss(frontend: Frontend, socket: str, number: int) -> float:
    return frontend.losses(socket)[number]
