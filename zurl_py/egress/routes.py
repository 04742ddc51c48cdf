"""Routes: handles and connections for the same settings, and the route of a request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from ..cache import remember
from ..url import Target
from .handles import HandlePool
from .logins import Logins
from .multi import Multi
from .multi_group import MultiGroup
from .request import HttpRequest
from .settings import ConnectionSettings, HostSettings

__all__ = ["Route", "Routes"]

_MAX_CHOSEN = 16_384

DestinationKey = tuple[str, bytes, str | None, int | None]
"""Scheme, Host, connect host and connect port of a request."""


class Route:
    """Handles and connections with the same `ConnectionSettings`.

    Attributes:
        settings: of its connections.
        handles: easy handles that are prepared for the settings.
        groups: multi handles for requests without and with the privilege ignore-policies.
        proxy: host and port of the proxy; None where there is none.
        resolves_here: libcurl needs the origin's addresses.
        checks_here: the policy checks addresses before libcurl is given them.
        logins: connections that workers have authenticated.
        names: a cache of the names to look up, by destination.
    """

    __slots__ = (
        "checks_here",
        "groups",
        "handles",
        "logins",
        "names",
        "proxy",
        "resolves_here",
        "settings",
    )

    def __init__(
        self,
        settings: ConnectionSettings,
        handles: HandlePool,
        make_multi: Callable[[], Multi],
        retire: Callable[[MultiGroup], None],
    ) -> None:
        self.settings = settings
        self.handles = handles
        single = settings.max_connections > 0
        self.groups = (MultiGroup(make_multi, single), MultiGroup(make_multi, single))
        self.logins = Logins(make_multi, retire)
        self.names: dict[DestinationKey, list[tuple[str, int]]] = {}
        self.proxy: tuple[str, int] | None = None
        # A socks5 proxy is given addresses, all others names. Our socket leads to the proxy, so
        # CURLOPT_OPENSOCKETFUNCTION does not see the origin's address.
        self.checks_here = settings.proxy.startswith("socks5:")
        self.resolves_here = not settings.proxy or self.checks_here
        if settings.proxy:
            parts = urlsplit(settings.proxy)
            assert parts.hostname is not None
            assert parts.port is not None
            self.proxy = (parts.hostname, parts.port)

    def __repr__(self) -> str:
        return f"<Route {self.settings!r}>"

    def all_groups(self) -> Iterator[MultiGroup]:
        """All groups of multi handles."""
        yield from self.groups
        yield from self.logins.groups()


class Routes:
    """All routes, by their settings.

    Args:
        make: makes the route for some settings.

    Attributes:
        default: the route of requests for which there is no section.
    """

    def __init__(self, settings: HostSettings, make: Callable[[ConnectionSettings], Route]) -> None:
        self._make = make
        self._routes: dict[ConnectionSettings, Route] = {}
        self._chosen: dict[tuple[str, str, int], Route] = {}
        self._settings = settings
        self._uniform = settings.uniform
        self._timeout = settings.common_timeout
        self.default = self._of(settings.default)

    def of(self, request: HttpRequest) -> Route:
        """The route of a request, by the host of its URI, also where it connects elsewhere."""
        if self._uniform:
            return self.default
        origin = request.target.origin
        route = self._chosen.get(origin)
        if route is None:
            scheme, host, port = origin
            route = self._of(self._settings.of(host, port, scheme))
            remember(self._chosen, origin, route, _MAX_CHOSEN)
        return route

    def serves(self, route: Route, origin: tuple[str, str, int]) -> bool:
        """Whether requests to an origin take this route."""
        scheme, host, port = origin
        return route.settings == self._settings.of(host, port, scheme)

    def timeout_of(self, target: Target) -> float:
        """Seconds without activity until a session ends."""
        if self._timeout is not None:
            return self._timeout
        return self._settings.timeout_of(*target.origin)

    def _of(self, settings: ConnectionSettings) -> Route:
        route = self._routes.get(settings)
        if route is None:
            route = self._routes[settings] = self._make(settings)
        return route

    def change(self, settings: HostSettings) -> list[Route]:
        """Apply other settings. Routes whose settings stay the same are kept.

        Returns:
            The other routes, which are not used any more.
        """
        before, self._routes = self._routes, {}
        self._chosen.clear()
        self._settings = settings
        self._uniform = settings.uniform
        self._timeout = settings.common_timeout
        for wanted in settings.all():
            if wanted in before:
                self._routes[wanted] = before.pop(wanted)
        self.default = self._of(settings.default)
        return list(before.values())

    def groups(self) -> Iterator[MultiGroup]:
        """The groups of multi handles of all routes."""
        for route in self._routes.values():
            yield from route.all_groups()

    def all(self) -> list[Route]:
        """All routes."""
        return list(self._routes.values())
