"""ZHTTP messages as tests see them, written without any of the daemon's own code.

Text of a packet is bytes here, whatever the format; `user-data` keeps the types of its format.
"""

import json
from typing import Any

import msgpack

from zurl_py.zhttp import tnetstring

Fields = dict[str, Any]


def _to_bytes(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, (list, tuple)):
        return [_to_bytes(item) for item in value]
    if isinstance(value, dict):
        return {_to_bytes(key): _to_bytes(item) for key, item in value.items()}
    return value


def _to_text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, (list, tuple)):
        return [_to_text(item) for item in value]
    if isinstance(value, dict):
        return {_to_text(key): _to_text(item) for key, item in value.items()}
    return value


def encode(fields: Any, format: str = "T") -> bytes:
    """Letter and packet. `str` and `bytes` may be mixed freely in `fields`."""
    if format == "T":
        return b"T" + bytes(tnetstring.dumps(_to_bytes(fields)))
    if format == "J":
        return b"J" + json.dumps(_to_text(fields)).encode()
    if format == "M":
        return b"M" + bytes(msgpack.packb(fields, use_bin_type=True))
    raise ValueError(f"no such format: {format}")


def _load(format: str, data: bytes) -> Any:
    if format == "T":
        return tnetstring.loads(data)
    if format == "J":
        return json.loads(data)
    if format == "M":
        return msgpack.unpackb(data, raw=False)
    raise AssertionError(f"answer in an unknown format: {format!r} {data[:80]!r}")


def decode(message: bytes, address: bytes | None = None) -> "Message":
    """The message in `message` (letter and packet). Raises AssertionError if there is none."""
    format = message[:1].decode("latin-1")
    loaded = _load(format, message[1:])
    assert isinstance(loaded, dict), f"answer is no dictionary: {message!r}"
    fields: Fields = {}
    for key, value in loaded.items():
        name = key.decode() if isinstance(key, bytes) else key
        fields[name] = value if name == "user-data" else _to_bytes(value)
    if "ext" in fields:
        fields["ext"] = {key.decode(): value for key, value in fields["ext"].items()}
    return Message(format, fields, message, address)


class Message:
    """An answer of the daemon.

    Attributes:
        format: "J", "T" or "M".
        fields: what the packet holds; text as bytes.
        raw: the message as it came.
        address: where it was published; None on the request interface.
    """

    def __init__(self, format: str, fields: Fields, raw: bytes, address: bytes | None) -> None:
        self.format = format
        self.fields = fields
        self.raw = raw
        self.address = address

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]

    def __contains__(self, name: str) -> bool:
        return name in self.fields

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a field, or `default`."""
        return self.fields.get(name, default)

    @property
    def id(self) -> bytes | None:
        """The session."""
        return self.fields.get("id")

    @property
    def type(self) -> bytes:
        """The packet's type, b"data" where it has none."""
        value: bytes = self.fields.get("type", b"data")
        return value

    @property
    def body(self) -> bytes:
        """The body, empty if there is none."""
        value: bytes = self.fields.get("body", b"")
        return value

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Headers of a response, in order."""
        return [(name, value) for name, value in self.fields.get("headers", [])]

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header, by name without regard to case."""
        for candidate, value in self.headers:
            if candidate.lower() == name.lower():
                return value
        return None

    @property
    def is_final(self) -> bool:
        """Whether a session ends with this packet."""
        if self.type == b"data":
            return not self.fields.get("more", False)
        return self.type in (b"error", b"cancel")

    def __repr__(self) -> str:
        shown = {
            key: (value[:80] + b"..." if isinstance(value, bytes) and len(value) > 80 else value)
            for key, value in sorted(self.fields.items())
        }
        return f"<{self.format} {shown}>"
