"""Converters from the text of a value to the value; their errors say what is allowed."""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from ..errors import Error
from ..ini import Entry
from .endpoint import EndpointError, parse_endpoint
from .listener import ListenerError, parse_listener

__all__ = [
    "Converter",
    "Invalid",
    "boolean",
    "choice",
    "endpoints",
    "field_value",
    "identity",
    "items",
    "listener",
    "number",
    "octal_mode",
    "ports",
    "proxy",
    "source_address",
    "text",
    "tls_groups",
]

Converter = Callable[[Entry], Any]
"""Checks the value of a key and converts it; raises `Invalid`, which says what is allowed."""

_MAX_IDENTITY = 255  # bytes; RFC 37 of ZeroMQ
_YES = frozenset(("true", "yes", "on", "1"))
_NO = frozenset(("false", "no", "off", "0", ""))
_PORTS = re.compile(r"(\d{1,5})(?:\s*-\s*(\d{1,5}))?", re.ASCII)
_GROUP = re.compile(r"[?*]*([A-Za-z0-9_-]+)")
_GROUPS = frozenset(
    (
        "x25519",
        "x448",
        "p-256",
        "p-384",
        "p-521",
        "prime256v1",
        "secp256r1",
        "secp384r1",
        "secp521r1",
        "x25519mlkem768",
        "secp256r1mlkem768",
        "secp384r1mlkem1024",
        "mlkem512",
        "mlkem768",
        "mlkem1024",
        "ffdhe2048",
        "ffdhe3072",
        "ffdhe4096",
        "ffdhe6144",
        "ffdhe8192",
    )
)
_PROXY = re.compile(r"(?:http|socks5h?)://(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):\d{1,5}/?")


class Invalid(Error, ValueError):
    """A value cannot be used; the text says what is allowed."""


def text(entry: Entry) -> str:
    """Any text."""
    return entry.text


def identity(entry: Entry) -> str:
    """The identity of a ZeroMQ socket."""
    if len(entry.text.encode()) > _MAX_IDENTITY or entry.text.startswith("\0"):
        raise Invalid(f"a name of {_MAX_IDENTITY} bytes at most")
    return entry.text


def field_value(entry: Entry) -> str:
    """The value of a header field (RFC 9110 section 5.5), in ASCII."""
    if entry.text and not (entry.text.isascii() and entry.text.isprintable()):
        raise Invalid("printable ASCII characters")
    return entry.text


def items(entry: Entry) -> tuple[str, ...]:
    """A comma-separated list."""
    return entry.items


def boolean(entry: Entry) -> bool:
    """True or false. Qt takes every word but "false" and "0" for true; other words are refused."""
    value = entry.text.lower()
    if value in _YES:
        return True
    if value in _NO:
        return False
    raise Invalid("true or false")


def number(least: int, most: int, **special: int) -> Converter:
    """A whole number from ``least`` to ``most``.

    Args:
        special: values for the texts -1 (``minus_1``) and 0 (``zero``).
    """
    others = {{"minus_1": "-1", "zero": "0"}[name]: value for name, value in special.items()}
    allowed = f"a whole number from {least} to {most}"
    if others:
        allowed += f", or {' or '.join(others)}"

    def convert(entry: Entry) -> int:
        value = entry.text
        if value in others:
            return others[value]
        if value.removeprefix("-").isdecimal() and value.isascii() and len(value) < 20:
            found = int(value)
            if least <= found <= most:
                return found
        raise Invalid(allowed)

    return convert


def choice(*allowed: str) -> Converter:
    """One of a few words."""

    def convert(entry: Entry) -> str:
        if entry.text in allowed:
            return entry.text
        raise Invalid(" or ".join(allowed))

    return convert


def octal_mode(entry: Entry) -> int | None:
    """A file mode in octal; empty: by the umask."""
    value = entry.text
    if not value:
        return None
    if re.fullmatch("[0-7]{1,4}", value):
        mode = int(value, 8)
        if mode <= 0o777:
            return mode
    raise Invalid("an octal file mode such as 660")


def endpoints(entry: Entry) -> tuple[str, ...]:
    """ZeroMQ endpoints to bind: ipc or tcp."""
    for spec in entry.items:
        try:
            parse_endpoint(spec)
        except EndpointError as allowed:
            raise Invalid(str(allowed)) from None
    return entry.items


def listener(entry: Entry) -> str:
    """The address of the status listener; empty: there is none."""
    if entry.text:
        try:
            parse_listener(entry.text)
        except ListenerError as allowed:
            raise Invalid(str(allowed)) from None
    return entry.text


def ports(entry: Entry) -> tuple[tuple[int, int], ...]:
    """TCP ports and ranges of ports, as (first, last) pairs."""
    pairs = []
    for item in entry.items:
        found = _PORTS.fullmatch(item)
        first = int(found.group(1)) if found else 0
        last = int(found.group(2) or first) if found else 0
        if not 0 < first <= last <= 65535:
            raise Invalid("ports and ranges such as 80,443,8000-8999")
        pairs.append((first, last))
    return tuple(pairs)


def proxy(entry: Entry) -> str:
    """The URL of a proxy: scheme, host and port, nothing else. Empty: none."""
    value = entry.text
    if value and not _PROXY.fullmatch(value):
        raise Invalid(
            "http://HOST:PORT, socks5://HOST:PORT or socks5h://HOST:PORT; a user and a password "
            "go into proxy_credentials_file"
        )
    return value


def source_address(entry: Entry) -> tuple[str, ...]:
    """The local addresses of connections: one of IPv4, one of IPv6, or both."""
    found: dict[int, str] = {}
    for item in entry.items:
        try:
            address = ip_address(item)
        except ValueError:
            raise Invalid("an IPv4 address, an IPv6 address, or one of each") from None
        if address.version in found or getattr(address, "scope_id", None):
            raise Invalid("one address of IPv4 and one of IPv6 at most, without a zone")
        found[address.version] = str(address)
    return tuple(found.values())


def tls_groups(entry: Entry) -> str:
    """Key exchange groups in OpenSSL's syntax; empty: OpenSSL's default."""
    names = re.split("[:/]", entry.text.replace(",", ":")) if entry.text else []
    for name in names:
        found = _GROUP.fullmatch(name.strip())
        known = found is not None and found.group(1).lower() in _GROUPS
        if not known and not (found and name.strip().startswith("?")):
            raise Invalid(
                "groups such as X25519:X25519MLKEM768:P-256, with ? before one that OpenSSL may "
                f"not know; {name.strip()!r} is not known"
            )
    return ":".join(name.strip() for name in names)
