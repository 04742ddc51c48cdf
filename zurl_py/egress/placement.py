"""Where a request goes: into which multi handle, or why it has to wait, or that it must not go.

`Placement.place` is the one function that decides, and it changes nothing but caches; the engine
carries its decisions out.
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

__all__ = ["LookUp", "NoRoom", "Place", "Placement", "Share", "connects_to"]


_LOOPBACK = ("127.0.0.1", "::1")
# Bytes of a request's fields that go by HTTP/2: nghttp2 sends 64 KiB at most, HTTP/1.1 more.
_HTTP2_HEADERS = 60_000
_MAX_WAYS = 4096


@dataclass(slots=True)
class LookUp:
    """Wait for this name to be looked up, then ask again."""

    name: str


@dataclass(slots=True)
class Share:
    """Wait for the connection that another is making, then ask again."""

    key: object


@dataclass(slots=True)
class NoRoom:
    """Wait until libcurl holds less for streams that share connections, then ask again."""


@dataclass(slots=True)
class Place:
    """Go there.

    Attributes:
        first: what others wait for until this transfer has a connection; None if nobody may.
        http1: by HTTP/1.1, whatever the settings allow.
        spares_memory: that is so because streams hold too much already.
        resolve: what libcurl has to be told of names (``CURLOPT_RESOLVE``).
        kept_only: names are too old: use a connection that is there, open none.
    """

    route: Route
    multi: Multi
    resolve: list[str]
    kept_only: bool
    first: object
    http1: bool
    spares_memory: bool


class Placement:
    """Decides by what is known of names and multi handles."""

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
    ) -> Place | LookUp | Share | NoRoom | TransferError:
        """Where a transfer goes.

        0. Its host has failed too often of late: it fails at once.
        1. A name that it needs was never found, or too long ago and there is no connection from
           then (5 was tried): it waits for a look-up.
        2. A name was looked up for it, in vain, or the policy allows none of its addresses: it
           fails.
        3. No multi handle is there, and no descriptor for one: it fails.
        4. Somebody is making a connection that it may be able to share: it waits for that.
        5. Names are too old: it goes to its host's multi handle, but only onto a kept connection.
        6. It goes to its host's multi handle, or beside it if that is full.

        Where libcurl may hold no more for streams that share connections, it goes by HTTP/1.1, or
        waits if its origin does not speak that.
        """
        request = transfer.request
        target = request.target
        route = self._routes.of(request)
        if self._breaker.most:
            rest = self._breaker.rests((target.host, target.port), now, transfer)
            if rest:
                return _host_failing(target.host, rest)  # 0
        kept_only = False
        way = (target.scheme, target.host_header, request.connect_host, request.connect_port)
        names = route.names.get(way)
        if names is None:
            names = self._names(request, route)
            remember(route.names, way, names, _MAX_WAYS)
        for name, _ in names:
            answer = self._resolver.known(name)
            if answer is None:
                return LookUp(name)  # 1
            if now >= answer.good_until and answer.made_at < transfer.names_since:
                if transfer.attempts or not answer.addresses:
                    return LookUp(name)  # 1
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
                return NoRoom()
            http1 = http1 or full or request.headers.size > _HTTP2_HEADERS
            if not (http1 or kept_only):
                first = self._first(request, route, multi)
                if first is not None and self._firsts.is_warm(first):
                    first = None
            if self._may_share(first, transfer, now):
                return Share(first)  # 4
        resolve = self._resolve(request, route, multi, names) if names or route.checks_here else []
        if isinstance(resolve, TransferError):
            return resolve  # 2
        return Place(route, multi, resolve, kept_only, first, http1, full)  # 5, 6

    def _may_share(self, first: object, transfer: Carried, now: float) -> bool:
        """Whether somebody is connecting for others, and the transfer may wait for that."""
        return (
            first is not None
            and self._firsts.leads(first)
            and (not transfer.patience or now < transfer.patience)
        )

    def _resolve(
        self, request: HttpRequest, route: Route, multi: Multi, names: list[tuple[str, int]]
    ) -> list[str] | TransferError:
        """What libcurl has to be told of names, all of which are known."""
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
        """What a connection for this transfer would have in common with others that may share it.

        None where the origin does not speak HTTP/2, as far as is known.
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
        """The addresses that the policy allows; why there are none, otherwise."""
        decisions = [(address, check_peer(request, address)) for address in addresses]
        allowed = tuple(address for address, decision in decisions if decision.allowed)
        if allowed:
            return allowed
        refused = decisions[0][1]
        detail = f"{request.target.host}: {refused.subject} {refused.reason}"
        return TransferError.from_decision(refused, detail)

    def _names(self, request: HttpRequest, route: Route) -> list[tuple[str, int]]:
        """Names, with ports, whose addresses libcurl will ask for."""
        names = []
        if route.proxy is not None and needs_look_up(route.proxy[0]):
            names.append(route.proxy)
        if route.resolves_here:
            host, port = connects_to(request)
            if needs_look_up(host):
                names.append((host, port))
        return names


def needs_look_up(host: str) -> bool:
    """Whether a host is a name that has to be looked up, and no address."""
    if ":" in host:
        return False
    if host[-1:].isdigit():  # so may a name end
        try:
            socket.inet_pton(socket.AF_INET, host)
        except OSError:
            return True
        return False
    return not is_loopback(host)


def is_loopback(host: str) -> bool:
    """Whether libcurl knows that a name is this host, whatever the system says (RFC 6761, 6.3)."""
    return host == "localhost" or host.endswith(".localhost")


def connects_to(request: HttpRequest) -> tuple[str, int]:
    """Host and port that the connection is made to, as libcurl knows them."""
    target = request.target
    port = request.connect_port or target.port
    if request.connect_host is not None:
        return request.connect_host, port
    # Where the URL has a dot at the end of its host, libcurl's name for it has one, too.
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


def _host_failing(host: str, rest: float) -> TransferError:
    return TransferError(
        Condition.REMOTE_CONNECTION_FAILED,
        f"{host} has failed max_host_errors times in a row; it is tried again in {rest:.0f} s",
        error=ErrorName.HOST_FAILING,
    )


def _no_descriptors() -> TransferError:
    return TransferError(
        Condition.REMOTE_CONNECTION_FAILED,
        "no file descriptor is left: raise LimitNOFILE, or lower max_open_requests",
    )
