"""The engine of the egress: it gives transfers to libcurl, and reports their results to them."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, cast

import pycurl

from ..log import Log
from ..loop import Loop
from ..zhttp import Condition
from .alert import AlertProbe, may_have_lost_an_alert
from .answer import AnswerTransfer
from .breaker import HostBreaker
from .carrier import Carried, Mover
from .decoding import DecodeThread
from .errors import ErrorName, TransferError
from .handles import EasyHandle, HandlePool
from .meter import Meter
from .multi import Multi
from .multi_group import MultiGroup
from .one_by_one import OneByOne
from .origins import SHARE_TIMEOUT, FirstConnections, Origins
from .permission import check_peer, check_request
from .placement import AwaitConnection, AwaitLookUp, AwaitMemory, Place, Placement, connects_to
from .resolver import Outcome, Resolver, look_up
from .routes import Route, Routes
from .settings import ConnectionSettings, TransportOptions
from .throttle import LEAST_PORTION, LONG_CALL, Throttle, Throttled
from .trace import make_trace
from .turns import TURN_SHARE, TurnQueue
from .versions import HttpVersions
from .window import ReceiveWindow, StreamBudget

__all__ = ["Egress"]

# An idle connection costs a descriptor, and some 50 kB with TLS.
_MAX_IDLE_CONNECTIONS = 16_384
_MANY_HEADS = 16_384  # bytes
# Seconds between look-ups of a host that closes its kept connections.
_MIN_NAME_AGE = 1.0
# Results if the origin answers with HTTP/2 although HTTP/1.1 was requested, or not at all.
_NO_HTTP1 = frozenset((pycurl.E_UNSUPPORTED_PROTOCOL, 8, 35, pycurl.E_RECV_ERROR))
_RESET = frozenset((pycurl.E_SEND_ERROR, pycurl.E_RECV_ERROR))
# Results if the peer has closed the connection before a byte of an answer.
_LOST_CONNECTION = frozenset(
    (
        pycurl.E_GOT_NOTHING,
        pycurl.E_SEND_ERROR,
        pycurl.E_RECV_ERROR,
        pycurl.E_SEND_FAIL_REWIND,
    )
)


class Egress:
    """Runs transfers.

    Attributes:
        max_response_size: bytes of a buffered answer; 0 is unlimited.
        max_expansion: decoded bytes of a body per coded byte; 0 is unlimited.
        large_bodies: queue of bodies that are decoded one at a time, as each is held whole.
        moved: queue of transfers with news; they are reported in the next ``turn``, or, if there
            are many, in a later one.
        lingering: WebSockets whose session is over and whose close frame is still being sent.
        rules: number of changes of the policy's rules so far.
        timeout_of: seconds without activity until a session ends, by its target.
    """

    def __init__(
        self,
        loop: Loop,
        options: TransportOptions,
        log: Log,
        make_resolver: type[Resolver[Carried]] = Resolver,
    ) -> None:
        self._loop = loop
        self._log = log
        self.max_response_size = options.max_response_size
        self.max_expansion = options.max_expansion
        self._ipv6 = _uses_ipv6(options)  # read by other threads as well
        self._due: list[Multi] = []
        self._kicked_at = 0.0  # the turn of the loop (its time) of the last `kick`
        self._finished: list[Multi] = []
        self._resolver = make_resolver(
            loop, options.dns_cache, options.dns_negative_cache, self._look_up
        )
        self._connected: list[EasyHandle] = []
        self._waiting_for_memory: list[Carried] = []  # streams that wait for memory
        self._routes = Routes(options.connections, self._make_route)
        self.timeout_of = self._routes.timeout_of
        origins = Origins()
        self._firsts: FirstConnections[Carried] = FirstConnections(loop)
        self._budget = StreamBudget(options.stream_memory)
        self._breaker = HostBreaker(options.max_host_errors)
        self._placement = Placement(
            self._routes,
            self._resolver,
            origins,
            self._firsts,
            self._budget,
            self._breaker,
        )
        self._retired: list[Multi] = []  # get no more requests
        self._closing: list[Multi] = []  # have none in flight either
        self._versions = HttpVersions(loop, origins, self._resolver, self._budget, self._resend)
        self._transfers: dict[pycurl.Curl, Carried] = {}
        self._failed_early: list[tuple[Carried, TransferError]] = []
        self.moved: TurnQueue[Mover] = TurnQueue(loop, self._report_moved)
        self._throttle = Throttle(loop)
        self.pause_until_turn = self._throttle.add
        self._decoding = DecodeThread(loop)
        self.decode = self._decoding.submit
        self.large_bodies: OneByOne[Mover] = OneByOne(self.moved.append)
        self.lingering: set[Carried] = set()
        self.meter: Meter | None = None
        self.rules = 0

    def _look_up(self, name: str) -> Outcome:
        return look_up(name, self._ipv6)

    def _make_route(self, settings: ConnectionSettings) -> Route:
        pool = HandlePool(settings, self.max_response_size, self._log, self._connected)
        most = settings.max_connections
        return Route(settings, pool, lambda: self._make_multi(most), self._retire_group)

    def _make_multi(self, max_host_connections: int) -> Multi:
        multi = Multi(self._loop, self._due, self._finished, self._distrust_host)
        if max_host_connections:
            multi.limit_hosts(max_host_connections)
        self._share_connections(multi)
        return multi

    def __len__(self) -> int:
        return len(self._transfers)

    def __repr__(self) -> str:
        return f"<Egress transfers={len(self)} idle_connections={self.idle_connections}>"

    def measure(self, meter: Meter) -> None:
        """Report every transfer and every look-up that ends to a meter."""
        self.meter = meter
        self._resolver.observe = meter.looked_up

    @property
    def is_late(self) -> bool:
        """Whether this turn of the loop has lasted so long that other work waits for the next.

        A transfer that is being served in its turn has less time.
        """
        until = self._throttle.until or self._loop.now + TURN_SHARE
        return self._loop.clock() > until

    @property
    def idle_connections(self) -> int:
        """Connections that are kept and not in use."""
        # A descriptor may be in two lists, if one connection was closed and another opened.
        return len(set().union(*(multi.idle() for multi in self._multis())))

    @property
    def known_names(self) -> int:
        """Number of names in the cache, with addresses or without."""
        return len(self._resolver)

    def _share_connections(self, new: Multi) -> None:
        """Divide the number of idle connections that may be kept among the multi handles."""
        multis = [*self._multis(), new]
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = min(_MAX_IDLE_CONNECTIONS, descriptors // 2)
        for multi in multis:
            multi.limit_connections(max(1, most // len(multis)))

    def _multis(self) -> Iterator[Multi]:
        for group in self._routes.groups():
            yield from group.multis

    # -- into libcurl and out of it ------------------------------------------------------------

    def add(self, transfer: Carried) -> None:
        """Start a transfer, or its next hop."""
        transfer.attempts = 0
        transfer.avoids_kept = False
        transfer.share_until = 0.0
        transfer.names_since = self._loop.now
        self._place(transfer)

    def _place(self, transfer: Carried) -> None:
        """Carry out the decision of `Placement.place`, if the rules still allow the transfer."""
        refused = self._refusal(transfer) if transfer.rules != self.rules else None
        place = refused or self._placement.place(transfer, self._loop.now)
        if isinstance(place, Place):
            self._launch(transfer, place)
        elif isinstance(place, AwaitLookUp):
            self._resolver.ask(place.name, transfer)
            transfer.leave = partial(self._resolver.leave, place.name, transfer)
        elif isinstance(place, AwaitMemory):
            self._waiting_for_memory.append(transfer)
            transfer.leave = partial(self._waiting_for_memory.remove, transfer)
        elif isinstance(place, AwaitConnection):
            transfer.share_until = transfer.share_until or self._loop.now + SHARE_TIMEOUT
            self._firsts.wait(place.key, transfer)
            transfer.leave = partial(self._firsts.leave, place.key, transfer)
        else:
            if place.error == ErrorName.NAME_NOT_RESOLVED:
                target = transfer.request.target
                self._breaker.failed((target.host, target.port), self._loop.now)
            self._failed_early.append((transfer, place))

    def _launch(self, transfer: Carried, place: Place) -> None:
        """Give a transfer to libcurl; if libcurl refuses it, it fails in the next turn."""
        multi = place.multi
        pool = place.route.handles
        handle = pool.idle.pop() if pool.idle else pool.make()
        try:
            transfer.prepare(handle)
            handle.kept_only = place.kept_only
            handle.kept = multi.kept
            if place.resolve:
                handle.set(pycurl.RESOLVE, place.resolve)
            if place.http1 or transfer.request.target.scheme == "https":
                self._versions.prepare(handle, transfer, place)
            if transfer.avoids_kept:
                handle.set(pycurl.FRESH_CONNECT, 1)
            if self._log.debug_on:
                handle.set(pycurl.VERBOSE, 1)
                handle.set(pycurl.DEBUGFUNCTION, make_trace(self._log.debug))
        except (pycurl.error, ValueError, OverflowError) as error:
            # libcurl refuses an option; reported later, as callers expect.
            handle.give_back()
            failure = TransferError(
                Condition.BAD_REQUEST, f"libcurl refuses an option of this request: {error}"
            )
            self._failed_early.append((transfer, failure))
            return
        multi.add(handle.curl)
        if place.first is not None and not self._firsts.leads(place.first):
            handle.first = place.first
            self._firsts.lead(place.first, transfer)
        transfer.attempts += 1
        transfer.handle = handle
        if self._throttle.costly and isinstance(transfer, AnswerTransfer):
            self._restrict_if_costly(transfer)
        transfer.multi = multi
        self._transfers[handle.curl] = transfer

    def _note_if_costly(self, handle: EasyHandle | None) -> None:
        """Remember an address whose answer failed in a long call, after many lines of heads."""
        if handle is not None and handle.curl.getinfo(pycurl.HEADER_SIZE) > _MANY_HEADS:
            self._throttle.note_costly(handle)

    def _restrict_if_costly(self, transfer: AnswerTransfer) -> None:
        name, _ = connects_to(transfer.request)
        answer = self._resolver.known(name)
        addresses = (name,) if answer is None else answer.addresses
        if self._throttle.is_costly(addresses):
            transfer.restrict(LEAST_PORTION)

    def remove(self, transfer: Carried) -> None:
        """Take a transfer out of libcurl, finished or not; does nothing if it is not there."""
        if transfer.leave is not None:
            leave, transfer.leave = transfer.leave, None
            leave()
            return
        handle, multi = transfer.handle, transfer.multi
        if handle is None or multi is None:
            return
        transfer.handle = transfer.multi = None
        if self._throttle.waiting:
            self._throttle.waiting.pop(cast(Any, transfer), None)
        if handle.tries_quic:
            self._versions.leave(transfer)
        if handle.first is not None:
            self._firsts.settle(handle.first, transfer, connected=False)
        del self._transfers[handle.curl]
        try:
            multi.remove(handle.curl)
            handle.give_back()
        except pycurl.error as error:  # a broken multi handle keeps it: the handle is lost
            self._log.error(f"libcurl keeps a handle: {error}")
        if self._retired and not multi.active and multi in self._retired:
            self._retired.remove(multi)
            self._closing.append(multi)

    # -- results -------------------------------------------------------------------------------

    def turn(self) -> None:
        """Call libcurl where that is due, and report transfers that ended or have news."""
        if self._loop.slow:
            self._pause_heavy()
        if self._due:
            self.kick()
        if self._throttle.waiting:
            self._throttle.run(self._answers_of)
        if self._resolver.finished:
            self._place_looked_up()
        if self._connected:
            self._release_connected()
        if self._firsts.released:
            self._place_connected()
        if self._budget.freed:
            self._place_within_memory()
        while self._finished:
            multi = self._finished.pop()
            for transfer, curl, code, message in self._results(multi):
                # Its handle differs if an earlier report of this batch cancelled it.
                if transfer.handle is not None and transfer.handle.curl is curl:
                    try:
                        self._ended(transfer, code, message)
                    except Exception:
                        self._end_by_bug(transfer)
            if multi.broken is not None:
                self._abandon(multi)
        while self._closing:
            self._closing.pop().close()
        while self._failed_early:
            transfer, failure = self._failed_early.pop()
            self.report(transfer, transfer.fail, failure)
        moved = self.moved
        if moved.fresh or moved.resumed:
            moved.run()

    def _report_moved(self, mover: Mover) -> None:
        try:
            mover.moved()
        except Exception:
            self._end_by_bug(mover)
        handle = mover.handle
        if handle is not None and handle.window is not None:
            self._update_window(mover, handle, handle.window)

    def _update_window(self, transfer: Carried, handle: EasyHandle, window: ReceiveWindow) -> None:
        try:
            if handle.curl.getinfo(pycurl.INFO_HTTP_VERSION) == pycurl.CURL_HTTP_VERSION_1_1:
                window.lift()
                handle.window = None
            elif window.refill(self._loop.now) and transfer.multi is not None:
                transfer.multi.call()
        except pycurl.error as error:
            self.report(transfer, transfer.fail, TransferError.from_curl(*error.args[:2]))

    def _place_looked_up(self) -> None:
        for transfer, answer in self._resolver.collect():
            transfer.leave = None
            transfer.names_since = min(transfer.names_since, answer.made_at)
            self._place(transfer)

    def _release_connected(self) -> None:
        """Release transfers that wait for connections which have been made now."""
        settled, self._connected[:] = self._connected[:], []
        for handle in settled:
            transfer = self._transfers.get(handle.curl)
            if transfer is not None and transfer.handle is handle:
                first, handle.first = handle.first, None
                self._firsts.settle(first, transfer, connected=True)

    def _place_within_memory(self) -> None:
        self._budget.freed = False
        waiting, self._waiting_for_memory = self._waiting_for_memory, []
        for transfer in waiting:
            transfer.leave = None
            self._place(transfer)

    def _place_connected(self) -> None:
        released, self._firsts.released = self._firsts.released, []
        for transfer in released:
            transfer.leave = None
            self._place(transfer)

    def _ended(self, transfer: Carried, code: int, message: str) -> None:
        if self.meter is not None and transfer.handle is not None:
            request = transfer.request
            sends = bool(request.body) or request.upload
            self.meter.transfer_ended(transfer.handle.curl, sends, not code)
        if code and self._should_repeat(transfer, code) and transfer.rewind():
            self.remove(transfer)
            self._place(transfer)
            return
        if isinstance(transfer, AlertProbe):  # it sends no request
            transfer.ended(code, message)
            return
        if not code and transfer.request.target.scheme == "https":
            self._versions.learn(transfer)
        if self._breaker.most:
            self._count(transfer, code)
        if code and transfer.multi is not None and transfer.multi.slow_in == self._loop.now:
            self._note_if_costly(transfer.handle)
        if code in _RESET and self._may_hide_an_alert(transfer, message):
            self.look_for_an_alert(transfer, TransferError.from_curl(code, message))
        else:
            transfer.ended(code, message)

    def _may_hide_an_alert(self, transfer: Carried, message: str) -> bool:
        """Whether a new TLS connection was reset before a byte of an answer."""
        handle = transfer.handle
        return (
            handle is not None
            and transfer.request.target.scheme == "https"
            and may_have_lost_an_alert(message)
            and bool(handle.curl.getinfo(pycurl.APPCONNECT_TIME))
            and not handle.answer_began
        )

    def look_for_an_alert(self, transfer: Carried, failure: TransferError) -> None:
        """Make a failed transfer's connection once more, and report the alert that it gets."""

        def found(alert: TransferError | None) -> None:
            transfer.leave = None
            is_alert = alert is not None and alert.condition == Condition.TLS_ERROR
            transfer.fail(alert if alert is not None and is_alert else failure)

        self.remove(transfer)
        probe = AlertProbe(
            self, self._loop, transfer.request, transfer.verifies_connect_host, found
        )
        transfer.leave = probe.cancel
        probe.start()

    def _count(self, transfer: Carried, code: int) -> None:
        """Report the result to the breaker."""
        handle, target = transfer.handle, transfer.request.target
        if handle is None or handle.refused is not None:
            return
        if not code or handle.answer_began:
            self._breaker.answered((target.host, target.port))
        else:
            self._breaker.failed((target.host, target.port), self._loop.now)

    def timed_out(self, transfer: Carried) -> None:
        """Note that a session timed out: a failure of its origin if no byte of an answer came."""
        handle, target = transfer.handle, transfer.request.target
        if handle is not None and not handle.answer_began:
            self._breaker.failed((target.host, target.port), self._loop.now)
            if not handle.peer:  # no connection was made: its address may have changed
                self._distrust_names(transfer)

    def _resend(self, transfer: Carried) -> None:
        """Send a request again on a new connection, as a kept one was silent for too long."""
        transfer.avoids_kept = True
        self.remove(transfer)
        self._place(transfer)

    def leave_quic(self, transfer: Carried) -> None:
        """Send a request again over TCP, as the origin does not serve it over QUIC."""
        self._versions.leave_quic(transfer.request)
        self.remove(transfer)
        self._place(transfer)

    def _should_repeat(self, transfer: Carried, code: int) -> bool:
        """Whether to make another attempt, because the failure does not lie with the origin.

        0. The port that the origin has named for QUIC does not answer: use its own.
        1. The name's addresses were too old, and no connection was kept: look it up first.
        2. Old addresses cannot be connected to: they may have changed.
        3. A kept connection was dead before the request, or had unsolicited bytes.
        4. A kept connection was lost before a byte of an answer: its peer had closed it while the
           request was in flight, as libcurl assumes as well (RFC 9112 section 9.3.1).
        5. HTTP/1.1 was used to save memory, or for large fields, and the origin does not speak it.
        """
        handle = transfer.handle
        assert handle is not None
        if handle.alternative and not handle.answer_began:  # 0
            self._versions.forget_alternative(transfer.request)
            return True
        if handle.wanted_socket:  # 1
            return True
        if code in _NO_HTTP1 and self._versions.refused_http1(transfer, code):  # 5
            return True
        if code == pycurl.E_COULDNT_CONNECT and handle.refused is None:  # 2
            return self._distrust_names(transfer)
        if handle.was_dead:  # 3
            transfer.avoids_kept = True
            return True
        if code in _LOST_CONNECTION and not transfer.avoids_kept:  # 4
            is_new = handle.curl.getinfo(pycurl.NUM_CONNECTS)
            transfer.avoids_kept = not (is_new or handle.answer_began)
            return transfer.avoids_kept
        return False

    def _distrust_host(self, host: str) -> None:
        """Distrust a host's addresses, as it has closed a kept connection and may have moved."""
        answer = self._resolver.known(host)
        if answer is not None and answer.made_at < self._loop.now - _MIN_NAME_AGE:
            self._resolver.distrust(host)

    def _distrust_names(self, transfer: Carried) -> bool:
        """Have the name looked up before its next use.

        Returns:
            Whether this transfer used addresses from before its start.
        """
        name, _ = connects_to(transfer.request)
        answer = self._resolver.known(name)
        if answer is None:
            return False
        self._resolver.distrust(name)
        return answer.made_at < transfer.names_since

    def report(self, transfer: Carried, tell: Callable[..., None], *about: object) -> None:
        """Call a session; an exception in it, which is a bug, ends that session only."""
        try:
            tell(*about)
        except Exception:
            self._end_by_bug(transfer)

    def _end_by_bug(self, transfer: Carried) -> None:
        """Handle an exception in a report to a session, which is a bug."""
        self._log.exception("a report could not be handled")
        self.remove(transfer)
        with contextlib.suppress(Exception):
            transfer.fail(
                TransferError(
                    Condition.UNDEFINED_CONDITION,
                    "a bug in the gateway, whose log has the details",
                    error=ErrorName.INTERNAL,
                )
            )

    @property
    def has_work(self) -> bool:
        """There is work to do before waiting for an event."""
        return bool(
            self._due
            or self._finished
            or self._throttle.waiting
            or self.moved.fresh
            or self.moved.resumed
            or self._failed_early
            or self._closing
            or self._connected
            or self._firsts.released
            or (self._budget.freed and self._waiting_for_memory)
            or self._resolver.finished
        )

    def kick(self) -> None:
        """Have libcurl start transfers that were added, and continue those that are due.

        One call serves all transfers of a multi handle that have more to read. If the turn has
        lasted too long, the remaining multi handles are called first in the next one.
        """
        due, loop = self._due, self._loop
        clock, until = loop.clock, loop.now + TURN_SHARE
        began, is_first = clock(), self._kicked_at != loop.now
        self._kicked_at = loop.now
        for _ in range(len(due)):
            if not is_first and began > until:
                return
            is_first = False
            multi = due.pop(0)
            multi.kick()
            ended = clock()
            if ended - began > LONG_CALL:
                multi.slow_in = loop.now
                self._throttle.pause_heavy(self._answers_of(multi))
            began = ended

    def _pause_heavy(self) -> None:
        slow, self._loop.slow = self._loop.slow, []
        for multi in [*self._multis(), *self._retired]:
            if any(map(multi.serves, slow)):
                multi.slow_in = self._loop.now
                self._throttle.pause_heavy(self._answers_of(multi))

    def _answers_of(self, multi: Multi) -> list[Throttled]:
        """The transfers of a multi handle whose answers libcurl reads."""
        return [
            transfer
            for transfer in self._transfers.values()
            if transfer.multi is multi and isinstance(transfer, AnswerTransfer)
        ]

    def _results(self, multi: Multi) -> list[tuple[Carried, pycurl.Curl, int, str]]:
        """Results of a multi handle, each with its transfer, looked up before any is reported."""
        transfers, results = self._transfers, []
        for curl, code, message in multi.results():
            transfer = transfers.get(curl)
            if transfer is not None:
                results.append((transfer, curl, code, message))
        return results

    def _abandon(self, multi: Multi) -> None:
        """End all transfers of a multi handle that failed, and never use it again."""
        self._log.error(f"libcurl failed: {multi.broken}; ending {multi.active} transfers")
        for group in self._routes.groups():
            group.drop(multi)
        if multi in self._retired:
            self._retired.remove(multi)
        for transfer in [t for t in self._transfers.values() if t.multi is multi]:
            failure = TransferError(
                Condition.UNDEFINED_CONDITION,
                f"libcurl: {multi.broken}",
                error=ErrorName.INTERNAL,
            )
            self.report(transfer, transfer.fail, failure)
        multi.close()

    # -- rules that change, and the end ----------------------------------------------------------

    def enforce(self) -> None:
        """Apply changed rules of the policy: end transfers that they no longer allow."""
        self.rules += 1
        for transfer in self._all():
            refused = self._refusal(transfer)
            if refused is not None:
                self.report(transfer, transfer.fail, refused)
        for route in self._routes.all():
            if route.checks_here:  # the origins that its kept connections lead to are unknown
                self._retire(route)

    def _all(self) -> list[Carried]:
        return [
            *self._transfers.values(),
            *self._resolver.waiting(),
            *self._firsts.waiting(),
            *self._waiting_for_memory,
        ]

    def configure(self, options: TransportOptions) -> None:
        """Use other options for further requests.

        Connections whose settings have changed are closed: idle ones at once, used ones after their
        answer.
        """
        self.max_response_size = options.max_response_size
        self.max_expansion = options.max_expansion
        self._ipv6 = _uses_ipv6(options)
        self._budget.limit = options.stream_memory
        self._resolver.lifetime = options.dns_cache
        self._resolver.negative_lifetime = options.dns_negative_cache
        self._breaker.most = options.max_host_errors
        self._versions.forget_alternatives()
        for route in self._routes.change(options.connections):
            self._retire(route)
        for route in self._routes.all():
            serves = partial(self._routes.serves, route)
            for group in route.all_groups():
                for multi in group.multis:
                    multi.keep_only(serves)

    def _retire(self, route: Route) -> None:
        """Close the connections of a route, used ones after their answer."""
        for group in route.all_groups():
            self._retire_group(group)

    def _retire_group(self, group: MultiGroup) -> None:
        """Close the connections of a group, used ones after their answer."""
        for multi in group.clear():
            if multi.active:
                self._retired.append(multi)
            else:
                multi.close()

    def _refusal(self, transfer: Carried) -> TransferError | None:
        """Why a transfer that was started under former rules has to end; None if it may go on."""
        transfer.rules = self.rules
        handle = transfer.handle
        decision = check_request(transfer.request)
        # A proxy's address is the operator's choice.
        peer = handle.peer if handle is not None and not handle.proxied else None
        if decision.allowed and peer is not None:
            decision = check_peer(transfer.request, peer)
        if decision.allowed:
            return None
        detail = f"{decision.subject} {decision.reason}, by the rules of a reload"
        return TransferError(Condition.POLICY_VIOLATION, detail, error=ErrorName.POLICY_RELOADED)

    def close(self) -> None:
        """Cancel all transfers and close all connections."""
        for transfer in list(self._transfers.values()):
            self.remove(transfer)
        for multi in [*self._multis(), *self._retired]:
            multi.close()
        self._resolver.close()
        self._decoding.close()


def _uses_ipv6(options: TransportOptions) -> bool:
    return any(6 in settings.families for settings in options.connections.all())
