"""libcurl's own trace for the debug log, without anything that could be secret.

Of a request's fields, values are shown for a list of fields that hold no secrets, names for all
others: any field may hold a key. Of an answer's fields, all but those with credentials are shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import pycurl

__all__ = ["make_trace"]

_MARKS: Final = {
    pycurl.INFOTYPE_TEXT: "*",
    pycurl.INFOTYPE_HEADER_IN: "<",
    pycurl.INFOTYPE_HEADER_OUT: ">",
}
_MAX_LINE: Final = 4000  # characters of a line that are shown
_SHOWN_OF_REQUESTS: Final = re.compile(
    r"accept|accept-encoding|accept-language|cache-control|connection|content-encoding|"
    r"content-length|content-type|date|expect|from|host|if-match|if-modified-since|if-none-match|"
    r"if-range|if-unmodified-since|max-forwards|origin|pragma|range|te|trailer|transfer-encoding|"
    r"upgrade|user-agent|via|:authority|:method|:path|:scheme|:protocol"
)
_HIDDEN_OF_ANSWERS: Final = re.compile(
    r"authentication-info|proxy-authenticate|proxy-authentication-info|set-cookie2?|"
    r"www-authenticate"
)
_FIELD: Final = re.compile(r"(:?[^\s:\[\]]+)\s*:\s?(.*)")
# libcurl shows fields of HTTP/2 and 3 as text: "[HTTP/2] [1] [cookie: a=b]".
_FIELD_NOTE: Final = re.compile(r"(\[HTTP/[23]\] \[\d+\] )\[(:?[^\s:\]]+): (.*)\]")
_USERINFO: Final = re.compile(r"//[^/@\s]*@")
_QUERY: Final = re.compile(r"\?[^\s\]'\"]*")
_LOGIN_NOTE: Final = re.compile(r"(?i)\b(user|password|credentials?)\b")


def make_trace(debug: Callable[[str], None]) -> Callable[[int, bytes], None]:
    """A ``CURLOPT_DEBUGFUNCTION`` for one transfer; it calls ``debug``, and omits bodies."""
    rest: dict[int, bytes] = {}  # by kind: the beginning of an incomplete line

    def trace(kind: int, data: bytes) -> None:
        mark = _MARKS.get(kind)
        if mark is None:
            return
        *lines, last = (rest.pop(kind, b"") + data).split(b"\n")
        if kind == pycurl.INFOTYPE_TEXT:
            lines.append(last)
        elif last:
            # libcurl shows what the socket takes at a time: a line may come in parts.
            rest[kind] = last[:_MAX_LINE]
        for line in lines:
            text = line.decode("utf-8", "replace").strip("\r")
            if text:
                debug(f"libcurl {mark} {_redact(kind, text[:_MAX_LINE])}")

    return trace


def _redact(kind: int, line: str) -> str:
    if kind == pycurl.INFOTYPE_TEXT:
        note = _FIELD_NOTE.fullmatch(line)
        if note is not None:
            line = f"{note[1]}[{_show_field(note[2], note[3], True)}]"
        elif _LOGIN_NOTE.search(line):
            return "(a note about credentials, not logged)"
    else:
        field = _FIELD.fullmatch(line)
        if field is not None:
            line = _show_field(field[1], field[2], kind == pycurl.INFOTYPE_HEADER_OUT)
    return _QUERY.sub("?…", _USERINFO.sub("//…@", line))


def _show_field(name: str, value: str, of_request: bool) -> str:
    lower = name.lower()
    shown = (
        _SHOWN_OF_REQUESTS.fullmatch(lower)
        if of_request
        else not _HIDDEN_OF_ANSWERS.fullmatch(lower)
    )
    if shown:
        return f"{name}: {value}"
    return f"{name}: (not logged)"
