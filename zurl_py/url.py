"""The one URL parser: libcurl's, with checks of our own before it, as it is lenient.

A URL is split here, refused if it is ambiguous, and put together again in one plain spelling: host
in lower case and ASCII, no user, no fragment. libcurl parses that, and must find the same host. The
policy decides about that host, and libcurl connects to it.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from socket import AF_INET, AF_INET6, inet_ntoa, inet_ntop, inet_pton
from typing import Final
from urllib.parse import unquote_to_bytes

import pycurl

from .cache import remember
from .errors import Error
from .hostname import BadHostname, to_ascii

__all__ = ["BadUrl", "Target", "parse", "resolve"]

_DEFAULT_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_FLAGS: Final = pycurl.U_PATH_AS_IS | pycurl.U_NON_SUPPORT_SCHEME
_MAX_NAME: Final = 253  # bytes of a host name, without the dot at its end (RFC 1035)

_FORBIDDEN = re.compile(rb"[\x00-\x20\x7f\\<>\"]")
_DANGEROUS = re.compile(rb"[\x00-\x1f\x7f\\]")
_SCHEME = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*:")
_URL = re.compile(
    rb"([A-Za-z][A-Za-z0-9+.-]*)://"
    rb"(?:([^/?#@]*)@)?"  # user
    rb"(\[[^]/?#@]*\]|[^][/?#@:]*)"  # host
    rb"(?::([0-9]*))?"
    rb"([/?].*)?"
)
_NAME = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
_NUMERIC = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)")
_PORT = re.compile(rb"[1-9][0-9]{0,4}")
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
# Characters that the WHATWG URL standard escapes in a path and in a query, without those that are
# refused here. ' and | are not escaped.
_ESCAPED_IN_PATH = re.compile(rb"[\x80-\xff^`{}]")
_ESCAPED_IN_QUERY = re.compile(rb"[\x80-\xff]")
_UNRESERVED: Final = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
)
_USER = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=:^`{|}-]|%[0-9A-Fa-f]{2})*")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")

# Most URLs match this: nothing in them is ambiguous or has to be rewritten.
_PLAIN = re.compile(
    rb"((?:http|ws)s?://[a-z0-9._:-]+)"
    rb"(/[A-Za-z0-9._~!$&'()*+,;=:@/-]*(?:\?[A-Za-z0-9._~!$&'()*+,;=:@/?-]*)?)"
)
_MAX_ORIGINS = 16_384
_origins: dict[bytes, tuple[str, str, int, bytes, str]] = {}
_MAX_TARGETS = 1000
_MAX_TARGET_LENGTH = 256  # bytes
_targets: dict[bytes, Target] = {}


class BadUrl(Error, ValueError):
    """A URL that is refused; the text says why, for a log line."""


@dataclass(slots=True, repr=False)  # not frozen: making one would take three times as long
class Target:
    """Where a request goes. Do not change one; `dataclasses.replace` makes another.

    Attributes:
        scheme: http, https, ws or wss.
        host: for policy and log: lower case, no trailing dot, IPv6 without brackets, IDNA-encoded.
        port: the scheme's default, if the URL has none.
        host_header: value of the Host header.
        curl_url: the URL that libcurl requests, for ``CURLOPT_CURLU``.
        authorization: value of the Authorization header from the URL's user and password.
        text: the URL for log lines, without user and password.
        origin: scheme, host and port: credentials stay within them.
    """

    scheme: str
    host: str
    port: int
    host_header: bytes
    curl_url: pycurl.CurlUrl
    authorization: bytes | None
    text: str
    origin: tuple[str, str, int] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        self.origin = (self.scheme, self.host, self.port)

    def __repr__(self) -> str:
        return f"<Target {self.text.partition('?')[0]}>"  # a query may hold a secret


def parse(uri: bytes) -> Target:
    """The target of an absolute URL.

    Path and query are kept, with two changes: escapes of characters that need none are decoded, and
    characters that the WHATWG URL standard escapes are escaped. The fragment is removed.

    Raises:
        BadUrl: the URL is malformed or ambiguous, or parsers differ in reading it.
    """
    target = _targets.get(uri)
    if target is not None:
        return target
    found = _PLAIN.fullmatch(uri)
    if found is not None:
        known = _origins.get(found.group(1))
        if known is not None:
            scheme, host, port, host_header, curl_host = known
            text = uri.decode()
            url = _curl_url(text)
            if url.host != curl_host:
                raise BadUrl("libcurl reads another host")
            target = Target(scheme, host, port, host_header, url, None, text)
            if len(uri) <= _MAX_TARGET_LENGTH:
                remember(_targets, uri, target, _MAX_TARGETS)
            return target
    if _FORBIDDEN.search(uri):
        raise BadUrl('it has a blank, a control character or one of \\<>", which must be escaped')
    if _BROKEN_ESCAPE.search(uri):
        raise BadUrl("it has a % without two hexadecimal digits; a plain % is written %25")
    try:
        uri.decode()
    except UnicodeDecodeError:
        raise BadUrl("not UTF-8") from None
    return _absolute(uri.partition(b"#")[0], _decode_unreserved)


def resolve(base: Target, location: bytes) -> Target:
    """The target of a reference, as in a redirect's Location (RFC 3986 section 5).

    Path and query are kept as they are written, as they may be signed. Only blanks and characters
    that the WHATWG URL standard escapes are escaped: origins send these although they may not.

    Raises:
        BadUrl: as for ``parse``.
    """
    if _DANGEROUS.search(location):
        raise BadUrl("it has a control character or a backslash")
    reference = location.strip(b" ").partition(b"#")[0].replace(b" ", b"%20")
    if _SCHEME.match(reference):
        return _absolute(reference, _as_is)
    if reference[:2] == b"//":
        return _absolute(base.scheme.encode() + b":" + reference, _as_is)
    path = (base.curl_url.path or "/").encode()
    query = base.curl_url.query
    if not reference:
        reference = path if query is None else path + b"?" + query.encode()
    elif reference[:1] == b"?":
        reference = path + reference
    elif reference[:1] != b"/":
        relative, mark, query_there = reference.partition(b"?")
        reference = _remove_dots(path[: path.rindex(b"/") + 1] + relative) + mark + query_there
    origin = base.text[: base.text.index("/", len(base.scheme) + 3)].encode()
    return _absolute(origin + reference, _as_is)


def _absolute(uri: bytes, rewrite: Callable[[bytes], bytes]) -> Target:
    """The target of an absolute URL without fragment.

    Args:
        rewrite: applied to path and query.
    """
    found = _URL.fullmatch(uri)
    if found is None:
        raise BadUrl("not of the form scheme://host[:port]/path")
    scheme_text, user, host_text, port_text, rest = found.groups()
    scheme = scheme_text.decode().lower()
    default = _DEFAULT_PORTS.get(scheme)
    if default is None:
        raise BadUrl(f"the scheme {scheme!r} is not one of {', '.join(_DEFAULT_PORTS)}")
    authorization = _authorization(user) if user else None
    host, curl_host = _host(host_text)
    if port_text and (not _PORT.fullmatch(port_text) or int(port_text) > 65535):
        raise BadUrl(f"the port {port_text.decode()} is not one from 1 to 65535")
    port = int(port_text) if port_text else default
    suffix = "" if port == default else f":{port}"
    rest = rewrite(rest or b"/")
    if rest[:1] != b"/":
        rest = b"/" + rest
    path, mark, query = rest.partition(b"?")
    rest = _ESCAPED_IN_PATH.sub(_escape, path) + mark + _ESCAPED_IN_QUERY.sub(_escape, query)
    origin = f"{scheme}://{curl_host}{suffix}"
    text = origin + rest.decode()
    url = _curl_url(text)
    if url.host != curl_host or url.user is not None or (url.port or "") != suffix[1:]:
        raise BadUrl("libcurl reads another host")
    host_header = f"[{host}]{suffix}" if ":" in host else host + suffix
    target = Target(scheme, host, port, host_header.encode(), url, authorization, text)
    known = (scheme, host, port, target.host_header, curl_host)
    remember(_origins, origin.encode(), known, _MAX_ORIGINS)
    return target


def _escape(match: re.Match[bytes]) -> bytes:
    return b"%%%02X" % match.group()[0]


def _curl_url(text: str) -> pycurl.CurlUrl:
    try:
        return pycurl.CurlUrl(text, _FLAGS)
    except (pycurl.error, UnicodeEncodeError) as error:
        raise BadUrl(f"libcurl: {error.args[-1]}") from None


def _host(written: bytes) -> tuple[str, str]:
    """The host of a URL in two forms: for policy and log, and for libcurl's URL."""
    if written[:1] == b"[":
        return _ipv6(written[1:-1])
    if b"%" in written:
        raise BadUrl("a host with percent-encoded characters or an IPv6 zone")
    try:
        text = written.decode()
    except UnicodeDecodeError:
        raise BadUrl("a host that is not UTF-8") from None
    if not text.isascii():
        try:
            text = to_ascii(text)
        except BadHostname as error:
            raise BadUrl(str(error)) from None
    curl_host = text.lower()
    host = curl_host.removesuffix(".")
    if not _NAME.fullmatch(host) or len(host) > _MAX_NAME:
        raise BadUrl("not a host name" if host else "no host")
    if _NUMERIC.fullmatch(host.rpartition(".")[2]) and not _is_plain_ipv4(written):
        raise BadUrl("a host that ends in a number, but is not four plain decimal numbers")
    return host, curl_host


def _is_plain_ipv4(written: bytes) -> bool:
    try:
        text = written.decode("ascii")
        return inet_ntoa(inet_pton(AF_INET, text)) == text
    except (OSError, ValueError):
        return False


def _ipv6(written: bytes) -> tuple[str, str]:
    if b"%" in written:
        raise BadUrl("an IPv6 zone")
    try:
        packed = inet_pton(AF_INET6, written.decode("ascii"))
    except (OSError, ValueError):
        raise BadUrl("not an IPv6 address in brackets") from None
    host = inet_ntop(AF_INET6, packed)
    return host, f"[{host}]"


def _authorization(user: bytes) -> bytes:
    """The Authorization header for a URL's user and password (RFC 7617).

    A user may look like a host (``john.doe:1234@``): for the policy as for libcurl, the host is
    after the ``@``.

    Raises:
        BadUrl: there are characters in it that parsers may read otherwise.
    """
    if not _USER.fullmatch(user):
        raise BadUrl("a user or password with characters that have to be escaped")
    name, _, password = user.partition(b":")
    name, password = unquote_to_bytes(name), unquote_to_bytes(password)
    if _CONTROL.search(name + password):
        raise BadUrl("control characters in user or password")
    return b"Basic " + base64.b64encode(name + b":" + password)


def _decode_unreserved(text: bytes) -> bytes:
    """Decode the escapes of characters that need none (RFC 3986 section 6.2.2.2)."""
    if b"%" not in text:
        return text

    def decode(match: re.Match[bytes]) -> bytes:
        code = int(match.group(1), 16)
        return bytes((code,)) if code in _UNRESERVED else match.group()

    return _ESCAPE.sub(decode, text)


def _as_is(text: bytes) -> bytes:
    return text


def _remove_dots(path: bytes) -> bytes:
    """Remove dot segments (RFC 3986 section 5.2.4) from a path that begins with a slash."""
    kept: list[bytes] = []
    segments = path.split(b"/")[1:]
    for segment in segments:
        if segment == b"..":
            del kept[-1:]
        elif segment != b".":
            kept.append(segment)
    if segments[-1] in (b".", b".."):
        kept.append(b"")
    return b"/" + b"/".join(kept)
