"""A request's body: in memory, or an iterator that is read as the origin accepts data."""

from __future__ import annotations

import io
import json as jsonlib
import os
import secrets
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass
from typing import IO, Any, Final
from urllib.parse import urlencode

__all__ = ["Body", "ContentTypes", "DataTypes", "FileTypes", "encode_body"]

ContentTypes = (
    bytes | bytearray | memoryview | str | IO[bytes] | Iterable[bytes] | AsyncIterable[bytes]
)
"""What ``content`` may be."""

DataTypes = Mapping[str, Any] | Sequence[tuple[str, Any]] | ContentTypes
"""What ``data`` may be: a form, or what ``content`` may be."""

FileTypes = Mapping[str, Any] | Sequence[tuple[str, Any]]
"""What ``files`` may be: name to a file, content, or (file name, file or content[, type])."""

PIECE: Final = 65536
"""Bytes that are read from a file at a time."""

WHOLE_SIZE: Final = 200_000
"""Bytes of a body that goes with the first packet; more is sent as the origin takes it."""


@dataclass(slots=True)
class Body:
    """A body to be sent.

    Attributes:
        whole: the body, if it is in memory; else empty.
        pieces: if it is not: the iterable of its parts, which is read once.
        length: bytes, if that is known.
        content_type: its Content-Type, if it implies one.
        at_once: send it with the first packet, however large it is.
        begun: its parts were read, or begun to be.
    """

    whole: bytes = b""
    pieces: Iterable[bytes] | AsyncIterable[bytes] | None = None
    length: int | None = 0
    content_type: str | None = None
    at_once: bool = False
    begun: bool = False

    @property
    def streams(self) -> bool:
        """Whether it is sent in parts."""
        return self.pieces is not None or (len(self.whole) > WHOLE_SIZE and not self.at_once)

    @property
    def replayable(self) -> bool:
        """Whether it can be sent a second time."""
        return self.pieces is None

    @property
    def spent(self) -> bool:
        """Whether it can be read only once, and was."""
        return self.begun and isinstance(self.pieces, (Iterator, AsyncIterator))

    async def iterate(self) -> AsyncGenerator[bytes, None]:
        """Its parts, from a synchronous or asynchronous iterable."""
        self.begun = True
        if self.pieces is None:
            yield self.whole
        elif isinstance(self.pieces, AsyncIterable):
            iterator = aiter(self.pieces)
            try:
                async for piece in iterator:
                    yield _part(piece)
            finally:
                close = getattr(iterator, "aclose", None)  # generators have one
                if close is not None:
                    await close()
        else:
            for piece in self.pieces:
                yield _part(piece)


def _part(piece: Any) -> bytes:
    if isinstance(piece, str):
        return piece.encode()
    if not isinstance(piece, (bytes, bytearray, memoryview)):
        raise TypeError(f"parts of a body are bytes or text, not {type(piece).__name__}")
    return piece  # type: ignore[return-value, unused-ignore]


def encode_body(
    content: ContentTypes | None = None,
    json: object = None,
    data: DataTypes | None = None,
    files: FileTypes | None = None,
) -> Body:
    """The body from a call's arguments.

    Raises:
        TypeError: two arguments exclude each other, or a type is not allowed for a body.
        ValueError: a value cannot be expressed in JSON.
    """
    given = [
        name
        for name, value in (("content", content), ("json", json), ("files", files))
        if value is not None
    ]
    if len(given) > 1 or (data is not None and given and given != ["files"]):
        names = " and ".join([*given, *(["data"] if data is not None else [])])
        raise TypeError(f"a request has one body; {names} were given")
    if json is not None:
        text = jsonlib.dumps(json, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return _whole(text.encode(), "application/json")
    if files is not None:
        return _multipart(data, files)
    if data is not None and isinstance(data, (Mapping, list, tuple)):
        form = urlencode(_form(data), doseq=True)
        return _whole(form.encode(), "application/x-www-form-urlencoded")
    source = content if content is not None else data
    return Body() if source is None else _from_content(source)


def _whole(data: bytes, content_type: str | None = None) -> Body:
    return Body(data, None, len(data), content_type)


def _form(data: object) -> list[tuple[str, Any]]:
    pairs = data.items() if isinstance(data, Mapping) else data
    assert isinstance(pairs, Iterable)
    return [(name, value) for name, value in pairs if value is not None]


def _from_content(content: Any) -> Body:
    if isinstance(content, str):
        return _whole(content.encode())
    if isinstance(content, (bytes, bytearray, memoryview)):
        return _whole(bytes(content))
    if hasattr(content, "read"):
        return Body(pieces=_read(content), length=_rest_of(content))
    if isinstance(content, (Iterable, AsyncIterable)) and not isinstance(content, Mapping):
        return Body(pieces=content, length=None)
    raise TypeError(f"content is bytes, text, a file or an iterator, not {type(content).__name__}")


def _read(file: IO[Any]) -> Iterator[bytes]:
    while piece := file.read(PIECE):
        yield piece.encode() if isinstance(piece, str) else piece


def _rest_of(file: Any) -> int | None:
    """Bytes from a file's position to its end; None if that is not known."""
    if isinstance(file, io.TextIOBase):
        return None
    try:
        position = file.tell()
        end: int = os.fstat(file.fileno()).st_size
        if end or not file.seekable():
            return end - position if end > position else None
    except (AttributeError, OSError, ValueError):
        pass
    try:
        position = file.tell()
        end = int(file.seek(0, io.SEEK_END))
        file.seek(position)
        return int(end - position)
    except (AttributeError, OSError, ValueError):
        return None


# -- multipart/form-data (RFC 7578) ----------------------------------------------------------------


@dataclass(slots=True)
class _Part:
    head: bytes
    body: Body


def _multipart(data: object, files: FileTypes) -> Body:
    boundary = secrets.token_hex(16)
    parts = [
        _field(name, single)
        for name, value in (_form(data) if data is not None else ())
        for single in (value if isinstance(value, (list, tuple)) else (value,))
    ]
    pairs = files.items() if isinstance(files, Mapping) else files
    parts += [_file(name, value) for name, value in pairs]
    lengths = [
        None if part.body.length is None else len(part.head) + part.body.length + len(boundary) + 6
        for part in parts
    ]
    total = len(boundary) + 6
    length = None if None in lengths else total + sum(one for one in lengths if one is not None)
    kind = f"multipart/form-data; boundary={boundary}"
    return Body(pieces=_joined(parts, boundary.encode()), length=length, content_type=kind)


def _joined(parts: list[_Part], boundary: bytes) -> Iterator[bytes]:
    for part in parts:
        yield b"--" + boundary + b"\r\n" + part.head
        source = part.body.pieces
        if source is None:
            yield part.body.whole
        else:
            assert isinstance(source, Iterable)
            yield from source
        yield b"\r\n"
    yield b"--" + boundary + b"--\r\n"


def _field(name: str, value: Any) -> _Part:
    head = f'Content-Disposition: form-data; name="{_quoted(name)}"\r\n\r\n'
    text = value if isinstance(value, (str, bytes)) else str(value)
    return _Part(_head(head), _from_content(text))


def _file(name: str, value: Any) -> _Part:
    kind: str | None = "application/octet-stream"
    if isinstance(value, tuple):
        filename, content = value[:2]
        kind = value[2] if len(value) > 2 else (kind if filename is not None else None)
    else:
        content = value
        path = getattr(value, "name", None)
        filename = os.path.basename(path) if isinstance(path, str) else name
    body = _from_content(content)
    if isinstance(body.pieces, AsyncIterable):
        raise TypeError(f"files: {name} is an asynchronous iterator; give a file or bytes")
    head = f'Content-Disposition: form-data; name="{_quoted(name)}"'
    if filename is not None:
        head += f'; filename="{_quoted(filename)}"'
    if kind is not None:
        head += f"\r\nContent-Type: {kind}"
    return _Part(_head(f"{head}\r\n\r\n"), body)


def _head(text: str) -> bytes:
    """A part's head; names of files need not be UTF-8, and go out as they are."""
    return text.encode("utf-8", "surrogateescape")


def _quoted(name: str) -> str:
    """A name in the form that browsers use (WHATWG HTML, multipart/form-data encoding)."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
