"""Headers: in order, with repeated ones, and looked up without regard to case."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from ..http.fields import SECRETS

__all__ = ["Headers"]

_SECRETS: Final = SECRETS | {b"set-cookie", b"set-cookie2"}


class Headers(Mapping[str, str]):
    """The headers of a request or an answer.

    As a mapping it has each name once; values of repeated headers are joined by ``", "``.

    Args:
        headers: a mapping, or pairs of name and value, as text or bytes. Text is sent as UTF-8.

    Attributes:
        raw: the pairs as they are on the wire.
    """

    __slots__ = ("raw",)

    def __init__(self, headers: object = None) -> None:
        self.raw: list[tuple[bytes, bytes]]
        if headers is None:
            self.raw = []
        elif isinstance(headers, Headers):
            self.raw = list(headers.raw)
        elif isinstance(headers, Mapping):
            self.raw = [_pair(name, value) for name, value in headers.items()]
        elif isinstance(headers, Iterable) and not isinstance(headers, (str, bytes)):
            self.raw = [_pair(*pair) for pair in headers]
        else:
            raise TypeError(f"headers are a mapping or pairs, not {type(headers).__name__}")

    @classmethod
    def of_pairs(cls, raw: list[tuple[bytes, bytes]]) -> Headers:
        """Headers with these pairs; the list is not copied."""
        made = cls.__new__(cls)
        made.raw = raw
        return made

    def get_list(self, name: str) -> list[str]:
        """All values of a name, in order."""
        wanted = name.lower().encode()
        return [_text(value) for key, value in self.raw if key.lower() == wanted]

    def multi_items(self) -> list[tuple[str, str]]:
        """All pairs, in order."""
        return [(_text(name), _text(value)) for name, value in self.raw]

    def __getitem__(self, name: str) -> str:
        values = self.get_list(name)
        if not values:
            raise KeyError(name)
        return ", ".join(values)

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str):
            return False
        wanted = name.lower().encode()
        return any(key.lower() == wanted for key, _ in self.raw)

    def __iter__(self) -> Iterator[str]:
        seen = set()
        for key, _ in self.raw:
            lower = key.lower()
            if lower not in seen:
                seen.add(lower)
                yield _text(key)

    def __len__(self) -> int:
        return len({key.lower() for key, _ in self.raw})

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Headers):
            return NotImplemented
        return _folded(self) == _folded(other)

    def __repr__(self) -> str:
        shown = [
            (name, "[secure]" if name.lower().encode() in _SECRETS else value)
            for name, value in self.multi_items()
        ]
        return f"Headers({shown!r})"


def _folded(headers: Headers) -> list[tuple[bytes, bytes]]:
    return sorted((name.lower(), value) for name, value in headers.raw)


def _pair(name: object, value: object) -> tuple[bytes, bytes]:
    if isinstance(name, str):
        name = name.encode()
    if isinstance(value, str):
        value = value.encode()
    if not isinstance(name, bytes) or not isinstance(value, bytes):
        raise TypeError(f"a header is a pair of text or bytes, not {name!r}: {value!r}")
    return name, value


def _text(value: bytes) -> str:
    """Text from UTF-8, or else from ISO 8859-1, which fields had in the past (RFC 9110 5.5)."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
