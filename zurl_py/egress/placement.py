"""Where a request goes: to a multi handle; or it has to wait, or fails.

`Placement.place` is the one function that decides. It changes nothing but caches; the engine
carries out its decisions.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass

from ..cache import remember
from ..zhttp import Condition
from .breaker import HostBreaker
from .carrier import Carried
from .errors import ErrorName, TransferError
from .multi import Multi
from .origins import FirstConnections, Origins
from .permission import check_peer
from .request import HttpRequest
from .resolver import Resolver
from .routes import Route, Routes
from .window import START, StreamBudget

__all__ = ["AwaitConnection", "AwaitLookUp", "AwaitMemory", "Place", "Placement", "connects_to"]


_LOOPBACK = ("127.0.0.1", "::1")
_MAX_DESTINATIONS = 4096


@dataclass(slots=True)
class AwaitLookUp:
    """Wait for the look-up of this name, then decide again."""

    name: str


@dataclass(slots=True)
class AwaitConnection:
    """Wait for a connection that another transfer is making, then decide again."""

    key: object


@dataclass(slots=True)
class AwaitMemory:
    """Wait until libcurl holds less for streams that share connections, then decide again."""


@dataclass(slots=True)
class Place:
    """Go to this multi handle.

    Attributes:
        first: key of the connection that others wait for until this transfer has it; None if
            others may not share it.
        http1: use HTTP/1.1, whatever the settings allow.
        spares_memory: HTTP/1.1 is used because streams hold too much memory.
        resolve: ``CURLOPT_RESOLVE`` entries.
        kept_only: names are too old: use a kept connection, open none.
    """

    route: Route
    multi: Multi
    resolve: list[str]
    kept_only: bool
    first: object
    http1: bool
    spares_memory: bool


class Placement:
    """Decides by the addresses of names and the state of multi handles."""

    def __init__(
        self,
        routes: Routes,
        resolver: Resolver[Carried],
        origins: Origins,
        firsts: FirstConnections[Carried],
        budget: StreamBudget,
        breaker: HostBreaker,
    ) -> None:
        self._routes = routes
        self._resolver = resolver
        self._origins = origins
        self._firsts = firsts
        self._budget = budget
        self._breaker = breaker

    def place(
        self, transfer: Carried, now: float
    ) -> Place | AwaitLookUp | AwaitConnection | AwaitMemory | TransferError:
        """Decide where a transfer goes.

        0. The circuit breaker of its host is open: it fails.
        1. The addresses of a name that it needs are not known, or are too old and there was no kept
           connection (5 was tried): it waits for a look-up.
        2. The look-up of a name failed, the policy allows none of its addresses, or it is larger
           than the one version carries that its origin speaks: it fails.
        3. There is no multi handle, and no descriptor for a new one: it fails.
        4. Another transfer is making a connection that it may share: it waits for that.
        5. Addresses are too old: it goes to its host's multi handle, but may only use a kept
           connection.
        6. It goes to its host's multi handle, or to another one if that is full.

        Where libcurl may hold no more memory for streams that share connections, it uses HTTP/1.1,
        or waits if its origin does not speak that.
        """
        request = transfer.request
        target = request.target
        route = self._routes.of(request)
        if self._breaker.most:
            seconds = self._breaker.open_for((target.host, target.port), now, transfer)
            if seconds:
                return _host_failing(target.host, seconds)  # 0
        kept_only = False
        destination = (
            target.scheme,
            target.host_header,
            request.connect_host,
            request.connect_port,
        )
        names = route.names.get(destination)
        if names is None:
            names = self._names(request, route)
            remember(route.names, destination, names, _MAX_DESTINATIONS)
        for name, _ in names:
            answer = self._resolver.known(name)
            if answer is None:
                return AwaitLookUp(name)  # 1
            if now >= answer.good_until and answer.made_at < transfer.names_since:
                if transfer.attempts or not answer.addresses:
                    return AwaitLookUp(name)  # 1
                kept_only = True
            elif not answer.addresses:
                return _not_resolved(name, answer.problem)  # 2
        login = None
        if request.headers.has_authorization or route.logins.known:
            login = route.logins.group(request, now)
        group = route.groups[request.privileged] if login is None else login
        multi = group.choose(request.connect_host or target.host)
        if multi is None:
            return _no_descriptors()  # 3
        first, http1, full = None, login is not None, False
        if target.scheme == "https":
            full = transfer.streamed and not self._budget.allows(START)
            if full and not self._origins.takes_http1((target.host, target.port)):
                if self._budget.used:
                    return AwaitMemory()
                full = False  # the budget is too small for one stream: one at a time is allowed
            if request.is_beyond_http2:
                if not self._origins.takes_http1((target.host, target.port)):
                    return _beyond_http2()  # 2
                http1 = True
            http1 = http1 or full
            if not (http1 or kept_only):
                first = self._first(request, route, multi)
                if first is not None and self._firsts.is_warm(first):
                    first = None
            if self._may_share(first, transfer, now):
                return AwaitConnection(first)  # 4
        resolve = self._resolve(request, route, multi, names) if names or route.checks_here else []
        if isinstance(resolve, TransferError):
            return resolve  # 2
        return Place(route, multi, resolve, kept_only, first, http1, full)  # 5, 6

    def _may_share(self, first: object, transfer: Carried, now: float) -> bool:
        """Whether another transfer is connecting, and this one may wait for its connection."""
        return (
            first is not None
            and self._firsts.leads(first)
            and (not transfer.share_until or now < transfer.share_until)
        )

    def _resolve(
        self, request: HttpRequest, route: Route, multi: Multi, names: list[tuple[str, int]]
    ) -> list[str] | TransferError:
        """The ``CURLOPT_RESOLVE`` entries; all names have been looked up."""
        if route.checks_here and is_loopback(connects_to(request)[0]):
            allowed = self._allowed(request, _LOOPBACK)
            if isinstance(allowed, TransferError):
                return allowed
        resolve: list[str] = []
        for name, port in names:
            answer = self._resolver.known(name)
            assert answer is not None
            addresses = answer.addresses
            if route.checks_here and (name, port) != route.proxy:
                allowed = self._allowed(request, addresses)
                if isinstance(allowed, TransferError):
                    return allowed
                addresses = allowed
            resolve += multi.addresses_to_tell(name, port, addresses)
        return resolve

    def _first(self, request: HttpRequest, route: Route, multi: Multi) -> object:
        """The key of a connection that transfers may share.

        None where the origin is not known to speak HTTP/2, and so none is shared.
        """
        target = request.target
        if (request.http_version or route.settings.http_version) == "1.1":
            return None
        if self._origins.version((target.host, target.port)) == 1:
            return None
        certificate = request.client_certificate
        return (
            id(multi),
            target.host,
            target.port,
            request.connect_host,
            request.connect_port,
            request.ignore_tls_errors,
            certificate.chain if certificate is not None else None,
        )

    def _allowed(
        self, request: HttpRequest, addresses: tuple[str, ...]
    ) -> tuple[str, ...] | TransferError:
        """The addresses that the policy allows; if there are none, the reason."""
        decisions = [(address, check_peer(request, address)) for address in addresses]
        allowed = tuple(address for address, decision in decisions if decision.allowed)
        if allowed:
            return allowed
        refused = decisions[0][1]
        detail = f"{request.target.host}: {refused.subject} {refused.reason}"
        return TransferError.from_decision(refused, detail)

    def _names(self, request: HttpRequest, route: Route) -> list[tuple[str, int]]:
        """Names, with ports, whose addresses libcurl needs."""
        names = []
        if route.proxy is not None and needs_look_up(route.proxy[0]):
            names.append(route.proxy)
        if route.resolves_here:
            host, port = connects_to(request)
            if needs_look_up(host):
                names.append((host, port))
        return names


def needs_look_up(host: str) -> bool:
    """Whether a host is a name to look up, not an address."""
    if ":" in host:
        return False
    if host[-1:].isdigit():  # a name may end with a digit as well
        try:
            socket.inet_pton(socket.AF_INET, host)
        except OSError:
            return True
        return False
    return not is_loopback(host)


def is_loopback(host: str) -> bool:
    """Whether libcurl resolves a name to this host without a look-up (RFC 6761 section 6.3)."""
    return host == "localhost" or host.endswith(".localhost")


def connects_to(request: HttpRequest) -> tuple[str, int]:
    """Host and port of the connection, as libcurl spells them."""
    target = request.target
    port = request.connect_port or target.port
    if request.connect_host is not None:
        return request.connect_host, port
    # libcurl keeps a dot at the end of the URL's host.
    header = target.host_header
    if header[-1:] == b"." or b".:" in header:
        return target.host + ".", port
    return target.host, port


def _not_resolved(name: str, problem: str) -> TransferError:
    return TransferError(
        Condition.REMOTE_CONNECTION_FAILED,
        f"Could not resolve host: {name}: {problem}",
        error=ErrorName.NAME_NOT_RESOLVED,
    )


def _host_failing(host: str, seconds: float) -> TransferError:
    return TransferError(
        Condition.REMOTE_CONNECTION_FAILED,
        f"{host} has failed max_host_errors times in a row; it is tried again in {seconds:.0f} s",
        error=ErrorName.HOST_FAILING,
    )


def _beyond_http2() -> TransferError:
    detail = "headers and URI are larger than HTTP/2 can carry, and the origin speaks nothing else"
    return TransferError(Condition.BAD_REQUEST, detail)


def _no_descriptors() -> TransferError:
    return TransferError(
        Condition.REMOTE_CONNECTION_FAILED,
        "no file descriptor is left: raise LimitNOFILE, or lower max_open_requests",
    )
