"""Packets of the daemon, as a worker reads them: text is bytes, ``ext`` is plain values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ..zhttp.codec import DecodeError, decode

__all__ = ["Answer", "AnswerError", "parse_answer"]


class AnswerError(ValueError):
    """What came is no packet of a daemon."""


class Answer:
    """One packet. Absent fields have defaults."""

    sender: bytes | None = None  # "from"
    id: bytes | None = None
    seq: int | None = None
    type: bytes | None = None  # None is data
    condition: bytes | None = None
    credits: int = 0  # bytes
    more: bool = False
    code: int | None = None
    reason: bytes = b""
    headers: list[tuple[bytes, bytes]] = []  # noqa: RUF012 - replaced, never changed
    body: bytes = b""
    content_type: bytes | None = None
    user_data: Any = None
    ext: dict[str, Any] = {}  # noqa: RUF012 - replaced, never changed

    @property
    def is_final(self) -> bool:
        """Whether no packet of the session comes after it."""
        if self.type is None:
            return not self.more
        return self.type in (b"error", b"cancel")


def parse_answer(message: bytes) -> Answer:
    """The packet in a message.

    Raises:
        AnswerError: it is none.
    """
    try:
        _, fields = decode(message)
    except DecodeError as error:
        raise AnswerError(str(error)) from None
    answer = Answer()
    attributes = answer.__dict__
    for key, value in fields.items():
        rule = _RULES.get(key)
        if rule is not None:
            try:
                attributes[rule[0]] = rule[1](value)
            except (TypeError, ValueError):
                raise AnswerError(f"{rule[0]}: unexpected {type(value).__name__}") from None
    return answer


def _text(value: object) -> bytes:
    if type(value) is bytes:
        return value
    if type(value) is str:
        return value.encode("utf-8", "surrogatepass")
    raise TypeError


def _number(value: object) -> int:
    if type(value) is int:
        return value
    raise TypeError


def _flag(value: object) -> bool:
    if value is True or value is False:
        return value
    raise TypeError


def _headers(value: Any) -> list[tuple[bytes, bytes]]:
    return [(_text(name), _text(content)) for name, content in value]


def _any(value: object) -> object:
    return value


def plain(value: Any) -> Any:
    """A value of ``ext`` with text as ``str``, whatever the format was."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, dict):
        return {plain(key): plain(content) for key, content in value.items()}
    if isinstance(value, list):
        return [plain(content) for content in value]
    return value


def _ext(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError
    return {str(plain(key)): plain(content) for key, content in value.items()}


_FIELDS: Final[tuple[tuple[str, str, Callable[[Any], Any]], ...]] = (
    ("from", "sender", _text),
    ("id", "id", _text),
    ("seq", "seq", _number),
    ("type", "type", _text),
    ("condition", "condition", _text),
    ("credits", "credits", _number),
    ("more", "more", _flag),
    ("code", "code", _number),
    ("reason", "reason", _text),
    ("headers", "headers", _headers),
    ("body", "body", _text),
    ("content-type", "content_type", _text),
    ("user-data", "user_data", _any),
    ("ext", "ext", _ext),
)
_RULES: Final[dict[str | bytes, tuple[str, Callable[[Any], Any]]]] = {
    key: (attribute, check) for name, attribute, check in _FIELDS for key in (name, name.encode())
}
