"""The one URL parser: libcurl's, with refusals of our own, as it is lenient.

What the policy is asked about and what libcurl connects to come from the same parse.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Final

import idna
import pycurl

__all__ = ["BadUrl", "Target", "parse", "resolve"]

_DEFAULT_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_FLAGS: Final = pycurl.U_PATH_AS_IS | pycurl.U_NON_SUPPORT_SCHEME
_SHAPE = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://[^/]")
_FORBIDDEN = re.compile(rb"[\x00-\x20\x7f\\<>\"^`{|}]")
_DANGEROUS = re.compile(rb"[\x00-\x1f\x7f\\]")
_AUTHORITY = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?//(?:[^/?#@]*@)?([^/?#:@\[\]]*)")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_UNRESERVED: Final = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
)
_NUMERIC_LABEL = re.compile(r"(?:\d+|0x[0-9a-f]*)")
_IPV4 = re.compile(r"(?:\d{1,3}\.){3}\d{1,3}")


class BadUrl(ValueError):
    """A URL that is not used; the text says why, fit for a log line."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes.

    Attributes:
        scheme: lower case.
        host: for policy and log: lower case, no trailing dot, IPv6 without brackets.
        port: the scheme's own, if the URL names none.
        host_header: value of the Host header.
        curl_url: what libcurl connects to and requests, for ``CURLOPT_CURLU``.
        authorization: value of the Authorization header from the URL's user and password.
        text: the URL for log lines, without user and password.
    """

    scheme: str
    host: str
    port: int
    host_header: bytes
    curl_url: pycurl.CurlUrl
    authorization: bytes | None
    text: str

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port: credentials stay within them."""
        return (self.scheme, self.host, self.port)


def parse(uri: bytes) -> Target:
    """The target of an absolute URL.

    Raises:
        BadUrl: it is malformed, ambiguous, or means different things to different parsers.
    """
    if _FORBIDDEN.search(uri):
        raise BadUrl('a blank, a control character or one of \\<>"^`{|} in it')
    if not _SHAPE.match(uri):
        raise BadUrl("not scheme://host…")
    try:
        text = uri.decode("utf-8")
    except UnicodeDecodeError:
        raise BadUrl("not UTF-8") from None
    if not text.isascii():
        text = _to_ascii(text)
    if "%" in text:
        text = _normalise_escapes(text)
    try:
        url = pycurl.CurlUrl(text, _FLAGS)
    except (pycurl.error, UnicodeEncodeError) as error:
        raise BadUrl(f"libcurl: {error.args[-1]}") from None
    return _target(url)


def resolve(base: Target, location: bytes) -> Target:
    """The target of a reference, as in a redirect's Location (RFC 3986 section 5).

    Raises:
        BadUrl: as for ``parse``.
    """
    if _DANGEROUS.search(location):
        raise BadUrl("a control character or a backslash in it")
    try:
        # Origins write blanks, and more that is no URL, into Location; browsers take it, too.
        text = location.strip(b" ").replace(b" ", b"%20").decode("utf-8")
        if not text.isascii():
            text = _to_ascii(text)
        if text[:1] == "/" and text[1:2] != "/":
            # The path as it is, escapes and dots included: it may be signed.
            text = f"{base.scheme}://{base.host_header.decode()}{text}"
        url = pycurl.CurlUrl(base.curl_url.url, _FLAGS)
        url.setpart(pycurl.UPART_URL, text, _FLAGS)
        return _target(url)
    except (pycurl.error, UnicodeError) as error:
        raise BadUrl(f"libcurl: {error.args[-1]}") from None


def _target(url: pycurl.CurlUrl) -> Target:
    scheme = url.scheme
    host = url.host
    if not host:  # file: and the like need none
        raise BadUrl("no host")
    if url.zoneid is not None:
        raise BadUrl("an IPv6 zone")
    authorization = _authorization(url) if url.user is not None else None
    if host[:1] == "[":
        host = bare = host[1:-1].lower()
        url.host = f"[{bare}]"
    else:
        host = _check_name(url, host)
    port = url.port
    default = _DEFAULT_PORTS.get(scheme)
    number = int(port) if port else default or 0
    if number == 0 and default is not None:
        raise BadUrl("port 0")
    if url.fragment is not None:
        url.fragment = None
    shown = f"[{host}]" if ":" in host else host
    host_header = shown if number == default else f"{shown}:{number}"
    return Target(scheme, host, number, host_header.encode(), url, authorization, url.url)


def _check_name(url: pycurl.CurlUrl, host: str) -> str:
    name = host.lower()
    if name != host:
        url.host = name
    bare = name.removesuffix(".")
    if not bare.isascii() or not bare or ".." in bare or bare[0] == ".":
        raise BadUrl("not a host name")
    if _NUMERIC_LABEL.fullmatch(bare.rpartition(".")[2]) and not _IPV4.fullmatch(bare):
        raise BadUrl("a host name that ends in a number")
    return bare


def _authorization(url: pycurl.CurlUrl) -> bytes:
    try:
        user = url.getpart(pycurl.UPART_USER, pycurl.U_URLDECODE) or ""
        password = url.password and url.getpart(pycurl.UPART_PASSWORD, pycurl.U_URLDECODE)
    except (pycurl.error, UnicodeError):
        raise BadUrl("user or password that cannot be decoded") from None
    url.user = None
    url.password = None
    return b"Basic " + base64.b64encode(f"{user}:{password or ''}".encode())


def _to_ascii(text: str) -> str:
    """An international host as IDNA has it (UTS 46); other bytes beyond ASCII as escapes."""
    found = _AUTHORITY.match(text)
    if found and not found.group(1).isascii():
        try:
            host = idna.encode(found.group(1), uts46=True, std3_rules=True).decode()
        except idna.IDNAError as error:
            raise BadUrl(f"not an international host name: {error}") from None
        text = text[: found.start(1)] + host + text[found.end(1) :]
        found = _AUTHORITY.match(text)
    if found and not found.group(0).isascii():
        raise BadUrl("user or password beyond ASCII")
    return "".join(c if c.isascii() else "".join(f"%{b:02X}" for b in c.encode()) for c in text)


def _normalise_escapes(text: str) -> str:
    """Decode the escapes of unreserved characters (RFC 3986 section 6.2.2.2)."""
    if _BROKEN_ESCAPE.search(text):
        raise BadUrl("a % without two hexadecimal digits")
    start = text.find("/", text.index("://") + 3)
    if start < 0:
        return text

    def decode(match: re.Match[str]) -> str:
        code = int(match.group(1), 16)
        return chr(code) if code in _UNRESERVED else match.group(0)

    return text[:start] + _ESCAPE.sub(decode, text[start:])
