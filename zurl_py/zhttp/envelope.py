"""Encoding packets: fields that all packets of a session share are encoded once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgpack
import msgspec

from ..cache import Memo
from . import tnetstring
from .codec import Format
from .json_text import JsonText

__all__ = ["NO_USER_DATA", "Envelope"]

NO_USER_DATA: Final = object()  # None cannot say so: null is user data too

_encode_json = msgspec.json.Encoder().encode
_encode_msgpack: Callable[[Any], bytes] = msgpack.Packer(unicode_errors="surrogateescape").pack
_CONTAINERS = (dict, list, tuple)


class Envelope:
    """Encodes the packets of one session, in the format of its first message.

    Args:
        sender: ``from``, the sender's address; None leaves the field out.
        id: the session's id; None leaves the field out.
        user_data: as in the session's first message; ``NO_USER_DATA`` leaves the field out.
        address: of the worker; each message begins with it and a space. None: with neither.
    """

    __slots__ = ("_common", "_start", "_write")

    def __init__(
        self,
        format: Format,
        sender: bytes | None,
        id: bytes | None,
        user_data: Any = NO_USER_DATA,
        address: bytes | None = None,
    ) -> None:
        common: dict[str, Any] = {}
        if sender is not None:
            common["from"] = sender
        if id is not None:
            common["id"] = id
        if user_data is not NO_USER_DATA:
            common["user-data"] = user_data
        letter, prepare, self._write = _FORMATS[format]
        self._common = prepare(common)
        self._start = letter if address is None else address + b" " + letter

    def to(self, address: bytes) -> Envelope:
        """An envelope that differs only in the worker's address."""
        other = Envelope.__new__(Envelope)
        other._common, other._write = self._common, self._write
        other._start = address + b" " + self._start[-1:]
        return other

    def encode(self, fields: dict[str, Any]) -> bytes:
        """The message that holds these fields.

        Args:
            fields: values by their names on the wire. Text and bodies are bytes, ``headers`` is
                pairs of bytes, ``body`` may be a bytearray. ``ext`` and a list of ids hold any
                value that the format has; all other values are numbers and booleans.
        """
        return self._write(self._start, self._common, fields)


# In each format the fields of the session are encoded once, when the envelope is made. Encoded
# headers are cached, as many answers have the same ones.

_MAX_CACHED = 1000
_MAX_CACHED_LENGTH = 128  # bytes
_Pair = tuple[bytes, bytes]


def _is_short(pair: _Pair) -> bool:
    return len(pair[0]) + len(pair[1]) <= _MAX_CACHED_LENGTH


# -- JSON: text is UTF-8; bytes that are not become U+FFFD -----------------------------------------


def _prepare_json(common: dict[str, Any]) -> dict[str, Any]:
    for name, value in common.items():
        if type(value) is bytes and name != "user-data":
            common[name] = value.decode("utf-8", "replace")
    return common


def _json_pair(pair: _Pair) -> tuple[str, str]:
    name, value = pair
    return name.decode("utf-8", "replace"), value.decode("utf-8", "replace")


_json_pairs: Final = Memo(_json_pair, _is_short, _MAX_CACHED)
_json_pair_of: Final = _json_pairs.__getitem__


def _write_json(start: bytes, common: dict[str, Any], fields: dict[str, Any]) -> bytes:
    packet = common | fields
    for name, value in fields.items():
        kind = type(value)
        if kind is int or kind is bool:
            continue
        if kind is bytes or kind is bytearray:
            packet[name] = value.decode("utf-8", "replace")
        elif name == "headers":
            packet[name] = list(map(_json_pair_of, value))
        elif kind is JsonText:
            packet[name] = value.raw
        elif kind in _CONTAINERS:
            packet[name] = _as_text(value)
    return start + _encode_json(packet)


def _as_text(value: Any) -> Any:
    """A value in which all bytes have become text, also inside lists and dictionaries."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, dict):
        return {_as_text(key): _as_text(content) for key, content in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_text(content) for content in value]
    return value


# -- MessagePack: bodies are binary, other text is text where it is UTF-8 --------------------------


def _prepare_msgpack(common: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _text_or_bytes(value) if type(value) is bytes and name != "user-data" else value
        for name, value in common.items()
    }


def _write_msgpack(start: bytes, common: dict[str, Any], fields: dict[str, Any]) -> bytes:
    packet = common.copy()
    for name, value in fields.items():
        if type(value) is bytes and name != "body":
            packet[name] = _text_or_bytes(value)
        elif name == "headers":
            packet[name] = [(_text_or_bytes(k), _text_or_bytes(v)) for k, v in value]
        elif type(value) in _CONTAINERS:
            packet[name] = _texts_or_bytes(value)
        else:
            packet[name] = value
    return start + _encode_msgpack(packet)


def _texts_or_bytes(value: Any) -> Any:
    """A value in which bytes that are UTF-8 have become text, also in lists and dictionaries."""
    if isinstance(value, bytes):
        return _text_or_bytes(value)
    if isinstance(value, dict):
        return {_texts_or_bytes(key): _texts_or_bytes(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_texts_or_bytes(inner) for inner in value]
    return value


def _text_or_bytes(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


# -- TNetString: encoded here, because the library needs each pair of headers as a list ------------


def _prepare_tnetstring(common: dict[str, Any]) -> bytes:
    parts = []
    for name, value in common.items():
        if type(value) is bytes:
            parts.append(b"%b%d:%b," % (_keys.get(name) or _key(name), len(value), value))
        else:
            parts.append(_key(name) + tnetstring.dumps(_as_bytes(value)))
    return b"".join(parts)


def _tnetstring_pair(named: _Pair) -> bytes:
    name, value = named
    pair = b"%d:%b,%d:%b," % (len(name), name, len(value), value)
    return b"%d:%b]" % (len(pair), pair)


_tnetstring_pairs: Final = Memo(_tnetstring_pair, _is_short, _MAX_CACHED)
_tnetstring_pair_of: Final = _tnetstring_pairs.__getitem__


def _tnetstring_number(value: int) -> bytes:
    digits = b"%d" % value
    return b"%d:%b#" % (len(digits), digits)


# Most numbers are status codes and the first numbers of a sequence.
_NUMBERS: Final = tuple(map(_tnetstring_number, range(_MAX_CACHED)))


def _write_tnetstring(start: bytes, common: bytes, fields: dict[str, Any]) -> bytes:
    parts: list[bytes | bytearray] = [b"", common]
    add = parts.append
    keys = _keys
    for name, value in fields.items():
        key = keys.get(name) or _key(name)
        kind = type(value)
        if kind is int:
            add(key)
            add(_NUMBERS[value] if 0 <= value < _MAX_CACHED else _tnetstring_number(value))
        elif name == "body":  # may be large: joined below, so that it is copied once only
            parts += (b"%b%d:" % (key, len(value)), value, b",")
        elif kind is bytes:
            add(b"%b%d:%b," % (key, len(value), value))
        elif kind is bool:
            add(key + (b"4:true!" if value else b"5:false!"))
        elif name == "headers":
            text = b"".join(map(_tnetstring_pair_of, value))
            add(b"%b%d:%b]" % (key, len(text), text))
        else:
            add(key + tnetstring.dumps(_as_bytes(value)))
    parts[0] = b"%b%d:" % (start, sum(map(len, parts)))
    add(b"}")
    return b"".join(parts)


_keys: dict[str, bytes] = {}


def _key(name: str) -> bytes:
    key = _keys.get(name)
    if key is None:
        key = _keys[name] = b"%d:%b," % (len(name), name.encode())
    return key


def _as_bytes(value: Any) -> Any:
    """A value in which all text has become bytes: ``tnetstring.dumps`` refuses ``str``."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict):
        return {_as_bytes(key): _as_bytes(content) for key, content in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_bytes(content) for content in value]
    return value


# For each format: its first byte, the function that encodes the session's fields, and the one that
# encodes a packet's.
_FORMATS: dict[Format, tuple[bytes, Callable[[dict[str, Any]], Any], Callable[..., bytes]]] = {
    Format.JSON: (Format.JSON.value, _prepare_json, _write_json),
    Format.TNETSTRING: (Format.TNETSTRING.value, _prepare_tnetstring, _write_tnetstring),
    Format.MSGPACK: (Format.MSGPACK.value, _prepare_msgpack, _write_msgpack),
}
