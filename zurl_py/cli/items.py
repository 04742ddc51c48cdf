"""The arguments after a URL: HTTPie's request items, and curl's options for bodies. Without I/O
other than reading the files that they name.
"""

from __future__ import annotations

import json
import mimetypes
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import quote, quote_plus

import click

__all__ = [
    "Asked",
    "add_items",
    "as_sent",
    "curl_data",
    "form_part",
    "full_url",
    "split_header",
    "urlencoded",
]

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_SHORT = re.compile(r":(\d*)(/.*)?")
# Longest first. The text before the first separator that is not escaped is the item's name.
_SEPARATORS: Final = (":=@", "=@", ":=", "==", "=", "@", ":", ";")


@dataclass(slots=True)
class Asked:
    """A request as given on the command line.

    Attributes:
        headers: in order; the value None removes a header that would be sent.
        params: added to the query; percent-encoded.
        data: pieces of a form from ``-d``, to be joined by ``&``.
        fields: of a JSON object.
        parts: of a multipart form.
        content: the body itself, if it was given as a whole.
        content_type: Content-Type of the body, unless a header gives it.
    """

    headers: list[tuple[str, str | None]] = field(default_factory=list)
    params: list[str] = field(default_factory=list)
    data: list[bytes] = field(default_factory=list)
    fields: dict[str, Any] = field(default_factory=dict)
    parts: list[tuple[str, Any]] = field(default_factory=list)
    content: bytes | IO[bytes] | None = None
    content_type: str | None = None

    @property
    def has_body(self) -> bool:
        """Whether the request has a body."""
        return bool(self.data or self.fields or self.parts) or self.content is not None

    def kinds(self) -> list[str]:
        """The kinds of bodies that were given; only one is allowed."""
        given = {
            "a form (-d)": self.data,
            "JSON items": self.fields and not self.parts,
            "a multipart form (-F, name@file)": self.parts,
            "a whole body (--json, --data-binary alone, -T)": self.content is not None,
        }
        return [name for name, value in given.items() if value]


def full_url(text: str) -> str:
    """The URL for an argument: ``:8000/x`` is on this machine; the default scheme is http."""
    short = _SHORT.fullmatch(text)
    if short:
        port, path = short.groups()
        return f"http://localhost{f':{port}' if port else ''}{path or '/'}"
    if _SCHEME.match(text):
        return text
    return f"http://{text}"


def split_header(text: str) -> tuple[str, str | None]:
    """A header in the form of ``-H``: ``Name: value``; ``Name:`` removes it, ``Name;`` is empty.

    Raises:
        click.UsageError: it has another form.
    """
    name, colon, value = text.partition(":")
    if colon:
        return name.strip(), value.strip() or None
    if text.endswith(";"):
        return text[:-1].strip(), ""
    raise click.UsageError(f"header {text!r}: write 'Name: value', 'Name;' for an empty one")


def add_items(asked: Asked, items: Iterable[str]) -> None:
    """Add HTTPie's request items.

    ``Name:value`` is a header, ``name==value`` goes into the query, ``name=value`` is text and
    ``name:=value`` JSON in a JSON object, ``name@path`` a file of a multipart form; ``=@`` and
    ``:=@`` take the value from a file. A backslash before a separator makes it plain text.

    Raises:
        click.UsageError: an item has no separator, a value is no JSON, or a file cannot be read.
    """
    fields: dict[str, Any] = {}
    for item in items:
        name, separator, value = _split(item)
        match separator:
            case ":":
                asked.headers.append((name, value.strip() or None))
            case ";":
                asked.headers.append((name, ""))
            case "==":
                asked.params.append(f"{quote_plus(as_sent(name))}={quote_plus(as_sent(value))}")
            case "@":
                asked.parts.append(form_part(f"{name}=@{value}"))
            case "=" | "=@":
                _check_text(item)
                fields[name] = _read_text(value) if separator == "=@" else value
            case _:
                _check_text(item)
                fields[name] = _json(item, _read_text(value) if separator == ":=@" else value)
    if asked.parts:  # if one is a file, all are parts of a form
        asked.parts[:0] = [
            (name, (None, value if isinstance(value, str) else json.dumps(value)))
            for name, value in fields.items()
        ]
    else:
        asked.fields.update(fields)


def _split(item: str) -> tuple[str, str, str]:
    if item.lower().startswith(("http://", "https://")):  # or it would be a header
        raise click.UsageError(f"{item}: a command asks for one URL")
    name = ""
    at = 0
    while at < len(item):
        if item[at] == "\\" and item[at + 1 : at + 2] in (":", "=", "@", ";", "\\"):
            name += item[at + 1]
            at += 2
            continue
        for separator in _SEPARATORS:
            if item.startswith(separator, at) and name:
                value = item[at + len(separator) :]
                if separator == ";" and value:
                    continue
                return name, separator, value
        name += item[at]
        at += 1
    raise click.UsageError(
        f"{item!r} is no request item: write Name:value for a header, name==value for the query, "
        "name=value or name:=json for a JSON body, name@file for a form"
    )


def as_sent(text: str) -> bytes:
    """The bytes of an argument, which need not be text in any encoding."""
    return text.encode("utf-8", "surrogateescape")


def _check_text(item: str) -> None:
    try:
        item.encode()
    except UnicodeEncodeError:
        raise click.UsageError(f"{item!r} is not UTF-8: JSON cannot hold it") from None


def _json(item: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"{item!r}: not JSON: {error}") from None


def _open(path: str) -> bytes:
    try:
        if path == "-":
            return sys.stdin.buffer.read()
        return Path(os.path.expanduser(path)).read_bytes()
    except OSError as error:
        raise click.UsageError(f"cannot read {path}: {error.strerror}") from None


def _read_text(path: str) -> str:
    try:
        return _open(path).decode()
    except UnicodeDecodeError:
        raise click.UsageError(f"{path} is not UTF-8") from None


def curl_data(text: str, binary: bool = False) -> bytes:
    """A value of ``-d``: ``@path`` is a file, from which line breaks are removed.

    Args:
        binary: keep line breaks, as ``--data-binary`` does.
    """
    if text[:1] != "@":
        return as_sent(text)
    data = _open(text[1:])
    return data if binary else data.translate(None, b"\r\n\0")


def urlencoded(text: str) -> bytes:
    """A value of ``--data-urlencode`` and ``--url-query``.

    ``value``, ``=value``, ``name=value``, ``@path`` and ``name@path``; the name is not encoded.
    """
    name, separator, rest = text, "", ""
    found = re.search("[=@]", text)
    if found:
        name, separator, rest = text[: found.start()], found.group(), text[found.end() :]
    if not separator:
        return quote(text, safe="").encode()
    value = _open(rest) if separator == "@" else as_sent(rest)
    encoded = quote(value, safe="")
    return (f"{name}={encoded}" if name else encoded).encode()


def form_part(text: str) -> tuple[str, Any]:
    """A value of ``-F``: ``name=text``, ``name=@path``, ``name=<path``, each with an optional
    ``;type=`` and ``;filename=``.

    Raises:
        click.UsageError: it has no name, or the file cannot be read.
    """
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.UsageError(f"-F {text!r}: write name=value, name=@file or name=<file")
    value, options = _part_options(value)
    content_type, filename = options.get("type"), options.get("filename")
    if value[:1] == "@":
        path = value[1:]
        filename = filename or os.path.basename(path)
        content_type = content_type or mimetypes.guess_type(path)[0] or "application/octet-stream"
        return name, (filename, _open(path), content_type)
    content = _open(value[1:]) if value[:1] == "<" else as_sent(value)
    if content_type:
        return name, (filename, content, content_type)
    return name, (filename, content)


def _part_options(value: str) -> tuple[str, dict[str, str]]:
    options: dict[str, str] = {}
    while found := re.fullmatch(r"(.*);\s*(type|filename)=([^;]*)", value, re.S):
        value = found.group(1)
        options.setdefault(found.group(2), found.group(3).strip('"'))
    return value, options
