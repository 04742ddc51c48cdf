"""Transcripts: what an exchange showed, as lines that can be compared and read."""

import hashlib
import re
from typing import TYPE_CHECKING, Any

from tests.support import Message, Request, decode

if TYPE_CHECKING:
    from tests.labs.differential.lab import Exchange, Run

_LONG = 300
_ORDER = ("code", "reason", "headers", "body", "more", "credits")


def decode_frame(frame: bytes) -> Message:
    """The message in a frame of the request interface."""
    return decode(frame)


def _value(value: Any) -> str:
    if isinstance(value, bytes):
        if len(value) > _LONG:
            return f"<{len(value)} bytes {hashlib.sha256(value).hexdigest()[:8]}>"
        return repr(value)[1:]
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {_value(value[k])}" for k in sorted(value)) + "}"
    return repr(value)


def _plain(value: Any) -> Any:
    """`user-data` with its keys in order and bytes told from text."""
    return repr(value) if not isinstance(value, dict) else repr(dict(sorted(value.items())))


def message(item: Message, skip: frozenset[str] = frozenset()) -> str:
    """A message as one line."""
    fields = dict(item.fields)
    parts = [item.format, item.type.decode()]
    for name in ("type", *skip):
        fields.pop(name, None)
    if item.type == b"error":
        fields.pop("ext", None)  # name and detail of the error, which Zurl does not have
    if fields.get("body") == b"":
        del fields["body"]  # "present even if empty" and absent mean the same
    if "user-data" in fields:
        fields["user-data"] = _plain(fields["user-data"])
    names = [n for n in _ORDER if n in fields] + sorted(set(fields) - set(_ORDER))
    parts += [f"{name}={_value(fields[name])}" for name in names]
    return " ".join(parts)


def _merged(items: list[Message]) -> list[Message]:
    """Joins consecutive data packets after the first, and all credits into the first credit."""
    result: list[Message] = []
    credit: Message | None = None
    for item in items:
        fields = dict(item.fields)
        fields.pop("seq", None)
        copy = Message(item.format, fields, item.raw, item.address)
        if item.type == b"credit":
            if credit is not None:
                credit.fields["credits"] = credit.fields.get("credits", 0) + item.get("credits", 0)
                continue
            credit = copy
        elif item.type == b"data" and "code" not in item and result:
            last = result[-1]
            if last.type == b"data" and "code" not in copy:
                _join(last, copy)
                continue
            if last.type == b"data" and last.get("more"):
                _join(last, copy)
                continue
        result.append(copy)
    return result


def _join(first: Message, second: Message) -> None:
    first.fields["body"] = first.body + second.body
    first.fields.pop("more", None)
    if second.get("more"):
        first.fields["more"] = True


def _sequence(items: list[Message]) -> list[str]:
    numbers = [item.get("seq") for item in items if "seq" in item]
    if numbers and numbers != list(range(len(numbers))):
        return [f"seq is {numbers}"]
    return []


def _without_crossing(items: list[Message]) -> list[Message]:
    """Leaves out the cancels for what was sent before the worker saw the session's end."""
    for index, item in enumerate(items):
        if item.is_final and item.get("from"):
            return items[: index + 1] + [m for m in items[index + 1 :] if m.type != b"cancel"]
    return items


def _sessions(received: list[Message], exchange: "Exchange") -> list[str]:
    by_id: dict[bytes | None, list[Message]] = {}
    for item in received:
        by_id.setdefault(item.id, []).append(item)
    result = []
    for id in sorted(by_id, key=lambda value: value or b""):
        items = _without_crossing(by_id[id])
        name = id.decode(errors="replace") if id is not None else "-"
        result += [f"{name}: {line}" for line in _sequence(items)]
        if not exchange.parts and items[-1].type == b"error":
            items = [item for item in items if item.type != b"data"]
        if not exchange.credits:
            items = [item for item in items if item.type != b"credit"]
        for item in _merged(items) if exchange.merge else items:
            result.append(f"{name}: " + message(item, frozenset({"id"})))
    return result


def request(item: Request) -> str:
    """A request at the origin as one line: headers by name, equal names in order."""
    headers = []
    for name, value in sorted(item.headers, key=lambda pair: pair[0].lower()):
        if name.lower() == b"accept-encoding":
            value = b"*"  # what the build of libcurl can decode
        elif name.lower() == b"sec-websocket-key":
            value = b"*"  # random
        headers.append(f"{_value(name)[1:-1]}: {_value(value)[1:-1]}")
    end = "" if item.complete else " ..."
    return f"origin {_value(item.line)[1:-1]} | {' | '.join(headers)} | {_value(item.body)}{end}"


def lines(run: "Run", received: list[Message], exchange: "Exchange") -> list[str]:
    """The transcript of a run, normalised."""
    own = [item for item in received if _is_of(run, item)]
    result = list(run.answers) + _sessions(own, exchange)
    if exchange.requests:
        for number, origin in enumerate(run.origins):
            mark = "" if number == 0 else f"{number + 1} "
            result += [mark + request(item) for item in list(origin.requests)]
    result += run.notes
    return [_neutral(line, run) for line in result]


def _is_of(run: "Run", item: Message) -> bool:
    """Whether a message belongs to this exchange, and is not the late end of another."""
    prefix, dot, _ = (item.id or b"").partition(b".")
    return not dot or prefix.decode(errors="replace") == run.name


def _neutral(line: str, run: "Run") -> str:
    line = line.replace(run.name + ".", "")
    line = re.sub(r"('Sec-WebSocket-Accept', ')[^']{28}'", r"\1*'", line)  # fits a random key
    for number, origin in enumerate(run.origins):
        mark = "ORIGIN" if number == 0 else f"ORIGIN{number + 1}"
        line = re.sub(rf"127\.0\.0\.1:{origin.port}\b", mark, line)
        line = re.sub(
            rf":{origin.port}\b", ":PORT" + ("" if number == 0 else str(number + 1)), line
        )
    return line
