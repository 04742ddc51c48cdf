"""The pages as HTML: functions of values from the store and the scheduler, without I/O."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from .html import Safe, element, join

__all__ = [
    "EndpointRow",
    "address",
    "confirm",
    "delivery",
    "endpoint",
    "listing",
    "message",
    "overview",
]

STYLE = """
:root { color-scheme: light dark; font: 16px/1.4 system-ui, sans-serif; }
body { max-width: 62rem; margin: 0 auto; padding: 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid #8884; }
th, td { vertical-align: top; }
.scroll { overflow-x: auto; }
.cards { display: flex; flex-wrap: wrap; gap: .6rem; padding: 0; list-style: none; }
.cards li { border: 1px solid #8886; border-radius: .4rem; padding: .4rem .8rem; }
.cards b { display: block; font-size: 1.4rem; }
.bad { color: #b00020; font-weight: 600; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; border: 1px solid #8884; padding: .5rem; }
button, input { font: inherit; padding: .35rem .7rem; }
input { max-width: 100%; box-sizing: border-box; }
:focus-visible { outline: 3px solid #1a73e8; outline-offset: 2px; }
code { overflow-wrap: anywhere; }
.good-bar { fill: #2e7d32; } .bad-bar { fill: #b00020; }
@media (prefers-color-scheme: dark) { .bad { color: #ff8a80; } .bad-bar { fill: #ff8a80; } }
"""
_MOST_BODY = 4096  # characters of an answer that are shown
_BAR, _HEIGHT = 4, 24  # units of a chart


@dataclass(frozen=True, slots=True)
class EndpointRow:
    """One line of the overview.

    Attributes:
        pending: number of pending deliveries.
        history: good and bad attempts of each minute, the newest last.
    """

    name: str
    pending: int
    late: float
    disabled: str
    breaker: str
    history: Sequence[tuple[int, int]]


def overview(stats: dict[str, Any], rows: Sequence[EndpointRow], nonce: str) -> Safe:
    """The first page."""
    states = stats["states"]
    cards = [
        element("li", element("b", states.get(state, 0)), state)
        for state in ("pending", "leased", "held", "done", "dead")
    ]
    for name, rate in stats.get("rates", {}).items():
        cards.append(element("li", element("b", f"{rate:.1f}"), f"{name} a second"))
    lines = [
        element(
            "tr",
            element("td", _link("/endpoint", row.name, name=row.name)),
            element("td", f"{row.pending:,}"),
            element("td", _late(row.late)),
            element("td", _condition(row)),
            element("td", chart(row.history)),
        )
        for row in rows
    ]
    heads = ("Endpoint", "Pending", "Late by", "Condition", "Last half hour")
    return _page(
        "Webhooks",
        nonce,
        _search(),
        element("ul", *cards, class_="cards"),
        element("h2", "Endpoints"),
        _table(heads, lines) if lines else element("p", "Nothing is pending, nothing has failed."),
        element("p", _link("/list", "All that are dead", state="dead")),
    )


def endpoint(
    shown: dict[str, Any], deliveries: Sequence[dict[str, Any]], row: EndpointRow, nonce: str
) -> Safe:
    """One endpoint, and the deliveries to it that are not done."""
    name = str(shown["endpoint"])
    actions = []
    if shown["disabled"]:
        actions.append(_ask("Enable", action="enable", endpoint=name))
    else:
        actions.append(_ask("Disable", action="disable", endpoint=name))
    actions.append(_ask("Replay all that are dead", action="replay", endpoint=name, state="dead"))
    fields = [
        element(
            "tr", element("th", key, scope="row"), element("td", element("code", _value(value)))
        )
        for key, value in shown.items()
        if key != "type"
    ]
    return _page(
        name,
        nonce,
        element("p", _condition(row), " ", chart(row.history)),
        element("p", *_spaced(actions)),
        element("div", element("table", *fields), class_="scroll"),
        element("h2", "Not delivered"),
        _deliveries(deliveries),
    )


def listing(
    state: str, deliveries: Sequence[dict[str, Any]], next_: str | None, nonce: str
) -> Safe:
    """Deliveries in one state."""
    more = element("p", _link("/list", "More", state=state, after=next_)) if next_ else None
    return _page(f"Deliveries: {state}", nonce, _deliveries(deliveries), more)


def delivery(shown: dict[str, Any], nonce: str) -> Safe:
    """One delivery with its attempts."""
    id = str(shown["id"])
    facts = [
        element("tr", element("th", key, scope="row"), element("td", _fact(key, value)))
        for key, value in shown.items()
        if key not in ("attempts", "id")
    ]
    attempts = [
        element("li", element("p", _attempt(attempt)), element("pre", _answer(attempt)))
        for attempt in shown["attempts"]
    ]
    return _page(
        id,
        nonce,
        element("div", element("table", *facts), class_="scroll"),
        element("p", _ask("Replay", action="replay", id=id)),
        element("h2", "Attempts"),
        element("ol", *attempts) if attempts else element("p", "None yet."),
    )


def confirm(question: str, fields: dict[str, str], csrf: str, nonce: str) -> Safe:
    """A page that asks for confirmation."""
    hidden = [
        element("input", type="hidden", name=name, value=value)
        for name, value in {**fields, "csrf": csrf}.items()
    ]
    return _page(
        "Are you sure?",
        nonce,
        element("p", question),
        element(
            "form",
            *hidden,
            element("button", "Yes", autofocus=True),
            " ",
            element("a", "No", href="/"),
            method="post",
            action="/do",
        ),
    )


def message(title: str, text: str, nonce: str) -> Safe:
    """A page with one message."""
    return _page(title, nonce, element("p", text), element("p", _link("/", "Overview")))


def chart(history: Sequence[tuple[int, int]]) -> Safe:
    """Good and bad attempts of each minute, as bars."""
    most = max((good + bad for good, bad in history), default=0) or 1
    bars = []
    for place, (good, bad) in enumerate(history):
        below = float(_HEIGHT)
        for count, kind in ((good, "good-bar"), (bad, "bad-bar")):
            height = round(_HEIGHT * count / most, 1)
            below -= height
            if count:
                bars.append(
                    element(
                        "rect", x=place * _BAR, y=below, width=_BAR - 1, height=height, class_=kind
                    )
                )
    good, bad = (sum(minute[which] for minute in history) for which in (0, 1))
    text = f"{good} good and {bad} failed attempts"
    return element(
        "svg",
        element("title", text),
        *bars,
        role="img",
        aria_label=text,
        width=len(history) * _BAR,
        height=_HEIGHT,
        viewBox=f"0 0 {max(1, len(history)) * _BAR} {_HEIGHT}",
    )


def address(page: str, name: str, value: str) -> str:
    """The address of a page."""
    return f"/{page}?{urlencode({name: value})}"


# -- parts -----------------------------------------------------------------------------------------


def _page(title: str, nonce: str, *content: object) -> Safe:
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", Safe(STYLE), nonce=nonce),
    )
    top = element("nav", _link("/", "Webhooks"), aria_label="Top")
    body = element("body", top, element("main", element("h1", title), *content))
    return join((Safe("<!doctype html>"), element("html", head, body, lang="en")))


def _search() -> Safe:
    return element(
        "form",
        element("label", "Webhook id ", element("input", name="id", required=True, size=40)),
        " ",
        element("button", "Show"),
        action="/delivery",
        role="search",
    )


def _table(heads: Sequence[str], lines: Sequence[Safe]) -> Safe:
    row = element("tr", *(element("th", head, scope="col") for head in heads))
    table = element("table", element("thead", row), element("tbody", *lines))
    return element("div", table, class_="scroll")


def _deliveries(deliveries: Sequence[dict[str, Any]]) -> Safe:
    if not deliveries:
        return element("p", "There are none.")
    lines = [
        element(
            "tr",
            element("td", _link("/delivery", item["id"], id=item["id"])),
            element("td", _link("/endpoint", item["endpoint"], name=item["endpoint"])),
            element("td", item["state"]),
            element("td", item["tried"]),
            element("td", _time(item["accepted"])),
            element("td", item.get("reason", "")),
        )
        for item in deliveries
    ]
    return _table(("Id", "Endpoint", "State", "Tried", "Accepted", "Why"), lines)


def _link(path: str, text: str, **query: object) -> Safe:
    given = {name: value for name, value in query.items() if value is not None}
    return element("a", text, href=f"{path}?{urlencode(given)}" if given else path)


def _ask(text: str, **fields: str) -> Safe:
    hidden = [element("input", type="hidden", name=n, value=v) for n, v in fields.items()]
    return element("form", *hidden, element("button", text), action="/confirm")


def _spaced(parts: Sequence[Safe]) -> list[object]:
    return [piece for part in parts for piece in (part, " ")]


def _condition(row: EndpointRow) -> object:
    if row.disabled:
        return element("span", f"disabled: {row.disabled}", class_="bad")
    if row.breaker != "closed":
        return element("span", f"breaker {row.breaker}", class_="bad")
    return "well"


def _late(seconds: float) -> str:
    if seconds < 1:
        return "–"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _fact(key: str, value: object) -> object:
    if key == "endpoint":
        return _link("/endpoint", str(value), name=value)
    if key in ("accepted", "due") and isinstance(value, float):
        return _time(value)
    return _value(value)


def _value(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list):
        return ", ".join(_value(item) for item in value)
    return str(value)


def _attempt(attempt: dict[str, Any]) -> str:
    what = str(attempt.get("code") or attempt.get("condition"))
    if attempt.get("error"):
        what += f" ({attempt['error']})"
    took = attempt["phases"].get("total", 0) / 1000
    return f"{_time(attempt['time'])}: {what}, {took:.0f} ms"


def _answer(attempt: dict[str, Any]) -> str:
    return _value(attempt["body"])[:_MOST_BODY] or "(no body)"
