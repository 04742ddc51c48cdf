"""The journal: start and outcome of each request, for the log, the metrics and monitors.

Sessions and the gateway report to it, once. Lines are formatted later, in the log's thread: here a
request costs two entries in a queue.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from typing import Final

from .log import DEBUG, INFO, WARNING, Kind, Log
from .loop import Loop, Timer
from .metrics import CLOSE_CODES, SCHEMES, Metrics, outcome_of
from .repeats import Repeats

__all__ = [
    "PUSH",
    "REQUEST",
    "STREAM",
    "Account",
    "Journal",
    "account_fields",
    "account_text",
    "shown_url",
]

REQUEST, STREAM, PUSH = range(3)  # places in metrics.INTERFACES
_INTERFACE_NAMES: Final = ("request", "stream", "push")

_SUM_INTERVAL = 5.0  # seconds between two sums of repeated events
_MAX_SHOWN = 200  # characters of one field of a worker in a line
_MAX_URL = 2000  # characters
_MAX_MISSPELT = 100  # fields that are warned of; fewer are known

_METHODS: Final = {
    name.encode(): name for name in ("GET", "POST", "PUT", "HEAD", "DELETE", "PATCH", "OPTIONS")
}
_SCHEME_NUMBER: Final = {scheme: number for number, scheme in enumerate(SCHEMES)}

# A URI that may be malformed: scheme; user, password, host and port.
_URI = re.compile(rb"([A-Za-z][A-Za-z0-9+.-]{0,31})://([^/?#\\]*)")
_HOST_AND_PORT = re.compile(rb"(\[[0-9A-Fa-f:.]*\]|[^][:]*)(?::[0-9]*)?")

# https://www.w3.org/TR/trace-context/#traceparent-header-field-values
_TRACEPARENT = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?"
)


class Account:
    """One request, from its first packet to its outcome.

    Attributes:
        session: its short number, in both of its log lines.
        id, sender: the worker's ``id`` and ``from``; None if it sent none.
        interface: ``REQUEST``, ``STREAM`` or ``PUSH``.
        method: "-" if there is none.
        url: without user and password, and without its query unless ``log_query`` is set.
        scheme: index in ``metrics.SCHEMES``.
        host: in lower case; "" if the URL is invalid.
        trace_id: from its ``traceparent``; "" without one.
        quiet: the worker's field ``quiet``: the request is logged at debug.
        began: start, in seconds on the loop's clock.
        outcome: one of ``metrics.OUTCOMES``; "" while it is open.
        code: status or close code; None if there is none.
        http_version: of the answer, once its head was sent to the worker: "1.1", "2" or "3"; ""
            for WebSockets.
        error, detail: stable name of the error, and a description for the operator.
        seconds: from first packet to final answer.
        size: bytes of body sent to the worker.
    """

    __slots__ = (
        *("began", "code", "detail", "error", "host", "http_version", "id", "interface", "method"),
        *("outcome", "quiet", "scheme", "seconds", "sender", "session", "size", "trace_id", "url"),
    )

    def __init__(
        self,
        session: int,
        interface: int,
        id: bytes | None,
        sender: bytes | None,
        began: float,
        quiet: bool = False,
    ) -> None:
        self.session = session
        self.interface = interface
        self.id = id
        self.sender = sender
        self.began = began
        self.quiet = quiet
        self.method = "-"
        self.url = "-"
        self.scheme = 0
        self.host = ""
        self.trace_id = ""
        self.outcome = ""
        self.code: int | None = None
        self.http_version = ""
        self.error = ""
        self.detail = ""
        self.seconds = 0.0
        self.size = 0

    def __repr__(self) -> str:
        return f"<Account {self.session} {self.method} {self.url} {self.outcome or 'open'}>"

    @property
    def failed(self) -> bool:
        """It ended with an error."""
        return self.code is None and bool(self.error)


class Journal:
    """Keeps the accounts.

    Args:
        log_query: URLs are logged with their query.

    Attributes:
        accepted: number of sessions that began.
        answered: number of sessions that ended, each with one outcome.
        metrics: the counters.
        watchers: called with every account that is closed.
    """

    def __init__(self, log: Log, metrics: Metrics, loop: Loop, log_query: bool = False) -> None:
        self._log = log
        self.metrics = metrics
        self._loop = loop
        self.log_query = log_query
        self.accepted = 0
        self.answered = 0
        self.watchers: list[Callable[[Account], None]] = []
        self._failures: Repeats[tuple[str, str, str]] = Repeats(("any", "any", ""))
        self._refusals: Repeats[tuple[str, str]] = Repeats(("any socket", "any reason"))
        self._reports: Repeats[tuple[str, str]] = Repeats(("any rule", "any name"))
        self._misspelt: set[str] = set()
        self._sum_timer = Timer(self.log_sums)
        self._sums_scheduled = False

    def __repr__(self) -> str:
        return f"<Journal accepted={self.accepted} answered={self.answered}>"

    # -- requests ------------------------------------------------------------------------------

    def open(
        self,
        interface: int,
        id: bytes | None,
        sender: bytes | None,
        arrived: float,
        quiet: bool = False,
    ) -> Account:
        """Open the account of a session; ``began`` or ``refused_uri`` adds its request.

        Args:
            arrived: arrival of its first packet, in seconds on the loop's clock.
        """
        self.accepted += 1
        self.metrics.open[interface] += 1
        return Account(self.accepted, interface, id, sender, arrived, quiet)

    def began(
        self,
        account: Account,
        method: bytes | None,
        scheme: str,
        host: str,
        url: str,
        headers: Iterable[tuple[bytes, bytes]],
    ) -> None:
        """Note a session's request.

        Args:
            url: without user and password.
        """
        account.scheme = _SCHEME_NUMBER[scheme]
        account.host = host
        account.url = url if self.log_query or "?" not in url else url.partition("?")[0]
        if method:
            known = _METHODS.get(method)
            account.method = known or method[:32].decode("ascii", "replace")
        for name, value in headers:
            if len(name) == 11 and name.lower() == b"traceparent":
                account.trace_id = trace_id(value)
        log = self._log
        if log.info_on and (not account.quiet or log.debug_on):
            log.add(DEBUG if account.quiet else INFO, _BEGAN, account)

    def refused_uri(
        self,
        account: Account,
        method: bytes | None,
        uri: bytes | None,
        headers: Iterable[tuple[bytes, bytes]],
    ) -> None:
        """Note a session's request without a valid URI."""
        url = shown_url(uri)
        scheme = url.partition(":")[0].lower()
        if scheme not in _SCHEME_NUMBER:
            scheme = SCHEMES[0]
        self.began(account, method, scheme, "", url, headers)

    def misspelt(self, account: Account, field: str) -> None:
        """Warn once of an ignored field of a first packet whose name is probably misspelt."""
        if field not in self._misspelt and len(self._misspelt) < _MAX_MISSPELT:
            self._misspelt.add(field)
            self._log.warning(
                f"the field {field} is not known and ignored, {field.replace('_', '-')} is; "
                f"id={show_id(account.id)} from={show_id(account.sender)} (logged once)",
                "misspelt",
                field=field,
                **_id_fields(account.id, account.sender),
            )

    def answered_with(self, account: Account, code: int, size: int) -> None:
        """Close an account: the whole answer was sent to the worker.

        Args:
            code: status of the response; of a WebSocket, its close code, or 101 without one.
            size: bytes of body sent to the worker.
        """
        account.code = code
        account.size = size
        self._close(
            account, "2xx" if 200 <= code < 300 else outcome_of(code if code < 1000 else 101, "")
        )

    def failed(
        self, account: Account, condition: str, error: str, detail: str, size: int = 0
    ) -> None:
        """Close an account: an error was sent to the worker."""
        account.error = error or condition
        account.detail = detail
        account.size = size
        self._close(account, outcome_of(None, condition))

    def ended(self, account: Account, outcome: str, detail: str, size: int = 0) -> None:
        """Close an account without a final packet: the worker cancelled, or is silent."""
        account.detail = detail
        account.size = size
        self._close(account, outcome)

    def _close(self, account: Account, outcome: str) -> None:
        account.outcome = outcome
        account.seconds = seconds = self._loop.clock() - account.began
        self.answered += 1
        metrics = self.metrics
        metrics.ended(account.interface, account.scheme, outcome, seconds, account.http_version)
        if account.trace_id:
            metrics.example(seconds, account.trace_id, time.time())
        log = self._log
        if account.error:
            self._log_failure(account)
        elif log.info_on and (not account.quiet or log.debug_on):
            log.add(DEBUG if account.quiet else INFO, _ENDED, account)
        for watch in self.watchers:
            watch(account)

    def _log_failure(self, account: Account) -> None:
        """Log a warning, once for each host and kind of failure; then information, and a sum."""
        level = WARNING
        if account.quiet:
            level = DEBUG
        elif not self._failures.is_new((account.outcome, account.error, account.host)):
            level = INFO
        self._schedule_sums()
        log = self._log
        if (log.warning_on, log.info_on, log.debug_on)[level - 1]:
            log.add(level, _ENDED, account)

    def websocket_closed(self, code: int) -> None:
        """Count an open WebSocket that ended, by its close code (RFC 6455 section 7.4)."""
        label = str(code)
        self.metrics.closes.add(label if label in CLOSE_CODES else "other")

    # -- messages that begin no session ----------------------------------------------------------

    def refused(
        self,
        socket: str,
        reason: str,
        id: bytes | None = None,
        sender: bytes | None = None,
        answered: bool = False,
    ) -> None:
        """Log a message that was refused.

        Args:
            socket: the key of its endpoint, such as ``in_spec``.
            reason: the field and what is wrong with it.
            answered: its sender got ``bad-request``.
        """
        reason = reason[:_MAX_SHOWN]
        self._schedule_sums()
        if self._refusals.is_new((socket, reason)):
            what = "answered with bad-request" if answered else "dropped"
            self._log.warning(
                f"{socket}: a message was {what}: {reason}; "
                f"id={show_id(id)} from={show_id(sender)}",
                "refused",
                socket=socket,
                detail=reason,
                answered=answered,
                **_id_fields(id, sender),
            )

    def reported(self, subject: str, code: str, rule: str, reason: str) -> None:
        """Log a refusal that the policy only reports.

        Args:
            subject: the name or address.
            code, rule: the kind of rule, and the rule as the operator wrote it.
        """
        self._schedule_sums()
        if self._reports.is_new((rule, subject)):
            text = f"policy report: {subject} would be {reason}"
            self._log.warning(text, "policy-report", subject=subject, rule=rule, error=code)

    # -- sums ----------------------------------------------------------------------------------

    def _schedule_sums(self) -> None:
        if not self._sums_scheduled:
            self._sums_scheduled = True
            self._loop.set_timer(self._sum_timer, self._loop.now + _SUM_INTERVAL)

    def log_sums(self) -> None:
        """Log sums of repeated events since the last sums; also called when the daemon stops."""
        self._sums_scheduled = False
        for (outcome, error, host), count in self._failures.sums():
            what = f"condition={outcome} error={error} host={host[:_MAX_SHOWN] or '-'}"
            self._log.warning(
                f"{count} more with {what} since the last report",
                "outcome-sum",
                condition=outcome,
                error=error,
                host=host,
                count=count,
            )
        for (socket, reason), count in self._refusals.sums():
            self._log.warning(
                f"{socket}: {count} more messages were refused since the last report: {reason}",
                "refused-sum",
                socket=socket,
                detail=reason,
                count=count,
            )
        for (rule, subject), count in self._reports.sums():
            self._log.warning(
                f"policy report: {subject} {count} more times by {rule} since the last report",
                "policy-report-sum",
                subject=subject,
                rule=rule,
                count=count,
            )
        if self._failures or self._refusals or self._reports:
            self._schedule_sums()


# -- formats ---------------------------------------------------------------------------------------


def trace_id(traceparent: bytes) -> str:
    """The trace id in a ``traceparent``; "" if that is malformed."""
    found = _TRACEPARENT.fullmatch(traceparent.strip())
    if found is None or (traceparent.startswith(b"00") and len(traceparent.strip()) != 55):
        return ""
    return found[1].decode()


def shown_url(uri: bytes | None) -> str:
    """Scheme and host of a URI that may be malformed, the parts that hold no secret; else "-"."""
    found = _URI.match(uri or b"")
    if found is None:
        return "-"
    scheme = found[1].decode().lower()
    # Text after a colon that is no port may be a password.
    host = _HOST_AND_PORT.fullmatch(found[2].rpartition(b"@")[2])
    return f"{scheme}://{host[1][:_MAX_SHOWN].decode('utf-8', 'replace') if host else '-'}"


def show_id(id: bytes | None) -> str:
    """An id or address for a log line, with unprintable characters as escapes; "-" for none."""
    if not id:
        return "-"
    text = id[:_MAX_SHOWN].decode("utf-8", "replace")
    return text if text.isprintable() else ascii(text)


def _began_text(account: Account) -> str:
    url = account.url[:_MAX_URL]
    return f"IN id={show_id(account.id)}, {account.method} {url} {_identity(account)}"


def account_text(account: Account) -> str:
    """The line of a closed account, in Zurl's form with further fields."""
    id, ms = show_id(account.id), account.seconds * 1000.0
    more = f"{_identity(account)} method={account.method} url={account.url[:_MAX_URL]}"
    if account.http_version:
        more += f" http_version={account.http_version}"
    if account.error:
        text = (
            f"OUT ERR id={id} condition={account.outcome} {ms:.0f}ms {more} error={account.error}"
        )
        return f"{text}: {account.detail}" if account.detail else text
    if account.code is None:
        return f"OUT id={id} {account.detail} {ms:.0f}ms {more}"
    return f"OUT id={id} code={account.code} {account.size} {ms:.0f}ms {more}"


def _identity(account: Account) -> str:
    text = f"session={account.session}"
    if account.sender:
        text += f" from={show_id(account.sender)}"
    if account.trace_id:
        text += f" trace_id={account.trace_id}"
    return text


def _began_fields(account: Account) -> dict[str, object]:
    found: dict[str, object] = {
        "session": account.session,
        **_id_fields(account.id, account.sender),
        "interface": _INTERFACE_NAMES[account.interface],
        "method": account.method,
        "url": account.url[:_MAX_URL],
    }
    if account.trace_id:
        found["trace_id"] = account.trace_id
    return found


def account_fields(account: Account) -> dict[str, object]:
    """The fields of a closed account, for the log's JSON and monitors."""
    found = _began_fields(account)
    if account.code is not None:
        found["code"] = account.code
    else:
        found["condition"] = account.outcome
    if account.http_version:
        found["http_version"] = account.http_version
    if account.error:
        found["error"] = account.error
    if account.detail:
        found["detail"] = account.detail
    found["ms"] = round(account.seconds * 1000.0, 1)
    found["bytes"] = account.size
    return found


def _id_fields(id: bytes | None, sender: bytes | None) -> dict[str, object]:
    found: dict[str, object] = {}
    if id:
        found["id"] = id[:_MAX_SHOWN].decode("utf-8", "backslashreplace")
    if sender:
        found["from"] = sender[:_MAX_SHOWN].decode("utf-8", "backslashreplace")
    return found


_BEGAN = Kind("request", _began_text, _began_fields)
_ENDED = Kind("outcome", account_text, account_fields)
