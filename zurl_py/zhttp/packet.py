"""Packets from workers: the fields of RFC 33 and of Zurl's WebSocket variant, checked.

One wrong field makes the whole packet malformed. What could be read of ``from``, ``id`` and
``type`` travels with the error, so that the sender can be told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from .codec import DecodeError, Format, decode

__all__ = ["NO_USER_DATA", "Packet", "PacketError", "parse"]

NO_USER_DATA: Final = object()  # null is user data too


class PacketError(ValueError):
    """A message that cannot be used.

    Attributes:
        reason: what is wrong with it, for a log line.
        format: its format, where the letter is known.
        sender: its ``from``, if that could be read.
        ids: its ids, as far as they could be read.
        type: its ``type``, if that could be read.
    """

    def __init__(
        self,
        reason: str,
        format: Format | None = None,
        sender: bytes | None = None,
        ids: tuple[bytes, ...] = (),
        type: bytes | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.format = format
        self.sender = sender
        self.ids = ids
        self.type = type


_LONGEST: Final = 10**12  # milliseconds; some thirty years
_LARGEST: Final = 2**62  # bytes


class Packet:
    """One packet of a worker. Text is bytes, whatever the format; absent fields have defaults."""

    format: Format
    sender: bytes | None = None  # "from"
    id: bytes | None = None
    ids: list[tuple[bytes | None, int | None]] | None = None  # two ids or more, with their seq
    seq: int | None = None
    type: bytes | None = None  # None is data
    condition: bytes | None = None
    credits: int | None = None  # bytes
    more: bool = False
    stream: bool = False
    max_size: int | None = None  # bytes
    timeout: int | None = None  # milliseconds
    method: bytes | None = None
    uri: bytes | None = None
    headers: list[tuple[bytes, bytes]] = []  # noqa: RUF012 - replaced, never changed
    body: bytes = b""
    has_body: bool = False
    content_type: bytes | None = None
    code: int | None = None
    user_data: Any = NO_USER_DATA
    connect_host: bytes | None = None
    connect_port: int | None = None
    trust_connect_host: bool = False
    ignore_policies: bool = False
    ignore_tls_errors: bool = False
    follow_redirects: bool = False
    ext: dict[str, Any] = {}  # noqa: RUF012 - replaced, never changed
    multi: bool = False
    quiet: bool = False


def parse(message: bytes) -> Packet:
    """The packet in a message.

    Raises:
        PacketError: the message is malformed.
    """
    try:
        format, decoded = decode(message)
    except DecodeError as error:
        raise PacketError(str(error), error.format) from None
    packet = Packet()
    packet.format = format
    attributes = packet.__dict__
    try:
        for key, value in decoded.items():
            rule = _RULES.get(key)
            if rule is not None:
                attributes[rule[0]] = rule[1](value)
        if "_id" in attributes:
            _settle_id(packet, attributes.pop("_id"))
        if "_ext" in attributes:
            _settle_ext(packet, attributes.pop("_ext"))
        if "_condition" in attributes:
            _settle_condition(packet, attributes.pop("_condition"))
    except _Wrong as wrong:
        raise _malformed(f"{_show(key)}: {wrong}", format, decoded) from None
    if packet.timeout is not None:
        packet.timeout = min(packet.timeout, _LONGEST) if packet.timeout >= 0 else None
    if packet.max_size is not None:
        packet.max_size = min(packet.max_size, _LARGEST)
    packet.has_body = "body" in attributes
    return packet


class _Wrong(ValueError):
    """What is wrong with a field's value."""


# -- one check per kind of field: the value as it is kept, or _Wrong ------------------------------


def _text(value: object) -> bytes:
    if type(value) is bytes:
        return value
    if type(value) is str:
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise _Wrong("text with half a surrogate pair") from None
    raise _Wrong(f"text is due, found {_kind(value)}")


def _flag(value: object) -> bool:
    if value is True or value is False:
        return value
    raise _Wrong(f"true or false is due, found {_kind(value)}")


def _number(value: object) -> int | None:
    """Numbers come as text, too, and text that holds none counts as 0; -1 is as good as absent."""
    if type(value) is int:
        number = value
    elif isinstance(value, bool):
        number = int(value)
    elif isinstance(value, float):
        number = int(value) if -(2.0**63) <= value < 2.0**63 else 0
    elif isinstance(value, (str, bytes)):
        number = _integer_in(value)
    else:
        raise _Wrong(f"a number is due, found {_kind(value)}")
    return None if number == -1 else number


def _integer_in(text: str | bytes) -> int:
    stripped = text.strip()
    digits = stripped[1:] if stripped[:1] in ("-", "+", b"-", b"+") else stripped
    # isdigit alone would take other scripts' digits, int() also underscores.
    if len(digits) <= 18 and digits.isdigit() and digits.isascii():
        return int(stripped)
    return 0


def _headers(value: object) -> list[tuple[bytes, bytes]]:
    if type(value) is not list:
        raise _Wrong(f"a list is due, found {_kind(value)}")
    pairs = []
    for pair in value:
        if type(pair) is not list or len(pair) != 2:
            raise _Wrong("lists of a name and a value are due")
        name, content = pair
        if type(name) is bytes and type(content) is bytes:
            pairs.append((name, content))
        else:
            pairs.append((_text(name), _text(content)))
    return pairs


def _type(value: object) -> bytes:
    type_ = _text(value)
    if type_ not in _TYPES:
        raise _Wrong(f"unknown: {type_[:32]!r}")
    return type_


def _dictionary(value: object) -> dict[Any, Any]:
    if type(value) is not dict:
        raise _Wrong(f"a dictionary is due, found {_kind(value)}")
    return value


def _any(value: object) -> object:
    return value


_DEEPEST: Final = 100  # lists and dictionaries within each other; an encoder has to get through


def _user_data(value: object) -> object:
    if type(value) not in (list, dict):
        return value
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            inner
            for outer in level
            if isinstance(outer, (list, dict))
            for inner in (outer if isinstance(outer, list) else outer.values())
        ]
        if not level:
            return value
    raise _Wrong("nested too deep")


def _id(value: object) -> bytes | list[tuple[bytes | None, int | None]]:
    if type(value) is not list:
        return _text(value)
    ids = []
    for entry in value:
        fields = {_key(key): content for key, content in _dictionary(entry).items()}
        id = _text(fields["id"]) if "id" in fields else None
        seq = _number(fields["seq"]) if "seq" in fields else None
        ids.append((id, seq))
    return ids


_TYPES: Final = frozenset(
    (
        b"error",
        b"credit",
        b"keep-alive",
        b"cancel",
        b"handoff-start",
        b"handoff-proceed",
        b"close",
        b"ping",
        b"pong",
    )
)

# Field, attribute and check. Attributes with an underscore need a look at other fields as well.
_FIELDS: Final[tuple[tuple[str, str, Callable[[Any], Any]], ...]] = (
    ("from", "sender", _text),
    ("id", "_id", _id),
    ("seq", "seq", _number),
    ("type", "type", _type),
    ("condition", "_condition", _any),
    ("credits", "credits", _number),
    ("more", "more", _flag),
    ("stream", "stream", _flag),
    ("max-size", "max_size", _number),
    ("timeout", "timeout", _number),
    ("method", "method", _text),
    ("uri", "uri", _text),
    ("headers", "headers", _headers),
    ("body", "body", _text),
    ("content-type", "content_type", _text),
    ("code", "code", _number),
    ("user-data", "user_data", _user_data),
    ("peer-address", "_ignored", _text),
    ("peer-port", "_ignored", _number),
    ("connect-host", "connect_host", _text),
    ("connect-port", "connect_port", _number),
    ("trust-connect-host", "trust_connect_host", _flag),
    ("ignore-policies", "ignore_policies", _flag),
    ("ignore-tls-errors", "ignore_tls_errors", _flag),
    ("follow-redirects", "follow_redirects", _flag),
    ("ext", "_ext", _dictionary),
)
_RULES: Final[dict[str | bytes, tuple[str, Callable[[Any], Any]]]] = {
    key: (attribute, check) for name, attribute, check in _FIELDS for key in (name, name.encode())
}


# -- fields that need more than their own value ---------------------------------------------------


def _settle_id(packet: Packet, id: bytes | list[tuple[bytes | None, int | None]]) -> None:
    if isinstance(id, bytes):
        packet.id = id
    elif len(id) == 1:
        packet.id, seq = id[0]
        packet.seq = seq if seq is not None else packet.seq
    elif id:
        packet.ids = id


def _settle_ext(packet: Packet, ext: dict[Any, Any]) -> None:
    packet.ext = {_key(key): value for key, value in ext.items()}
    packet.multi = packet.ext.get("multi") is True
    packet.quiet = packet.ext.get("quiet") is True


def _settle_condition(packet: Packet, condition: object) -> None:
    if packet.type == b"error":
        packet.condition = _text(condition)


# -- errors ---------------------------------------------------------------------------------------


def _malformed(reason: str, format: Format, decoded: dict[Any, Any]) -> PacketError:
    fields = {_key(key): value for key, value in decoded.items()}
    id = fields.get("id")
    ids = []
    for candidate in id if type(id) is list else (id,):
        if type(candidate) is dict:
            candidate = {_key(key): value for key, value in candidate.items()}.get("id")
        readable = _text_or_none(candidate)
        if readable is not None:
            ids.append(readable)
    if "seq" in fields and "id" not in fields:
        ids.append(b"")
    return PacketError(
        reason,
        format,
        _text_or_none(fields.get("from")),
        tuple(ids),
        _text_or_none(fields.get("type")),
    )


def _text_or_none(value: object) -> bytes | None:
    try:
        return _text(value)
    except _Wrong:
        return None


def _key(key: object) -> str:
    return key.decode("utf-8", "replace") if isinstance(key, bytes) else str(key)


def _show(key: object) -> str:
    return repr(_key(key)[:40])


def _kind(value: object) -> str:
    return _KINDS.get(type(value), type(value).__name__)


_KINDS: Final[dict[type, str]] = {
    type(None): "null",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "text",
    bytes: "text",
    list: "a list",
    dict: "a dictionary",
}
