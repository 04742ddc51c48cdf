"""Conversions of an endpoint's settings: from a question, to and from the store, to an answer."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from ..signatures import Mode, SecretError
from .messages import EndpointPut, QuestionError
from .model import Endpoint, Settings
from .references import check

__all__ = ["by_uri", "describe", "from_text", "name_of_uri", "settings_from", "to_text"]

_GIVEN = ("signature", "order", "dead_head", "rate", "concurrency", "schedule", "timeout")


def name_of_uri(uri: str) -> str:
    """The name of the endpoint that deliveries by ``uri`` go to."""
    return "uri:" + hashlib.sha256(uri.encode()).hexdigest()[:32]


def by_uri(uri: str, schedule: tuple[float, ...]) -> Settings:
    """The settings of the endpoint for a ``uri``: all defaults."""
    return Settings(uri=uri, schedule=schedule)


def settings_from(
    put: EndpointPut, kept_secrets: tuple[str, ...], schedule: tuple[float, ...]
) -> tuple[Settings, tuple[str, ...]]:
    """Settings and secrets after an ``endpoint-put``.

    Args:
        kept_secrets: the endpoint's secrets so far; they stay where none are given.
        schedule: the default.

    Raises:
        QuestionError: the secrets cannot be used with the kind of signature.
    """
    secrets = kept_secrets if put.secrets is None else put.secrets
    mode: Mode = put.signature or ("standard" if secrets else "none")
    if mode != "none" and not secrets:
        raise QuestionError("bad-request", "bad-field", f"signature: {mode} needs secrets")
    try:
        check(mode, secrets)
    except SecretError as error:
        raise QuestionError("bad-request", "bad-field", f"secrets: {error}") from None
    given = {name: value for name in _GIVEN if (value := getattr(put, name)) is not None}
    settings: dict[str, Any] = {"schedule": schedule, **given, "signature": mode}
    return Settings(uri=put.uri, headers=put.headers or (), given=given, **settings), secrets


# -- to and from the store: one JSON text ----------------------------------------------------------


def to_text(settings: Settings) -> str:
    """Settings as text, without the default schedule, which is in the configuration."""
    kept: dict[str, Any] = {
        "uri": settings.uri,
        "signature": settings.signature,
        "headers": _show_headers(settings.headers),
        "given": settings.given,
    }
    return msgspec.json.encode(kept).decode()


def from_text(text: str, schedule: tuple[float, ...]) -> Settings:
    """Settings from text.

    Args:
        schedule: the default.
    """
    kept = msgspec.json.decode(text)
    given = dict(kept["given"])
    if "schedule" in given:
        given["schedule"] = tuple(given["schedule"])
    headers = tuple(
        (name.encode("latin-1"), value.encode("latin-1")) for name, value in kept["headers"]
    )
    settings: dict[str, Any] = {"schedule": schedule, **given, "signature": kept["signature"]}
    return Settings(uri=kept["uri"], headers=headers, given=given, **settings)


# -- to an answer: never a secret ------------------------------------------------------------------


def describe(endpoint: Endpoint) -> dict[str, Any]:
    """The fields of ``endpoint-put`` as they were given, and the state of the endpoint."""
    settings = endpoint.settings
    shown: dict[str, Any] = {"endpoint": endpoint.name, "uri": settings.uri}
    for name, value in settings.given.items():
        shown[name.replace("_", "-")] = list(value) if isinstance(value, tuple) else value
    shown["signature"] = settings.signature
    if settings.headers:
        shown["headers"] = [list(pair) for pair in settings.headers]
    shown["disabled"] = bool(endpoint.disabled)
    if endpoint.disabled:
        shown["reason"] = endpoint.why_disabled
    if endpoint.hold_until:
        shown["hold-until"] = endpoint.hold_until
    return shown


def _show_headers(headers: tuple[tuple[bytes, bytes], ...]) -> list[list[str]]:
    return [[name.decode("latin-1"), value.decode("latin-1")] for name, value in headers]
