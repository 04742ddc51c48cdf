"""The egress: multi handles, easy handles and the transfers that run on them."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Callable, Iterator
from typing import Protocol

import pycurl

from ..log import Log
from ..loop import Loop
from ..zhttp import Condition
from .errors import TransferError
from .handles import EasyHandle, HandlePool, TransportOptions
from .multi import DNS_CACHE_SECONDS, Multi
from .permission import check_peer, check_request
from .trace import make_trace
from .transfer import HttpTransfer

__all__ = ["Egress"]

# libcurl searches all connections of a host at every request, and its other lists grow too: with
# 8,000 requests open on one multi handle a small one costs five times as much.
_TRANSFERS_PER_MULTI = 256
# An idle connection costs a descriptor, and some 50 kB with TLS.
_MAX_IDLE_CONNECTIONS = 16_384
# Many hosts make long chains in the hash tables of libcurl's connection pool and DNS cache, which
# do not grow. So each host has its home among a few; its connections and TLS sessions are there.
_HOMES = 8


class _MultiGroup:
    """Multi handles that may share connections: those of one trust class.

    libcurl's connection pool knows nothing of the policy. A connection opened under
    ignore-policies lives in another group than those of requests without that privilege.
    """

    def __init__(
        self,
        loop: Loop,
        due: list[Multi],
        finished: list[Multi],
        grown: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._due = due
        self._finished = finished
        self._grown = grown  # called when there is one more
        self.multis: list[Multi] = []
        self._homes: list[Multi | None] = [None] * _HOMES
        self._overflow: Multi | None = None

    def choose(self, host: str) -> Multi:
        """The multi handle for the next transfer to a host: the host's own, until that is full."""
        home = hash(host) % _HOMES
        multi = self._homes[home]
        if multi is None:
            multi = self._homes[home] = self._add()
        if multi.active < _TRANSFERS_PER_MULTI:
            return multi
        multi = self._overflow
        if multi is None or multi.active >= _TRANSFERS_PER_MULTI:
            multi = min(self.multis, key=lambda multi: multi.active)
            if multi.active > _TRANSFERS_PER_MULTI // 2:
                multi = self._add()
            self._overflow = multi
        return multi

    def _add(self) -> Multi:
        multi = Multi(self._loop, self._due, self._finished)
        self.multis.append(multi)
        self._grown()
        return multi

    def drop(self, multi: Multi) -> None:
        """Take out a multi handle that is of no use any more."""
        if multi in self.multis:
            self.multis.remove(multi)
        if self._overflow is multi:
            self._overflow = None
        self._homes = [None if home is multi else home for home in self._homes]


class Mover(Protocol):
    """Something that has news for its session, told from the loop's turn."""

    def moved(self) -> None: ...


class Egress:
    """Runs transfers.

    Attributes:
        max_response_size: bytes of an answer that is collected; 0 is unlimited.
        moved: streamed transfers that have something to tell; told in the next ``turn``.
        rules: how often the rules of the policy have changed.
    """

    def __init__(self, loop: Loop, options: TransportOptions, log: Log) -> None:
        self._loop = loop
        self._log = log
        self._trace = make_trace(log.debug)
        self.max_response_size = options.max_response_size
        self._resolved: list[EasyHandle] = []
        self._pool = HandlePool(options, self._resolved)
        self._due: list[Multi] = []
        self._finished: list[Multi] = []
        self._groups = tuple(
            _MultiGroup(loop, self._due, self._finished, self._share_connections) for _ in range(2)
        )
        self._transfers: dict[pycurl.Curl, HttpTransfer] = {}
        self._stillborn: list[tuple[HttpTransfer, TransferError]] = []
        self._closed = False
        self._proxied = bool(options.proxy)
        self.moved: list[Mover] = []
        self.rules = 0

    def __len__(self) -> int:
        return len(self._transfers)

    def _share_connections(self) -> None:
        """Share out how many connections may be kept idle among the multi handles."""
        multis = [multi for group in self._groups for multi in group.multis]
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = min(_MAX_IDLE_CONNECTIONS, descriptors * 3 // 4)
        for multi in multis:
            multi.limit_connections(max(1, most // len(multis)))

    def add(self, transfer: HttpTransfer) -> None:
        """Start a transfer, or its next hop."""
        if not self._may_go(transfer):
            return
        request = transfer.request
        name = request.connect_host or request.target.host
        multi = self._groups[request.privileged].choose(name)
        if multi.names.must_wait(name, transfer, self._loop.now):
            transfer.waits_for = (multi.names, name)
            return
        if not self._launch(transfer, multi) and transfer.resolves is not None:
            self._open_gate(transfer, multi, None)

    def _may_go(self, transfer: HttpTransfer) -> bool:
        """Whether the rules still let a transfer go; it is told later if not."""
        refused = self._refusal(transfer) if transfer.rules != self.rules else None
        if refused is not None:
            self._stillborn.append((transfer, refused))
        return refused is None

    def _launch(self, transfer: HttpTransfer, multi: Multi) -> bool:
        """Give a transfer to libcurl; if that does not take it, it is told later."""
        handle = self._pool.take()
        try:
            transfer.prepare(handle)
            self._prepare_shared(handle, multi)
        except (pycurl.error, ValueError, OverflowError) as error:
            # An option that libcurl does not take: reported later, as callers expect.
            self._pool.give_back(handle)
            failure = TransferError(Condition.BAD_REQUEST, f"libcurl does not take it: {error}")
            self._stillborn.append((transfer, failure))
            return False
        handle.gated = transfer.resolves is not None
        multi.add(handle.curl)
        transfer.handle = handle
        transfer.multi = multi
        self._transfers[handle.curl] = transfer
        return True

    def enforce(self) -> None:
        """The rules of the policy have changed: end what they do not let pass any more."""
        self.rules += 1
        for transfer in list(self._transfers.values()):
            refused = self._refusal(transfer)
            if refused is not None:
                self.report(transfer, transfer.fail, refused)

    def _refusal(self, transfer: HttpTransfer) -> TransferError | None:
        """Why a transfer that was started under other rules has to end; None if it may go on."""
        transfer.rules = self.rules
        handle = transfer.handle
        decision = check_request(transfer.request)
        # A proxy's address is the operator's choice.
        peer = handle.peer if handle is not None and not self._proxied else None
        if decision.allowed and peer is not None:
            decision = check_peer(transfer.request, peer)
        if decision.allowed:
            return None
        detail = f"{decision.subject} {decision.reason}, by rules that came meanwhile"
        return TransferError.from_decision(decision, detail)

    def _prepare_shared(self, handle: EasyHandle, multi: Multi) -> None:
        if multi.must_age_names(self._loop.now):
            handle.set(pycurl.DNS_CACHE_TIMEOUT, DNS_CACHE_SECONDS)
        if self._log.debug_on:
            handle.set(pycurl.VERBOSE, 1)
            handle.set(pycurl.DEBUGFUNCTION, self._trace)

    def remove(self, transfer: HttpTransfer) -> None:
        """Take a transfer out of libcurl, finished or not; harmless if it is out."""
        if transfer.waits_for is not None:
            names, name = transfer.waits_for
            transfer.waits_for = None
            names.forget(name, transfer)
            return
        handle, multi = transfer.handle, transfer.multi
        if handle is None or multi is None:
            return
        transfer.handle = transfer.multi = None
        del self._transfers[handle.curl]
        try:
            multi.remove(handle.curl)
            self._pool.give_back(handle)
        except pycurl.error as error:  # a broken multi handle keeps it: it is of no use any more
            self._log.error(f"libcurl keeps a handle: {error}")
        if transfer.resolves is not None and not self._closed:
            self._open_gate(transfer, multi, None)

    def _open_gate(self, transfer: HttpTransfer, multi: Multi, known_at: float | None) -> None:
        """Let those go that waited for the name which this transfer looked up."""
        name, transfer.resolves = transfer.resolves, None
        assert name is not None
        if known_at is not None or multi.broken is not None:
            for waiting in multi.names.opened(name, known_at):
                waiting.waits_for = None
                self.add(waiting)
            return
        while (successor := multi.names.pass_on(name)) is not None:
            successor.waits_for = None
            if self._may_go(successor) and self._launch(successor, multi):
                return
            successor.resolves = None

    def _fail_waiting(self, transfer: HttpTransfer, multi: Multi, message: str) -> None:
        """A name cannot be resolved: those that waited for it need not all try again."""
        name, transfer.resolves = transfer.resolves, None
        if name is not None:
            failure = TransferError.from_curl(pycurl.E_COULDNT_RESOLVE_HOST, message)
            for waiting in multi.names.opened(name, None):
                waiting.waits_for = None
                self._stillborn.append((waiting, failure))

    def turn(self) -> None:
        """Do what libcurl wants done now and report what ended or moved."""
        if self._due:
            self.kick()
        while self._resolved:
            waited_for = self._transfers.get(self._resolved.pop().curl)
            if waited_for is not None and waited_for.resolves is not None:
                assert waited_for.multi is not None
                self._open_gate(waited_for, waited_for.multi, self._loop.now)
        while self._finished:
            multi = self._finished.pop()
            for transfer, curl, code, message in list(self._results(multi)):
                # Gone if a report before it in this batch cancelled it.
                if transfer.handle is not None and transfer.handle.curl is curl:
                    if code == pycurl.E_COULDNT_RESOLVE_HOST:
                        self._fail_waiting(transfer, multi, message)
                    self.report(transfer, transfer.ended, code, message)
            if multi.broken is not None:
                self._abandon(multi)
        while self._stillborn:
            transfer, failure = self._stillborn.pop()
            self.report(transfer, transfer.fail, failure)
        if self.moved:
            moved, self.moved = self.moved, []
            for mover in moved:
                self.report(mover, mover.moved)

    def report(self, news: Mover | HttpTransfer, tell: Callable[..., None], *about: object) -> None:
        """Tell a session; a bug of ours in it ends that session, and no other."""
        try:
            tell(*about)
        except Exception:
            self._log.exception("a report could not be handled")
            if isinstance(news, HttpTransfer):
                self.remove(news)
                with contextlib.suppress(Exception):
                    news.fail(
                        TransferError(Condition.UNDEFINED_CONDITION, "an error of the gateway")
                    )

    @property
    def has_work(self) -> bool:
        """There is more to do without waiting for an event."""
        return bool(self._due or self._finished or self.moved or self._stillborn or self._resolved)

    def kick(self) -> None:
        """Let libcurl start what was added and do what is due."""
        due = self._due
        if due:
            now, due[:] = due[:], []
            for multi in now:
                multi.kick()

    def close(self) -> None:
        """Cancel all transfers and close all connections."""
        self._closed = True
        for transfer in list(self._transfers.values()):
            self.remove(transfer)
        for group in self._groups:
            for multi in group.multis:
                multi.close()

    def _results(self, multi: Multi) -> Iterator[tuple[HttpTransfer, pycurl.Curl, int, str]]:
        for curl, code, message in multi.results():
            transfer = self._transfers.get(curl)
            if transfer is not None:
                yield transfer, curl, code, message

    def _abandon(self, multi: Multi) -> None:
        """End all transfers of a multi handle that failed, and never use it again."""
        self._log.error(f"libcurl failed: {multi.broken}; ending {multi.active} transfers")
        for group in self._groups:
            group.drop(multi)
        for transfer in [t for t in self._transfers.values() if t.multi is multi]:
            failure = TransferError(Condition.UNDEFINED_CONDITION, f"libcurl: {multi.broken}")
            self.report(transfer, transfer.fail, failure)
        multi.close()
