"""The pages of the status listener, one for each path."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import parse_qs

import msgspec

from ..metrics import OPENMETRICS, TEXT, Family, render

__all__ = ["MONITOR_PATH", "Page", "Pages", "not_allowed", "not_found", "too_long"]

MONITOR_PATH = "/monitor"
"""The path of the stream of outcomes, which is no `Page`."""

_PLAIN = "text/plain; charset=utf-8"
_JSON = "application/json"
_INDEX = """\
zurl_py

/metrics   for Prometheus, or OpenMetrics
/healthz   200 while requests are taken, else 503
/status    what the daemon is doing, as JSON
/monitor   every outcome as it comes, one JSON object a line
"""


@dataclass(frozen=True, slots=True)
class Page:
    """A complete response."""

    status: int
    content_type: str
    body: bytes
    headers: tuple[str, ...] = ()


class HasFamilies(Protocol):
    """The metrics of a process."""

    def families(self) -> Iterable[Family]:
        """All families, with their current values."""


class Pages:
    """All pages but the stream of outcomes.

    Args:
        metrics: for ``/metrics``.
        unhealthy_reason: for ``/healthz``: why the daemon is not healthy; "" if it is.
        status: for ``/status``.
    """

    def __init__(
        self,
        metrics: HasFamilies,
        unhealthy_reason: Callable[[], str],
        status: Callable[[], Mapping[str, object]],
    ) -> None:
        self._metrics = metrics
        self._unhealthy_reason = unhealthy_reason
        self._status = status

    def get(self, path: str, accept: str) -> Page:
        """The page for a path.

        Args:
            accept: value of the request's Accept, or "".
        """
        if path == "/metrics":
            kind = OPENMETRICS if _wants_openmetrics(accept) else TEXT
            return Page(200, kind, render(self._metrics.families(), kind))
        if path == "/healthz":
            reason = self._unhealthy_reason()
            return Page(503 if reason else 200, _PLAIN, f"{reason or 'ok'}\n".encode())
        if path == "/status":
            return Page(200, _JSON, msgspec.json.encode(self._status()) + b"\n")
        if path == "/":
            return Page(200, _PLAIN, _INDEX.encode())
        return not_found(path)


def _wants_openmetrics(accept: str) -> bool:
    """Whether OpenMetrics 1.0 is accepted, and preferred to the text format or equal to it.

    Prometheus lists the formats that it reads, with a quality for each (RFC 9110 section 12.5.1).
    """
    quality = {"openmetrics": 0.0, "text": 0.0}
    for item in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in item.split(";"))
        found = dict(part.partition("=")[::2] for part in parameters)
        try:
            q = float(found.get("q", "1"))
        except ValueError:
            q = 0.0
        if kind == "application/openmetrics-text" and found.get("version", "1.0.0") == "1.0.0":
            quality["openmetrics"] = max(quality["openmetrics"], q)
        elif kind == "text/plain":
            quality["text"] = max(quality["text"], q)
    return quality["openmetrics"] > 0 and quality["openmetrics"] >= quality["text"]


def query_of(target: str) -> tuple[str, dict[str, str]]:
    """Path and query of a request target; the last value of a name counts."""
    path, _, query = target.partition("?")
    found = parse_qs(query, keep_blank_values=True, max_num_fields=20)
    return path, {name: values[-1] for name, values in found.items()}


def not_found(path: str) -> Page:
    """The response for an unknown path."""
    return Page(404, _PLAIN, f"no such page\n\n{_INDEX}".encode())


def not_allowed(method: str) -> Page:
    """The response for a method other than GET and HEAD."""
    return Page(405, _PLAIN, b"only GET and HEAD are possible here\n", ("Allow: GET, HEAD",))


def bad_request(why: str) -> Page:
    """The response for a request that is no HTTP."""
    return Page(400, _PLAIN, f"{why}\n".encode())


def too_long() -> Page:
    """The response for a head that is too long."""
    return Page(431, _PLAIN, b"the head of the request is too long: 8192 bytes at most\n")
