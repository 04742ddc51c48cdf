"""What packets of both directions have in common (RFC 33 of ZeroMQ, and Zurl's WebSocket variant).

One wrong field makes the whole packet malformed. The error then has ``from``, ``id`` and ``type``
as far as they could be read, so that the sender can be answered.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

from ..errors import Error
from . import fields as check
from .codec import DecodeError, Format, decode
from .envelope import NO_USER_DATA, Envelope
from .fields import Ids, WrongField, name_of, text_or_none

__all__ = ["Packet", "PacketError", "defaults", "rules", "table", "written"]

Check = Callable[[Any], Any]
# The attribute that holds the field, the check of its value, and the attribute for plain text,
# which needs no check; "": text is not a valid value.
Rule = tuple[str, Check, str]
Field = tuple[str, str, Check]  # the field's name on the wire, then the first two of these


class PacketError(Error, ValueError):
    """A message that cannot be used.

    Attributes:
        reason: the field and what is wrong with it, for a log line and the answer.
        format: its format, where the first byte names one; else None.
        sender: its ``from``, where that could be read.
        ids: its ids, as far as they could be read.
        type: its ``type``, where that could be read.
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


@dataclass(eq=False, repr=False, kw_only=True)
class Packet:
    """One packet. Text is bytes in every format; an absent field has its default.

    Attributes:
        format: of the message that held the packet, or is to hold it.
        sender: ``from``, the sender's address.
        id: of the session.
        ids: two ids or more, with their sequence numbers, in place of ``id`` and ``seq``.
        seq: 0 for the first packet of a session, then one more with each packet.
        type: None for data; else ``error``, ``credit``, ``keep-alive``, ``cancel``, ``close``,
            ``ping``, ``pong``, ``handoff-start`` or ``handoff-proceed``.
        condition: of an ``error``: one of `Condition`.
        credits: number of further bytes that the other side may send.
        more: further pieces of the body, or of a WebSocket message, follow.
        headers: names and values, in order.
        body: bytes.
        content_type: of WebSocket data: ``binary``; anything else is text.
        code: status code of the response, or code of a WebSocket's close.
        user_data: any value; each packet of the answer has it unchanged.
        ext: extensions, by name.
        misspelt: an unknown field that would be known with dashes for underscores; "" for none.
        multi: an ``ext`` flag: the sender understands lists of ids.
    """

    format: Format = Format.TNETSTRING
    sender: bytes | None = None
    id: bytes | None = None
    ids: Ids | None = None
    seq: int | None = None
    type: bytes | None = None
    condition: bytes | None = None
    credits: int | None = None
    more: bool = False
    headers: Sequence[tuple[bytes, bytes]] = ()
    body: bytes = b""
    content_type: bytes | None = None
    code: int | None = None
    user_data: Any = NO_USER_DATA
    ext: Mapping[str, Any] | None = None
    multi: bool = False
    misspelt: str = ""

    _DEFAULTS: ClassVar[dict[str, Any]]
    _RULES: ClassVar[dict[str | bytes, Rule]]
    _EXT_RULES: ClassVar[dict[str | bytes, Rule]]
    _NAMES: ClassVar[Sequence[tuple[str, str]]]  # names on the wire, and attributes
    _EXT_NAMES: ClassVar[Sequence[tuple[str, str]]]

    @classmethod
    def parse(cls, message: bytes) -> Self:
        """The packet in a message: the byte that names the format, and an encoded dictionary.

        Raises:
            PacketError: the message is malformed.
        """
        try:
            format, decoded = decode(message)
        except DecodeError as error:
            raise PacketError(str(error), error.format) from None
        # Without a call of __init__, whose forty arguments would cost more than all the rest.
        # Defaults are copied, as it takes five times as long to read them from the class.
        packet = cls.__new__(cls)
        attributes = packet.__dict__ = cls._DEFAULTS.copy()
        attributes["format"] = format
        rules = cls._RULES
        key: Any = None
        try:
            for key, value in decoded.items():
                rule = rules.get(key)
                if rule is None:
                    name = name_of(key)
                    if "_" in name and name.replace("_", "-") in rules:
                        attributes["misspelt"] = name
                    continue
                attribute, convert, plain = rule
                # The most common kind of field, inlined.
                if plain and type(value) is str and value.isascii():
                    attributes[plain] = value.encode()
                elif plain and type(value) is bytes:
                    attributes[plain] = value
                else:
                    attributes[attribute] = convert(value)
            if "_id" in attributes:
                packet._set_id(attributes.pop("_id"))
            key = "condition"
            if "_condition" in attributes:
                packet._set_condition(attributes.pop("_condition"))
            key = "ext"
            if attributes["ext"] is not None:
                packet._set_ext(attributes)
        except WrongField as wrong:
            raise _malformed(f"{name_of(key)[:40]} {wrong}", format, decoded) from None
        return packet

    def encode(self) -> bytes:
        """The message: the byte that names the format, and this packet."""
        id = None if self.ids is not None else self.id
        return Envelope(self.format, self.sender, id, self.user_data).encode(self.fields())

    def fields(self) -> dict[str, Any]:
        """Fields that differ from their defaults, by their names on the wire, for an `Envelope`.

        ``from``, ``id`` and ``user-data`` are not among them: the envelope adds them.
        """
        attributes, defaults = self.__dict__, type(self)
        result: dict[str, Any] = {}
        if self.ids is not None:
            result["id"] = [_named(id, seq) for id, seq in self.ids]
        for name, attribute in self._NAMES:
            value = attributes.get(attribute)
            if value is not None and value != getattr(defaults, attribute):
                result[name] = value
        ext = dict(self.ext or {})
        for name, attribute in self._EXT_NAMES:
            value = attributes.get(attribute)
            if value is not None and value != getattr(defaults, attribute):
                ext[name] = value
        if ext:
            result["ext"] = ext
        return result

    @property
    def has_user_data(self) -> bool:
        """Whether there is user data, null included."""
        return self.user_data is not NO_USER_DATA

    def __repr__(self) -> str:
        """Fields that differ from their defaults; secrets are left out, long values are cut."""
        defaults = type(self)
        shown = [
            _show(attribute, value)
            for attribute, value in self.__dict__.items()
            if value is not getattr(defaults, attribute, None)
        ]
        return f"<{defaults.__name__} {' '.join(shown)}>"

    # -- fields whose check needs another field ------------------------------------------------

    def _set_id(self, id: bytes | Ids) -> None:
        if isinstance(id, bytes):
            self.id = id
        elif len(id) == 1:
            self.id, seq = id[0]
            self.seq = seq if seq is not None else self.seq
        elif id:
            self.ids = id

    def _set_condition(self, condition: object) -> None:
        """Check the condition of an error; elsewhere Zurl ignores the field."""
        if self.type == b"error":
            self.condition = check.text(condition)

    def _set_ext(self, attributes: dict[str, Any]) -> None:
        rules = self._EXT_RULES
        given, ext = attributes["ext"], {}
        for key, value in given.items():
            rule = rules.get(key)
            if rule is None:
                ext[name_of(key)] = value
                continue
            try:
                attributes[rule[0]] = rule[1](value)
            except WrongField as wrong:
                raise WrongField(f"{name_of(key)} {wrong}") from None
        attributes["ext"] = ext


_COMMON: Final[tuple[Field, ...]] = (
    ("from", "sender", check.text),
    ("id", "_id", check.id_or_ids),
    ("seq", "seq", check.number),
    ("type", "type", check.packet_type),
    ("condition", "_condition", check.any_value),
    ("credits", "credits", check.number),
    ("more", "more", check.boolean),
    ("headers", "headers", check.headers),
    ("body", "body", check.text),
    ("content-type", "content_type", check.text),
    ("code", "code", check.number),
    ("user-data", "user_data", check.user_data),
    ("ext", "ext", check.dictionary),
)


def rules(*own: Field) -> dict[str | bytes, Rule]:
    """The table of a kind of packet: the common fields and its own."""
    return table(*_COMMON, *own)


def table(*fields: Field) -> dict[str | bytes, Rule]:
    """Fields by their keys, as text and as bytes, which a TNetString has."""
    return {
        key: (attribute, checked, _PLAIN.get(checked, attribute) if checked in _TEXTS else "")
        for name, attribute, checked in fields
        for key in (name, name.encode())
    }


_TEXTS: Final = (check.text, check.id_or_ids)
_PLAIN: Final = {check.id_or_ids: "id"}


def written(table: Mapping[str | bytes, Rule]) -> list[tuple[str, str]]:
    """The fields that `Packet.fields` copies: names on the wire, and attributes."""
    pairs = [(name, rule[0].lstrip("_")) for name, rule in table.items() if isinstance(name, str)]
    return [(name, attribute) for name, attribute in pairs if attribute not in _NOT_COPIED]


_NOT_COPIED: Final = frozenset(("sender", "id", "user_data", "ext", "ignored"))


def defaults(kind: type[Packet]) -> dict[str, Any]:
    """The attributes of a packet without fields."""
    return {field.name: field.default for field in dataclasses.fields(kind)}


def _named(id: bytes | None, seq: int | None) -> dict[str, Any]:
    return {name: value for name, value in (("id", id), ("seq", seq)) if value is not None}


def _malformed(reason: str, format: Format, decoded: dict[Any, Any]) -> PacketError:
    read = {name_of(key): value for key, value in decoded.items()}
    id = read.get("id")
    ids = []
    for candidate in id if type(id) is list else (id,):
        if type(candidate) is dict:
            candidate = {name_of(key): value for key, value in candidate.items()}.get("id")
        readable = text_or_none(candidate)
        if readable is not None:
            ids.append(readable)
    if "seq" in read and "id" not in read:
        ids.append(b"")
    return PacketError(
        reason,
        format,
        text_or_none(read.get("from")),
        tuple(ids),
        text_or_none(read.get("type")),
    )


_HIDDEN: Final = frozenset(("headers", "user_data", "ext", "client_key", "client_cert"))
_SHOWN: Final = 60  # characters of a value


def _show(attribute: str, value: object) -> str:
    if attribute in _HIDDEN:
        return f"{attribute}=..."
    if attribute == "uri" and isinstance(value, bytes):
        value = value.partition(b"?")[0].rpartition(b"@")[2]
    if attribute == "body":
        return f"body={len(value) if isinstance(value, (bytes, bytearray)) else 0} bytes"
    if attribute == "format":
        return getattr(value, "name", str(value))
    return f"{attribute}={value!r:.{_SHOWN}}"
