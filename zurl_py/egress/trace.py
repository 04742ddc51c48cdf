"""libcurl's own trace in the debug log, without what could hold secrets."""

from __future__ import annotations

import re
from collections.abc import Callable

import pycurl

__all__ = ["make_trace"]

_MARKS = {
    pycurl.INFOTYPE_TEXT: "*",
    pycurl.INFOTYPE_HEADER_IN: "<",
    pycurl.INFOTYPE_HEADER_OUT: ">",
}
_SECRET_HEADER = re.compile(
    r"(?i)^((?:proxy-)?authorization|cookie|set-cookie|proxy-authenticate)\s*:.*"
)
_USERINFO = re.compile(r"//[^/@\s]*@")


def make_trace(debug: Callable[[str], None]) -> Callable[[int, bytes], None]:
    """A ``CURLOPT_DEBUGFUNCTION`` that writes to ``debug``. Bodies are left out."""

    def trace(kind: int, data: bytes) -> None:
        mark = _MARKS.get(kind)
        if mark is None:
            return
        for line in data.decode("utf-8", "replace").splitlines():
            if line:
                debug(f"libcurl {mark} {_redact(line)}")

    return trace


def _redact(line: str) -> str:
    return _USERINFO.sub("//…@", _SECRET_HEADER.sub(r"\1: (not logged)", line))
