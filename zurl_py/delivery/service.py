"""The service of ``zurl-py deliver``: all parts on one loop, the store on a thread of its own."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec
import zmq

from .. import __version__, systemd
from ..config import ConfigError
from ..config.listener import parse_listener
from ..log import Log
from ..loop import READ, Loop, Timer
from ..messaging.reader import SocketReader
from ..messaging.sockets import BindError
from ..process import Watchdog, spare_collector
from ..status.listener import StatusListener
from ..status.monitors import Monitors
from ..status.pages import Pages as StatusPages
from ..zhttp import Format
from .acceptor import Acceptor, Asker
from .config import DeliverConfig, load, shown
from .counts import Counts
from .dispatch import Dispatcher
from .gateway import GatewayLink
from .lane import NEVER, Lane
from .messages import Deliver, Stats
from .metrics import DeliverMetrics
from .model import Accepted, Endpoint, NewDelivery, Recovered
from .page import PageServer
from .page.pages import Pages
from .scheduler import Scheduler
from .sockets import DeliverSockets
from .store.base import Query, QueryResult, SetSchedule, Store, Sweep
from .store.thread import StoreThread

__all__ = ["Service"]

_NOBLOCK: Final = int(zmq.NOBLOCK)
_NOBLOCK_MORE: Final = _NOBLOCK | int(zmq.SNDMORE)
_BATCH: Final = 64  # messages of one socket in one turn
_DRAIN: Final = 5.0  # seconds for attempts in flight at a stop
_LAST_WRITES: Final = 2.5  # seconds for the store after that
_SWEEP: Final = 30.0  # seconds between sweeps when nothing is known to expire
_SURVEY: Final = 5.0  # seconds between ``stats`` queries for the metrics
_POLL: Final = 1.0  # seconds between checks of a shared store
_RENEW: Final = 2 / 3  # a lease is renewed when less than this part of it is left
_SWITCH: Final = 0.0005  # seconds; with Python's default of 5 ms the store's thread is too slow
_MAX_LANES: Final = 100_000  # idle endpoints by URI that stay in memory


class Service:
    """All parts of ``zurl-py deliver``, and their loop.

    Args:
        store: an open store, which is closed at the end.
        gateways: the endpoint of the request interface of each gateway.

    Raises:
        BindError: an endpoint cannot be bound.
    """

    def __init__(
        self,
        config: DeliverConfig,
        config_path: str,
        store: Store,
        gateways: list[str],
        log: Log,
    ) -> None:
        self._config = config
        self._config_path = config_path
        self._log = log
        self._store = store
        self.loop = Loop()
        # Before the service manager or anyone else can know us, and send a signal.
        self.loop.catch_signals(signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        self.counts = Counts()
        self.scheduler = Scheduler()
        self.scheduler.paused = True  # until a gateway is there
        store.in_flight = self.scheduler.flights
        self.thread = self._make_thread(store)
        self.dispatcher = Dispatcher(
            self.thread, store, self.scheduler, log, self.counts, self._event
        )
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._sockets = DeliverSockets(self._context, config)
        self.acceptor = self._make_acceptor()
        self._readers = self._make_readers()
        self._links = [self._make_link(endpoint) for endpoint in gateways]
        self.dispatcher.use(self._links)
        self._wake = Timer(lambda: None)
        self._stop_timer = Timer(self._drain_over)
        self._drained = False
        self._next_sweep = 0.0
        self._sweeping = False
        self._troubled = False
        self._upkeep = Timer(self._keep_up)
        self._stats: dict[str, Any] = {}  # the store's last answer to stats
        self._survey = Timer(self._ask_stats)
        self._listener = self._listen()
        self._page = self._serve_page()
        self._watchdog = Watchdog(self.loop)

    def _make_thread(self, store: Store) -> StoreThread:
        thread = StoreThread(
            store,
            time.time,
            on_accepted=self._accepted,
            on_not_accepted=lambda batch, error: self.acceptor.not_accepted(batch, error),
            on_claimed=lambda results: self.dispatcher.claimed(results),
            on_not_claimed=lambda claims, error: self.dispatcher.not_claimed(claims, error),
            on_finished=lambda results: self.dispatcher.finished(results),
            on_recovered=self._recovered,
            on_lost=self._leases_lost,
            on_trouble=self._store_trouble,
        )
        thread.observe_commit = self.counts.commit
        self.loop.watch(thread.fd, READ, lambda _fd, _events: thread.deliver_results())
        return thread

    def _make_acceptor(self) -> Acceptor:
        return Acceptor(
            self.thread,
            self.scheduler,
            self._log,
            self.counts,
            self._config.max_body,
            self._send,
            self._queried,
        )

    def _make_link(self, endpoint: str) -> GatewayLink:
        return GatewayLink(
            self._context,
            endpoint,
            self.loop,
            self._log,
            self.dispatcher.ended,
            self.dispatcher.links_changed,
        )

    def _make_readers(self) -> list[tuple[SocketReader, Callable[[list[bytes]], None]]]:
        readers: list[tuple[SocketReader, Callable[[list[bytes]], None]]] = []
        acceptor = self.acceptor
        for socket, handle in (
            (self._sockets.questions, acceptor.take_question),
            (self._sockets.pushed, acceptor.take_pushed),
        ):
            if socket is not None:
                readers.append((SocketReader(socket, self.loop), handle))
        return readers

    def _listen(self) -> StatusListener | None:
        """Make the status listener, if it is configured."""
        if not self._config.metrics_listen:
            return None
        metrics = DeliverMetrics(self.counts, self.scheduler, self._stats, lambda: self.thread.kept)
        pages = StatusPages(metrics, self._ill, self._status)
        address = parse_listener(self._config.metrics_listen)
        mode = self._config.ipc_file_mode
        return StatusListener(address, mode, self.loop, self._log, pages, Monitors())

    def _serve_page(self) -> PageServer | None:
        """Make the web page, if it is configured."""
        config = self._config
        if not config.http_listen:
            return None
        pages = Pages(
            self._ask_for_page,
            self.scheduler,
            self.dispatcher.history,
            self.acceptor.complete_stats,
        )
        address = parse_listener(config.http_listen)
        try:
            return PageServer(address, config.ipc_file_mode, config.http_token, pages)
        except OSError as error:
            reason = error.strerror or error
            raise BindError(f"http_listen: cannot listen on {address}: {reason}") from None

    def _ask_for_page(
        self, query: Query, answer: Callable[[QueryResult | Exception], None]
    ) -> None:
        """Query the store for the web page; called on its threads, answered on the loop."""

        def answered(result: QueryResult | Exception) -> None:
            if isinstance(result, QueryResult):
                self._queried(result)
            answer(result)

        self.thread.query(query, answered)

    def _ill(self) -> str:
        """Why nothing is accepted or delivered; "" if all is well."""
        if self.dispatcher.stopping:
            return "stopping"
        if self._troubled:
            return "the store does not work"
        if not any(link.up for link in self._links):
            return "no gateway is there"
        return ""

    def _status(self) -> dict[str, object]:
        return {
            "version": __version__,
            "store": shown(self._config.store),
            "gateways": [{"endpoint": link.endpoint, "up": link.up} for link in self._links],
            "in-flight": len(self.scheduler.flights),
            "rates": self.counts.rates(time.time()),
            **self._stats,
        }

    def _ask_stats(self) -> None:
        self.loop.set_timer(self._survey, self.loop.now + _SURVEY)
        question = Stats(Format.JSON, "stats")

        def answered(result: QueryResult | Exception) -> None:
            if isinstance(result, QueryResult):
                self._stats.update(result.answer)

        self.thread.query(question, answered)

    # -- running -------------------------------------------------------------------------------

    def run(self) -> int:
        """Run the loop until a signal ends it. Returns the exit status."""
        sys.setswitchinterval(_SWITCH)
        self.thread.start()
        if self._listener is not None:
            self._ask_stats()
        if self._store.lease:
            self._store.listen(lambda what: self.thread.call_on_loop(self._notified, what))
            self._keep_up()
        spare_collector()
        more = True
        while True:
            try:
                self.loop.turn(wait=not more)
                more = self._turn()
            except Exception:
                self._log.exception("an event could not be handled")
                more = True
            for number in self.loop.take_signals():
                self._signal(number)
            if self.dispatcher.stopping and self._may_end():
                break
        self._close()
        return 0

    def _turn(self) -> bool:
        """Do the work of one turn. Returns whether more messages wait."""
        for reader, handle in self._readers:
            reader.read(_BATCH, handle, self._may_read)
        for link in self._links:
            link.read(_BATCH)
        self.acceptor.flush()
        self.dispatcher.turn()
        now = time.time()
        if now >= self._next_sweep and not self._sweeping:
            self._sweep(now)
        self._set_wake(now)
        more = False
        for reader, _ in self._readers:
            more |= reader.check() and self._may_read()
        for link in self._links:
            more |= link.settle()
        return more

    def _may_read(self) -> bool:
        return not self.dispatcher.stopping and self.acceptor.has_room

    def _set_wake(self, now: float) -> None:
        when = min(self.scheduler.next_wake(), self._next_sweep)
        if when < NEVER:
            self.loop.set_timer(self._wake, self.loop.now + max(0.0, when - now))

    def _send(self, frames: list[bytes]) -> None:
        socket = self._sockets.questions
        assert socket is not None
        self._readers[0][0].used()
        try:
            for frame in frames[:-1]:
                socket.send(frame, _NOBLOCK_MORE)
            socket.send(frames[-1], _NOBLOCK)
        except zmq.ZMQError as error:  # the worker has gone, or does not read
            self._log.warning(f"an answer could not be sent: {error}")

    # -- results of the store ------------------------------------------------------------------

    def _accepted(
        self, batch: list[NewDelivery], results: list[Accepted], new: list[Endpoint]
    ) -> None:
        for endpoint in new:
            self.scheduler.put_endpoint(endpoint)
        self.acceptor.accepted(batch, results)
        for item, result in zip(batch, results, strict=True):
            if result.delivery is not None:
                self.scheduler.leased(result.delivery)
            elif result.due is not None:
                self.scheduler.due(result.endpoint, result.due)
            if item.expires_at is not None:
                self._next_sweep = min(self._next_sweep, item.expires_at)

    def _recovered(self, items: list[Recovered]) -> None:
        self.scheduler.share_with(self._store.processes)
        self.counts.takeovers = self._store.takeovers
        self.dispatcher.changed(items)

    def _leases_lost(self) -> None:
        """Handle lost leases (connection or time lost): other processes may have them now."""
        self._log.warning("leases were lost; what was ready is left to whoever has it now")
        self.scheduler.drop_ready()
        self.thread.renew()  # this allows new leases
        self.thread.recover()

    def _notified(self, what: str) -> None:
        """Handle a notification: another process or an application has changed the store."""
        if what.isdecimal() and int(what) in self.scheduler.lanes:
            self.scheduler.due(int(what), time.time())
        else:
            self.thread.recover()

    def _keep_up(self) -> None:
        """In a shared store, renew our leases and look for changes of other processes."""
        self.loop.set_timer(self._upkeep, self.loop.now + _POLL)
        self.thread.recover()
        if self._store.lease_until - time.monotonic() < _RENEW * self._store.lease:
            self.thread.renew()

    def _queried(self, result: QueryResult) -> None:
        """Handle a query's result: changed endpoints, dead deliveries, the time of the sweep."""
        self.dispatcher.changed(result.changed)
        for id, reason in result.dead:
            self.counts.dead += 1
            self._log.warning(f"webhook {id}: dead, {reason}")
        if result.again is not None:
            self._next_sweep = 0.0

    def _sweep(self, now: float) -> None:
        self._sweeping = True
        self._next_sweep = now + _SWEEP
        self.scheduler.forget_idle(_MAX_LANES)
        self.counts.sample(now)
        self.thread.query(Sweep(now), self._swept)

    def _swept(self, result: QueryResult | Exception) -> None:
        self._sweeping = False
        if isinstance(result, QueryResult):
            self._queried(result)
            if result.next_sweep is not None:
                self._next_sweep = min(self._next_sweep, result.next_sweep)

    def _store_trouble(self, error: Exception | None) -> None:
        self._troubled = error is not None
        if error is None:
            self._log.info("the store works again")
        else:
            self._log.error(f"store: {error}")

    # -- events of endpoints -------------------------------------------------------------------

    def _event(self, lane: Lane, event: str) -> None:
        """Report an event to the operator, by a webhook of our own."""
        counts = self.counts.endpoint_events
        counts[event] = counts.get(event, 0) + 1
        target = self._config.on_endpoint_event
        name = lane.endpoint.name
        if not target or target in (name, lane.endpoint.settings.uri):
            return  # not configured, or it is this endpoint itself
        endpoint = lane.endpoint
        body = {
            "type": f"endpoint.{event}",
            "timestamp": int(time.time()),
            "endpoint": name,
            "uri": endpoint.settings.uri,
            "disabled": endpoint.disabled,
            "failing-since": endpoint.failing_since,
        }
        by_uri = target.startswith(("http://", "https://"))
        self.acceptor.accept(
            Deliver(
                Format.JSON,
                "deliver",
                endpoint="" if by_uri else target,
                uri=target if by_uri else "",
                body=msgspec.json.encode(body),
                event=f"endpoint.{event}",
            ),
            Asker(None),
        )

    # -- signals -------------------------------------------------------------------------------

    def _signal(self, number: int) -> None:
        if number == signal.SIGHUP:
            self._reload()
        elif self.dispatcher.stopping:
            self._log.warning("second signal: stopping at once")
            self._log.close()
            os._exit(0)
        else:
            self._stop()

    def _reload(self) -> None:
        """On SIGHUP: reopen the log, and read limits, schedule, token and references again."""
        self._log.reopen()
        try:
            config = load(self._config_path)
        except ConfigError as error:
            self._log.error(f"the configuration stays as it was: {error}")
            return
        for warning in config.warnings:
            self._log.warning(warning)
        for key in _NEEDS_RESTART:
            if getattr(config, key) != getattr(self._config, key):
                self._log.warning(f"{key} has changed, which needs a restart")
        self.scheduler.forget_secrets()
        if self._page is not None:
            self._page.use_token(config.http_token)
        self.acceptor.max_body = config.max_body
        self._store.max_bytes = config.store_max_bytes
        if config.schedule != self._config.schedule:
            self.thread.query(SetSchedule(config.schedule), self._reloaded)
        self._config = config
        self._log.info("configuration read anew")

    def _reloaded(self, result: QueryResult | Exception) -> None:
        if isinstance(result, QueryResult):
            self._queried(result)

    def _stop(self) -> None:
        """Accept no more questions, and let attempts in flight finish for a while."""
        systemd.notify("STOPPING=1")
        self.dispatcher.stopping = True
        self.dispatcher.links_changed()
        self._log.info(f"stopping; {len(self.scheduler.flights)} attempts under way")
        self.loop.set_timer(self._stop_timer, self.loop.now + _DRAIN)

    def _drain_over(self) -> None:
        self._drained = True
        for link in self._links:
            link.give_up()

    def _may_end(self) -> bool:
        return self._drained or (not self.scheduler.flights and self.acceptor.idle)

    def _close(self) -> None:
        self.dispatcher.release_all()
        if not self.thread.stop(_LAST_WRITES):
            self._log.error("the store did not end in time")
        for link in self._links:
            link.close()
        if self._listener is not None:
            self._listener.close()
        if self._page is not None:
            self._page.close()
        self._sockets.close()
        self._context.term()
        self.loop.close()


_NEEDS_RESTART: Final = (
    "deliver_spec",
    "deliver_push_spec",
    "ipc_file_mode",
    "gateway",
    "store",
    "lease",
    "secret_key_file",
    "http_listen",
    "metrics_listen",
)
