"""What each path shows or does, by the same questions to the store that workers send."""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from ...errors import Error
from ...zhttp import Format
from ..history import History
from ..messages import (
    DeliveryGet,
    DeliveryList,
    EndpointVerb,
    Question,
    QuestionError,
    Replay,
    Stats,
)
from ..scheduler import Scheduler
from ..store.base import CountPending, Query, QueryResult
from . import views
from .html import Safe

__all__ = ["PageError", "Pages"]

_PATIENCE: Final = 8.0  # seconds that the store may take
_MOST_ENDPOINTS: Final = 100
_LISTED: Final = 50

Ask = Callable[[Query, Callable[[QueryResult | Exception], None]], None]


class PageError(Error):
    """A request is answered with an error page."""

    def __init__(
        self, status: int, title: str, text: str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(text)
        self.status = status
        self.title = title
        self.headers = headers or {}


class Pages:
    """All pages. Called on the threads of the server.

    Args:
        ask: sends a question to the store, from any thread; the answer comes on the loop.
        stats: completes the store's statistics.
    """

    def __init__(
        self,
        ask: Ask,
        scheduler: Scheduler,
        history: History,
        stats: Callable[[dict[str, Any]], None],
    ) -> None:
        self._ask = ask
        self._scheduler = scheduler
        self._history = history
        self._complete = stats
        self._csrf = secrets.token_urlsafe(24)

    def get(self, path: str, query: dict[str, str], nonce: str) -> Safe:
        """The page of a path."""
        if path == "/":
            return self._overview(nonce)
        if path == "/delivery":
            return self._delivery(query.get("id", "").strip(), nonce)
        if path == "/endpoint":
            return self._endpoint(query.get("name", ""), nonce)
        if path == "/list":
            return self._list(query, nonce)
        if path == "/confirm":
            fields = {name: query[name] for name in _FIELDS if name in query}
            return views.confirm(_question(fields), fields, self._csrf, nonce)
        raise PageError(404, "No such page", f"there is nothing at {path}")

    def post(self, path: str, fields: dict[str, str], nonce: str) -> str:
        """Carry out a form. Returns the path to redirect to."""
        if path != "/do":
            raise PageError(404, "No such page", f"there is nothing at {path}")
        if not hmac.compare_digest(fields.get("csrf", "").encode(), self._csrf.encode()):
            raise PageError(403, "Refused", "the form is not of this page, or of before a restart")
        return self._do(fields)

    def _overview(self, nonce: str) -> Safe:
        stats = self._answer(Stats(Format.JSON, "stats"))
        self._complete(stats)
        now = time.time()
        numbers = dict.fromkeys(self._history.failing(now))
        for lane in list(self._scheduler.lanes.values()):
            if lane.endpoint.disabled or lane.breaker.open_until:
                numbers[lane.endpoint.id] = None
        counted = self._answer(CountPending(tuple(numbers), _MOST_ENDPOINTS))["endpoints"]
        rows = [
            self._row(number, pending, due, now)
            for number, (pending, due) in counted.items()
            if number in self._scheduler.lanes
        ]
        rows.sort(key=lambda row: (row.breaker == "closed" and not row.disabled, -row.late))
        return views.overview(stats, rows, nonce)

    def _row(self, number: int, pending: int, due: float | None, now: float) -> views.EndpointRow:
        lane = self._scheduler.lanes[number]
        return views.EndpointRow(
            lane.endpoint.name,
            pending,
            0.0 if due is None else max(0.0, now - due),
            lane.endpoint.why_disabled,
            lane.breaker.state,
            self._history.of(number, now),
        )

    def _endpoint(self, name: str, nonce: str) -> Safe:
        shown = self._answer(EndpointVerb(Format.JSON, "endpoint-get", endpoint=name))
        deliveries: list[dict[str, Any]] = []
        for state in ("dead", "held" if shown["disabled"] else "pending"):
            question = DeliveryList(
                Format.JSON, "delivery-list", state=state, endpoint=name, limit=_LISTED
            )
            deliveries += self._answer(question)["deliveries"]
        lane = self._scheduler.lane_of(name)
        now = time.time()
        if lane is not None:
            row = self._row(lane.endpoint.id, 0, None, now)
        else:
            row = views.EndpointRow(name, 0, 0.0, "", "closed", ())
        return views.endpoint(shown, deliveries, row, nonce)

    def _delivery(self, id: str, nonce: str) -> Safe:
        (shown,) = self._answer(DeliveryGet(Format.JSON, "delivery-get", id=id))["deliveries"]
        return views.delivery(shown, nonce)

    def _list(self, query: dict[str, str], nonce: str) -> Safe:
        state = query.get("state", "")
        if state not in ("pending", "leased", "done", "dead", "held"):
            raise PageError(400, "No such state", "pending, leased, done, dead or held")
        question = DeliveryList(
            Format.JSON, "delivery-list", state=state, after=query.get("after", ""), limit=_LISTED
        )
        answer = self._answer(question)
        return views.listing(state, answer["deliveries"], answer.get("next"), nonce)

    def _do(self, fields: dict[str, str]) -> str:
        action, endpoint = fields.get("action"), fields.get("endpoint", "")
        question: Question
        if action == "replay" and fields.get("id"):
            question = Replay(Format.JSON, "replay", id=fields["id"])
        elif action == "replay" and endpoint and fields.get("state") in ("dead", "done", "held"):
            question = Replay(Format.JSON, "replay", endpoint=endpoint, state=fields["state"])
        elif action in ("enable", "disable") and endpoint:
            question = EndpointVerb(Format.JSON, f"endpoint-{action}", endpoint=endpoint)
        else:
            raise PageError(400, "Not possible", "there is nothing of that kind to do")
        self._answer(question)
        kind, name = ("delivery", "id") if fields.get("id") else ("endpoint", "name")
        return views.address(kind, name, fields.get("id") or endpoint)

    def _answer(self, query: Query) -> dict[str, Any]:
        """Ask the store, and wait for the answer."""
        done = threading.Event()
        found: list[QueryResult | Exception] = []

        def answered(result: QueryResult | Exception) -> None:
            found.append(result)
            done.set()

        self._ask(query, answered)
        if not done.wait(_PATIENCE):
            raise PageError(503, "No answer", "the store takes too long")
        (result,) = found
        if isinstance(result, QueryResult):
            return result.answer
        if isinstance(result, QuestionError):
            raise result
        raise PageError(503, "Not now", f"the store does not work: {result}")


_FIELDS: Final[tuple[str, ...]] = ("action", "id", "endpoint", "state")


def _question(fields: dict[str, str]) -> str:
    action = fields.get("action")
    if action == "replay" and "id" in fields:
        return f"Send {fields['id']} again?"
    if action == "replay":
        return f"Send all again that are {fields.get('state')} at {fields.get('endpoint')}?"
    if action in ("enable", "disable"):
        return f"{action.capitalize()} the endpoint {fields.get('endpoint')}?"
    raise PageError(400, "Not possible", "there is nothing of that kind to do")
