"""``-w``: curl's variables, after the request."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from ..client import Response

__all__ = ["Outcome", "write_out"]


@dataclass(slots=True)
class Outcome:
    """The outcome of a request.

    Attributes:
        method, url: of the request.
        response: the answer, if there was one.
        downloaded, uploaded: bytes of bodies.
        seconds: its duration.
        exit_code: of the command.
        error: why it failed, or "".
        timing: phases in microseconds, measured by the gateway.
    """

    method: str
    url: str
    response: Response | None = None
    downloaded: int = 0
    uploaded: int = 0
    seconds: float = 0.0
    exit_code: int = 0
    error: str = ""
    timing: dict[str, Any] = field(default_factory=dict)

    @property
    def code(self) -> int:
        """The status code; 0 if there was no answer."""
        return self.response.status_code if self.response is not None else 0

    def header(self, name: str) -> str:
        """A header of the answer, or ""."""
        return self.response.headers.get(name, "") if self.response is not None else ""

    def until(self, *phases: str) -> float:
        """Seconds from the start to the end of the last of these phases."""
        return sum(float(self.timing.get(phase, 0)) for phase in phases) / 1e6


_VARIABLES: Final[dict[str, Callable[[Outcome], object]]] = {
    "content_type": lambda o: o.header("content-type"),
    "errormsg": lambda o: o.error,
    "exitcode": lambda o: o.exit_code,
    "http_code": lambda o: f"{o.code:03}",
    "http_version": lambda o: str(o.timing.get("http-version", "0")),
    "method": lambda o: o.method,
    "num_redirects": lambda o: len(o.response.history) if o.response is not None else 0,
    "redirect_url": lambda o: o.header("location"),
    "remote_ip": lambda o: str(o.timing.get("address", "")),
    "response_code": lambda o: f"{o.code:03}",
    "scheme": lambda o: o.url.partition(":")[0].lower(),
    "size_download": lambda o: o.downloaded,
    "size_upload": lambda o: o.uploaded,
    "speed_download": lambda o: int(o.downloaded / o.seconds) if o.seconds else 0,
    "speed_upload": lambda o: int(o.uploaded / o.seconds) if o.seconds else 0,
    "time_appconnect": lambda o: f"{o.until('resolve', 'connect', 'tls'):.6f}",
    "time_connect": lambda o: f"{o.until('resolve', 'connect'):.6f}",
    "time_namelookup": lambda o: f"{o.until('resolve'):.6f}",
    "time_starttransfer": lambda o: f"{o.until('resolve', 'connect', 'tls', 'first-byte'):.6f}",
    "time_total": lambda o: f"{o.seconds:.6f}",
    "url": lambda o: o.url,
    "url_effective": lambda o: o.response.url if o.response is not None else o.url,
}
_NUMBERS: Final = re.compile(r"(?:size|speed|time|num)_|exitcode|.*_code")
_TOKEN: Final = re.compile(r"%%|%\{([^}]*)\}|\\([nrt])")
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t"}


def write_out(format: str, outcome: Outcome) -> list[tuple[bool, str]]:
    """The output for a format, in pieces: whether it goes to standard error, and the text.

    An unknown variable is empty, as with curl.
    """
    pieces: list[tuple[bool, str]] = []
    to_stderr = False
    at = 0
    for found in _TOKEN.finditer(format):
        pieces.append((to_stderr, format[at : found.start()]))
        at = found.end()
        name, escape = found.groups()
        if name in ("stdout", "stderr"):
            to_stderr = name == "stderr"
        elif found.group() == "%%":
            pieces.append((to_stderr, "%"))
        elif escape:
            pieces.append((to_stderr, _ESCAPES[escape]))
        else:
            pieces.append((to_stderr, _variable(name, outcome)))
    pieces.append((to_stderr, format[at:]))
    return [piece for piece in pieces if piece[1]]


def _variable(name: str, outcome: Outcome) -> str:
    if name == "json":
        values = {key: _plain(key, make(outcome)) for key, make in sorted(_VARIABLES.items())}
        return json.dumps(values)
    if name == "header_json":
        headers: dict[str, list[str]] = {}
        for key, value in outcome.response.headers.raw if outcome.response is not None else ():
            headers.setdefault(key.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        return json.dumps(headers)
    make = _VARIABLES.get(name)
    return str(make(outcome)) if make is not None else ""


def _plain(key: str, value: object) -> object:
    if isinstance(value, str) and _NUMBERS.match(key):
        return float(value) if "." in value else int(value)
    return value
