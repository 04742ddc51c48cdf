"""Questions on ``deliver_spec``, and the answers to them: parsing, checking and encoding.

A question is one dictionary in JSON, TNetString or MessagePack, as in ZHTTP. One field that is
unknown or wrong makes it a ``bad-request``: a misspelt ``not-before`` must not be ignored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import msgpack
import msgspec

from ..errors import Error
from ..signatures import Mode, SecretError
from ..zhttp import Format, tnetstring
from ..zhttp.codec import DecodeError, decode
from ..zhttp.envelope import NO_USER_DATA
from ..zhttp.fields import WrongField, user_data
from . import fields
from .references import check

__all__ = [
    "NO_USER_DATA",
    "BadQuestion",
    "Deliver",
    "DeliveryGet",
    "DeliveryList",
    "EndpointList",
    "EndpointPut",
    "EndpointVerb",
    "Question",
    "QuestionError",
    "Replay",
    "Stats",
    "encode",
    "encode_accepted",
    "parse",
]

STATES: Final = ("pending", "leased", "done", "dead", "held")
_MOST_LISTED = 1000
_MOST_TIMEOUT = 3_600_000  # milliseconds
_MOST_CONCURRENCY = 1_000_000


def _limit(value: object) -> int:
    """The number of entries to list; larger numbers than the maximum are reduced to it."""
    return min(fields.positive_int(1 << 62)(value), _MOST_LISTED)


class QuestionError(Error):
    """A question is answered with a packet of type ``error``.

    Attributes:
        condition: ``bad-request``, ``unknown-endpoint``, ``unknown-delivery``, ``conflict``,
            ``store-full`` or ``unavailable``.
        error: a stable short name of the error.
        detail: what is wrong, in words for people.
    """

    def __init__(self, condition: str, error: str, detail: str) -> None:
        super().__init__(detail)
        self.condition = condition
        self.error = error
        self.detail = detail


class BadQuestion(QuestionError):
    """A message is no known question, or has a wrong field.

    Attributes:
        format: of the answer; JSON where the message's format is unknown.
        id: the message's id, where it could be read.
        user_data: as in the message, where it could be read.
    """

    def __init__(
        self,
        error: str,
        detail: str,
        format: Format = Format.JSON,
        id: str | None = None,
        user_data: Any = NO_USER_DATA,
    ) -> None:
        super().__init__("bad-request", error, detail)
        self.format = format
        self.id = id
        self.user_data = user_data


@dataclass(slots=True)
class Question:
    """The common part of all questions.

    Attributes:
        format: of the question and its answer.
        user_data: any value, which the answer has as well.
    """

    FIELDS: ClassVar[dict[str, tuple[str, Callable[[object], Any]]]] = {}
    NEEDED: ClassVar[tuple[str, ...]] = ()

    format: Format
    type: str
    user_data: Any = field(default=NO_USER_DATA, repr=False)


@dataclass(slots=True)
class Deliver(Question):
    """``deliver``: one webhook to one endpoint.

    Attributes:
        endpoint: name of the endpoint; "" where ``uri`` is given.
        secrets: for the signature, where ``uri`` is given.
        expires: seconds after acceptance when it expires.
        not_before: seconds since 1970.
    """

    FIELDS: ClassVar = {
        "endpoint": ("endpoint", fields.name),
        "uri": ("uri", fields.uri),
        "body": ("body", fields.body),
        "id": ("id", fields.id_text),
        "event": ("event", fields.event),
        "headers": ("headers", fields.headers),
        "key": ("key", fields.key_text),
        "expires": ("expires", fields.positive),
        "not-before": ("not_before", fields.at_least_zero),
        "secrets": ("secrets", fields.secrets),
    }
    NEEDED: ClassVar = ("body",)

    endpoint: str = ""
    uri: str = field(default="", repr=False)  # may hold a secret
    body: bytes = field(default=b"", repr=False)
    id: str = ""
    event: str | None = None
    headers: tuple[tuple[bytes, bytes], ...] = field(default=(), repr=False)
    key: str | None = None
    expires: float | None = None
    not_before: float | None = None
    secrets: tuple[str, ...] = field(default=(), repr=False)


@dataclass(slots=True)
class EndpointPut(Question):
    """``endpoint-put``: make or replace an endpoint; secrets that are not given are kept."""

    FIELDS: ClassVar = {
        "endpoint": ("endpoint", fields.name),
        "uri": ("uri", fields.uri),
        "secrets": ("secrets", fields.secrets),
        "signature": ("signature", fields.mode),
        "order": ("order", fields.choice("none", "key", "endpoint")),
        "dead-head": ("dead_head", fields.choice("skip", "stop")),
        "rate": ("rate", fields.positive),
        "concurrency": ("concurrency", fields.positive_int(_MOST_CONCURRENCY)),
        "schedule": ("schedule", fields.schedule),
        "timeout": ("timeout", fields.positive_int(_MOST_TIMEOUT)),
        "headers": ("headers", fields.headers),
    }
    NEEDED: ClassVar = ("endpoint", "uri")

    endpoint: str = ""
    uri: str = field(default="", repr=False)  # may hold a secret
    secrets: tuple[str, ...] | None = field(default=None, repr=False)
    signature: Mode | None = None
    order: str | None = None
    dead_head: str | None = None
    rate: float | None = None  # per second
    concurrency: int | None = None
    schedule: tuple[float, ...] | None = None  # seconds
    timeout: int | None = None  # milliseconds
    headers: tuple[tuple[bytes, bytes], ...] | None = field(default=None, repr=False)


@dataclass(slots=True)
class EndpointVerb(Question):
    """``endpoint-get``, ``-delete``, ``-enable`` and ``-disable``."""

    FIELDS: ClassVar = {"endpoint": ("endpoint", fields.name)}
    NEEDED: ClassVar = ("endpoint",)

    endpoint: str = ""


@dataclass(slots=True)
class EndpointList(Question):
    """``endpoint-list``, sorted by name."""

    FIELDS: ClassVar = {
        "after": ("after", fields.name),
        "limit": ("limit", _limit),
    }

    after: str = ""
    limit: int = 100


@dataclass(slots=True)
class DeliveryGet(Question):
    """``delivery-get``."""

    FIELDS: ClassVar = {"id": ("id", fields.id_text)}
    NEEDED: ClassVar = ("id",)

    id: str = ""


@dataclass(slots=True)
class DeliveryList(Question):
    """``delivery-list``, in the order of acceptance."""

    FIELDS: ClassVar = {
        "state": ("state", fields.choice(*STATES)),
        "endpoint": ("endpoint", fields.name),
        "after": ("after", fields.id_text),
        "limit": ("limit", _limit),
    }

    state: str = ""
    endpoint: str = ""
    after: str = ""
    limit: int = 100


@dataclass(slots=True)
class Replay(Question):
    """``replay``: by ``id``, or by ``endpoint`` and ``state``."""

    FIELDS: ClassVar = {
        "id": ("id", fields.id_text),
        "endpoint": ("endpoint", fields.name),
        "state": ("state", fields.choice("done", "dead", "held", "pending")),
    }

    id: str = ""
    endpoint: str = ""
    state: str = ""


@dataclass(slots=True)
class Stats(Question):
    """``stats``."""


_TYPES: Final[dict[str, type[Question]]] = {
    "deliver": Deliver,
    "endpoint-put": EndpointPut,
    "endpoint-get": EndpointVerb,
    "endpoint-delete": EndpointVerb,
    "endpoint-enable": EndpointVerb,
    "endpoint-disable": EndpointVerb,
    "endpoint-list": EndpointList,
    "delivery-get": DeliveryGet,
    "delivery-list": DeliveryList,
    "replay": Replay,
    "stats": Stats,
}


def parse(message: bytes, max_body: int) -> Question:
    """The question in a message.

    Args:
        max_body: bytes that a body may have.

    Raises:
        BadQuestion: the message is no known question, or a field is wrong.
    """
    try:
        format, decoded = decode(message)
    except DecodeError as error:
        raise BadQuestion("bad-message", str(error), error.format or Format.JSON) from None
    if format is Format.TNETSTRING:
        decoded = {
            key.decode("utf-8", "replace") if type(key) is bytes else key: value
            for key, value in decoded.items()
        }
    try:
        question = _question(format, decoded)
        if type(question) is Deliver:
            _check_deliver(question, max_body)
        elif type(question) is Replay:
            _check_replay(question)
        elif type(question) is EndpointPut and question.endpoint.startswith("uri:"):
            raise _Wrong("bad-field", "endpoint: names that start with uri: are made here")
    except _Wrong as wrong:
        raise BadQuestion(
            wrong.error, str(wrong), format, _readable_id(decoded), _readable_user_data(decoded)
        ) from None
    return question


class _Wrong(Error, ValueError):
    def __init__(self, error: str, detail: str) -> None:
        super().__init__(detail)
        self.error = error


def _question(format: Format, decoded: dict[Any, Any]) -> Question:
    type_ = decoded.get("type")
    if type(type_) is bytes:
        type_ = type_.decode("utf-8", "replace")
    kind = _TYPES.get(type_) if type(type_) is str else None
    if kind is None:
        raise _Wrong("unknown-type", f"type: must be one of {', '.join(_TYPES)}")
    assert isinstance(type_, str)
    question = kind(format, type_)
    rules = kind.FIELDS
    for key, value in decoded.items():
        rule = rules.get(key)
        if rule is not None:
            try:
                setattr(question, rule[0], rule[1](value))
            except WrongField as wrong:
                raise _Wrong("bad-field", f"{key}: {wrong}") from None
        elif key == "user-data":
            question.user_data = _user_data(value)
        elif key != "type":
            raise _Wrong("unknown-field", _unknown(type_, rules, key))
    for needed in kind.NEEDED:
        if needed not in decoded:
            raise _Wrong("missing-field", f"{needed} is needed")
    return question


def _unknown(type_: str, rules: dict[str, Any], key: object) -> str:
    known = ", ".join((*rules, "user-data"))
    return f"{str(key)[:60]!r} is no field of {type_}; known are {known}"


def _user_data(value: object) -> Any:
    try:
        return user_data(value)
    except WrongField as wrong:
        raise _Wrong("bad-field", f"user-data: {wrong}") from None


def _check_deliver(question: Deliver, max_body: int) -> None:
    if bool(question.endpoint) == bool(question.uri):
        raise _Wrong("missing-field", "either endpoint or uri is needed, and not both")
    if question.secrets and not question.uri:
        raise _Wrong("bad-field", "secrets: those of the endpoint are used; only uri takes some")
    if question.secrets:
        try:
            check("standard", question.secrets)
        except SecretError as error:
            raise _Wrong("bad-field", f"secrets: {error}") from None
    if len(question.body) > max_body:
        raise _Wrong(
            "body-too-large",
            f"body: must be at most {max_body} bytes, and has {len(question.body)}",
        )


def _check_replay(question: Replay) -> None:
    by_endpoint = bool(question.endpoint) and bool(question.state)
    if bool(question.id) == by_endpoint or (question.id and (question.endpoint or question.state)):
        raise _Wrong("missing-field", "either id, or endpoint and state, is needed")


def _readable_id(decoded: dict[Any, Any]) -> str | None:
    try:
        return fields.text(decoded.get("id"))
    except WrongField:
        return None


def _readable_user_data(decoded: dict[Any, Any]) -> Any:
    try:
        return user_data(decoded["user-data"])
    except (KeyError, WrongField):
        return NO_USER_DATA


# -- answers ---------------------------------------------------------------------------------------

_json = msgspec.json.Encoder().encode
_msgpack: Callable[[Any], bytes] = msgpack.Packer(unicode_errors="surrogateescape").pack


def encode(format: Format, answer: dict[str, Any], user_data: Any = NO_USER_DATA) -> bytes:
    """An answer as a message.

    Args:
        answer: values are text, numbers, booleans, None, and lists and dictionaries of these; bytes
            become text where that is possible.
    """
    if user_data is not NO_USER_DATA:
        try:
            return _encode(format, {**answer, "user-data": user_data})
        except (ValueError, TypeError, OverflowError):
            pass  # decoders accept some values that encoders refuse; an answer is owed nevertheless
    return _encode(format, answer)


def encode_accepted(format: Format, id: str, duplicate: bool) -> bytes:
    """The most frequent answer, if it has no ``user-data``."""
    answer = {"type": "accepted", "id": id, "duplicate": duplicate}
    return b"J" + _json(answer) if format is Format.JSON else _encode(format, answer)


def _encode(format: Format, answer: dict[str, Any]) -> bytes:
    if format is Format.JSON:
        return b"J" + _json(_with_text(answer))
    if format is Format.MSGPACK:
        return b"M" + _msgpack(answer)
    return b"T" + bytes(tnetstring.dumps(_with_bytes(answer)))


def _with_text(value: Any) -> Any:
    """A value with text for bytes, which JSON does not have; U+FFFD stands for what is no UTF-8."""
    kind = type(value)
    if kind is bytes:
        return value.decode("utf-8", "replace")
    if kind is dict:
        return {
            _with_text(key) if type(key) is bytes else key: _with_text(content)
            for key, content in value.items()
        }
    if kind in (list, tuple):
        return [_with_text(content) for content in value]
    return value


def _with_bytes(value: Any) -> Any:
    """A value with bytes for text, which TNetStrings do not have."""
    kind = type(value)
    if kind is str:
        return value.encode("utf-8", "replace")
    if kind is dict:
        return {_with_bytes(key): _with_bytes(content) for key, content in value.items()}
    if kind in (list, tuple):
        return [_with_bytes(content) for content in value]
    return value
