"""The daemon: builds all parts from a configuration, runs them, reloads and stops."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from typing import Any

import pycurl

from . import __version__, systemd
from .config import Config, ConfigError, load
from .config.changes import Changes
from .config.listener import parse_listener
from .egress import Egress, TransportOptions
from .egress.configure import transport_options
from .errors import StartError
from .gateway import Gateway
from .host_addresses import is_local
from .journal import Journal
from .log import Log, level_of
from .loop import Loop, Timer
from .memory import MemoryKeeper
from .messaging.access import Access
from .messaging.frontend import Frontend
from .messaging.identity import instance_name
from .messaging.ipc_files import IpcFiles
from .messaging.sockets import Endpoints
from .messaging.zap import Authenticator
from .metrics import Metrics
from .policy import Decision, Policy
from .process import Watchdog, spare_collector
from .reporting import Parts, Reporting
from .sessions import Admission, Budget, Services, WebSocketSettings
from .status import Monitors, Pages, StatusListener
from .websocket import MASKS_IN_C

__all__ = ["Daemon", "run"]

# libcurl 8.21's event interface leaked sockets in TLS shutdown; before 8.20 a compressed body
# passed the size limit.
_OLDEST_LIBCURL = (8, 22, 0)
_STOPPING = ("stopping", "the gateway is stopping")
_REJECT_TIME = 1.0  # seconds at a stop for answering requests that wait in ZeroMQ's queues
_LINGER = 0.5  # seconds; a parent such as Pushpin kills its children soon after drain_timeout


def run(config: Config, config_path: str, log: Log, log_level: int | None = None) -> int:
    """Run until a signal ends it.

    Args:
        log_level: that of the command line, which overrides the configuration's; None: not given.

    Returns:
        The exit status: 0 after a stop by signal.

    Raises:
        StartError: the daemon cannot start.
    """
    endpoints = _endpoints_of(config)
    at = " ".join(f"{key}={','.join(specs)}" for key, specs in endpoints.items())
    log.info(
        f"starting... zurl_py {__version__}, configuration {config_path}: {at}",
        "start",
        version=__version__,
        configuration=config_path,
        endpoints=endpoints,
    )
    daemon = Daemon(config, log, config_path, log_level)
    log.info("started", "started")
    log.flush_soon()
    systemd.notify("READY=1")
    try:
        status = daemon.run()
    except BaseException:
        log.exception("a bug that ends the daemon")
        raise
    finally:
        log.info("stopped", "stopped")
        log.close()
    return status


def _endpoints_of(config: Config) -> dict[str, tuple[str, ...]]:
    """The endpoints of the daemon, by their keys."""
    found = {
        "in_spec": config.in_spec,
        "in_stream_spec": config.in_stream_spec,
        "out_spec": config.out_spec,
        "in_req_spec": config.in_req_spec,
        "metrics_listen": (config.metrics_listen,) if config.metrics_listen else (),
    }
    return {key: specs for key, specs in found.items() if specs}


class Daemon:
    """Sockets, egress and gateway on one loop.

    Args:
        config_path: path of the configuration, which is read again on SIGHUP.
        log_level: that of the command line; None: use the configuration's.

    Raises:
        StartError: libcurl is too old, there is no CA store, or an endpoint cannot be bound.
    """

    def __init__(
        self, config: Config, log: Log, config_path: str, log_level: int | None = None
    ) -> None:
        _check_libcurl()
        if not MASKS_IN_C:
            log.warning("websockets is installed without its C extension: large frames are slow")
        self._config = config
        self._config_path = config_path
        self._log_level = log_level
        self._log = log
        self.loop = Loop()
        self._memory = MemoryKeeper(self.loop)
        # Before the service manager or anyone else can know us, and send a signal.
        self.loop.catch_signals(signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        instance_id = instance_name(config)
        self._journal = Journal(
            log, Metrics(on=bool(config.metrics_listen)), self.loop, config.log_query
        )
        self._egress = Egress(self.loop, self._transport_options(config), log)
        self._endpoints = Endpoints(config, instance_id)
        self._access: Access | None = None
        if config.curve is not None:
            self._access = Access(config.curve.clients)
            # Before anything is bound: libzmq sends a request for each connection.
            Authenticator(self._endpoints.context, self.loop, log, self._access)
        self._endpoints.bind()
        self._ipc_files = IpcFiles(self._endpoints, self.loop, log)
        self._frontend = Frontend(self._endpoints, self.loop, log, self._access)
        self._services = self._make_services(config, instance_id)
        self._admission: Admission[Any] = Admission(
            max(0, config.max_open_requests), config.max_requests_per_client
        )
        self.gateway = Gateway(
            self._services,
            self._frontend.replier,
            self._admission,
            lambda: self._frontend.first_packets_wait,
            self._access,
        )
        self._frontend.attach(self.gateway)
        self._budget = Budget(config.max_memory, self.loop, self._bytes_held, self.gateway)
        self._stopping = False
        self._listener = self._listen(instance_id) if config.metrics_listen else None
        self._stop_timer = Timer(self._drain_over)
        self._drained = False
        self._reject_until: float | None = None
        self._linger_until: float | None = None
        self._watchdog = Watchdog(self.loop)

    def _make_services(self, config: Config, instance_id: bytes) -> Services:
        return Services(
            loop=self.loop,
            egress=self._egress,
            log=self._log,
            journal=self._journal,
            policy=self._policy_of(config),
            instance_id=instance_id,
            host_timeout=self._egress.timeout_of,
            outlet=self._frontend.outlet,
            **_session_settings(config),
        )

    def _listen(self, instance_id: bytes) -> StatusListener:
        """Make the status listener.

        Raises:
            BindError: the address is taken, or does not belong to this machine.
        """
        config, journal, monitors = self._config, self._journal, Monitors()
        reporting = Reporting(
            Parts(
                config_path=self._config_path,
                endpoints=_endpoints_of(config),
                instance_id=instance_id,
                loop=self.loop,
                log=self._log,
                journal=journal,
                policy=self._services.policy,
                gateway=self.gateway,
                egress=self._egress,
                frontend=self._frontend,
                monitors=monitors,
            ),
            lambda: "draining" if self._stopping else "running",
        )
        journal.watchers.append(monitors.ended)
        return StatusListener(
            parse_listener(config.metrics_listen),
            config.ipc_file_mode,
            self.loop,
            self._log,
            Pages(journal.metrics, reporting.unhealthy_reason, reporting.status),
            monitors,
        )

    def _transport_options(self, config: Config) -> TransportOptions:
        options = transport_options(config)
        default = options.connections.default
        self._log.debug(f"CA store: {default.ca_file or '-'} {default.ca_path or '-'}")
        return options

    def run(self) -> int:
        """Run the loop until a signal ends it. Returns the exit status."""
        spare_collector()
        metrics = self._journal.metrics
        observe_turn = metrics.observe_turn if metrics.on else None
        self.loop.turn(wait=False)  # timers that are late because of the start are no lag
        self.loop.observe_lag = metrics.observe_lag if metrics.on else None
        more = True
        while True:
            try:
                self.loop.turn(wait=not more)
            except Exception:
                # A bug in one timer or event must not end other sessions.
                self._log.exception("an event could not be handled")
            if self.loop.signals:
                for number in self.loop.take_signals():
                    self._handle_signal(number)
            try:
                more = self._turn()
            except Exception:
                self._log.exception("a message could not be handled")
                more = True
            if observe_turn is not None:
                observe_turn(self.loop.clock() - self.loop.now)
            if self._stopping and (self._drained or self._idle):
                if self._reject_until is None:
                    self._reject_until = self.loop.now + _REJECT_TIME
                    more = True
                elif (not more or self.loop.now >= self._reject_until) and self._lingered():
                    break
        self._close()
        return 0

    def _handle_signal(self, number: int) -> None:
        """Reload on SIGHUP; stop on any other one, at once if it is the second."""
        if number == signal.SIGHUP:
            self._reload()
        elif self._stopping:
            self._log.warning("second signal: stopping at once")
            self._log.close()
            os._exit(0)
        else:
            self._stop()

    def _turn(self) -> bool:
        """Do the work of one turn, without waiting. True if there is more to do."""
        egress, frontend, gateway = self._egress, self._frontend, self.gateway
        egress.turn()
        if self._budget.next_check <= self.loop.now:
            self._budget.check()
        if self._admission.waiting:
            gateway.admit_waiting()
        frontend.read()
        # Answers that came at once are sent in the same turn.
        egress.turn()
        frontend.flush()
        return frontend.has_more() or egress.has_work

    @property
    def _idle(self) -> bool:
        """Whether no session is open, and no answer waits for its worker."""
        return not len(self.gateway) and self._frontend.idle

    def _stop(self) -> None:
        """Begin no more requests; those in flight may finish within ``drain_timeout``."""
        self._stopping = True
        systemd.notify("STOPPING=1")
        self.gateway.stop(*_STOPPING)
        waiting = len(self.gateway)
        self._log.info(f"stopping; {waiting} sessions open", "stop", sessions=waiting)
        self._log.flush_soon()
        self.loop.set_timer(self._stop_timer, self.loop.now + self._config.drain_timeout)

    def _drain_over(self) -> None:
        self._drained = True
        self.gateway.abort_all(*_STOPPING)

    def _bytes_held(self) -> int:
        """Bytes of bodies in sessions, and of answers that wait for slow workers."""
        held = sum(session.bytes_held for session in self.gateway.sessions())
        return held + sum(size for _, _, size in self._frontend.backlog())

    def _lingered(self) -> bool:
        """Whether WebSockets' last frames were sent, and the origins had time to hang up.

        A connection closed earlier, with unread bytes, is reset, and the frame may be lost.
        """
        if self._linger_until is None:
            self._linger_until = self.loop.now + _LINGER
            self.loop.set_timer(self._stop_timer, self._linger_until)
        return not self._egress.lingering or self.loop.now >= self._linger_until

    def _reload(self) -> None:
        """On SIGHUP: reopen the log, and apply the configuration file; all of it or nothing."""
        self._log.reopen()
        try:
            config = load(self._config_path)
            options = self._transport_options(config)
            policy = self._policy_of(config)
        except (ConfigError, StartError) as error:
            self._log.error(f"nothing is changed, and the policy stays as it was: {error}")
            return
        changes = Changes.between(self._config, config)
        self._config = config = changes.running
        # In place, so that it applies to open sessions as well.
        self._services.policy.replace_rules(policy)
        self._services = replace(self._services, **_session_settings(config))
        self.gateway.configure(
            self._services, max(0, config.max_open_requests), config.max_requests_per_client
        )
        self._budget.configure(config.max_memory)
        self._egress.enforce()
        self._egress.configure(options)
        if self._access is not None and config.curve is not None:
            self._access.clients = config.curve.clients
        level = config.log_level if self._log_level is None else self._log_level
        self._log.configure(level_of(level), config.log_format)
        self._journal.log_query = config.log_query
        self._report(changes)
        self._log_counts()

    def _report(self, changes: Changes) -> None:
        """Log what a reload has changed, and what needs a restart."""
        log = self._log
        for warning in changes.running.warnings:
            log.warning(warning)
        if "log_level" in changes.made and self._log_level is not None:
            log.warning(
                f"log_level={changes.running.log_level} has no effect: the command line says "
                f"{self._log_level}",
                "reload",
            )
        if changes.waiting:
            waiting = ", ".join(changes.waiting)
            log.warning(f"changed, but a restart is needed: {waiting}", "reload")
        made = ", ".join(changes.made) or "nothing"
        log.info(f"configuration and policy read anew; changed: {made}", "reload")

    def _policy_of(self, config: Config) -> Policy:
        listener = self._config.metrics_listen  # needs a restart
        port = parse_listener(listener).port if listener else 0
        policy = config.policy({*self._endpoints.ports, port}, is_local)
        policy.observe = self._log_report
        return policy

    def _log_report(self, decision: Decision) -> None:
        code = decision.code.replace("_", "-")
        self._journal.reported(decision.subject, code, decision.rule, decision.reason)

    def _log_counts(self) -> None:
        counts = self._services.policy.counts
        if counts:
            refusals = ", ".join(f"{rule} {count}" for rule, count in sorted(counts.items()))
            self._log.info(f"refusals by rule: {refusals}", "refusals", rules=dict(counts))

    def _close(self) -> None:
        self._journal.log_sums()
        self._log_counts()
        if self._listener is not None:
            self._listener.close()
        self._endpoints.close()
        self._egress.close()
        self.loop.close()


def _session_settings(config: Config) -> dict[str, Any]:
    """The settings of sessions, which may change at a reload."""
    return {
        "buffer_size": config.buffer_size,
        "activity_timeout": float(config.timeout),
        "websocket": _websocket_settings(config),
        "max_request_time": float(config.max_request_time) or None,
        "user_agent": config.user_agent.encode(),
    }


def _websocket_settings(config: Config) -> WebSocketSettings:
    return WebSocketSettings(
        compression=config.websocket_compression,
        split_frames=config.websocket_large_frames == "split",
        ping_interval=float(config.websocket_ping_interval),
        ping_timeout=float(config.websocket_ping_timeout),
        close_timeout=float(config.websocket_close_timeout),
    )


def _check_libcurl() -> None:
    number = pycurl.version_info()[2]
    found = (number >> 16, number >> 8 & 0xFF, number & 0xFF)
    if found < _OLDEST_LIBCURL:
        oldest = ".".join(map(str, _OLDEST_LIBCURL))
        raise StartError(f"zurl_py {__version__} needs libcurl {oldest}, found {pycurl.version}")
