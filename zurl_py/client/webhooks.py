"""Durable webhooks from Python: ``Webhooks`` and ``AsyncWebhooks``, and ``verify`` for receivers.

::

    from zurl_py.client import Webhooks

    with Webhooks("/etc/zurl-deliver.conf") as webhooks:
        webhooks.send("shop", {"order": 17}, event="order.paid", key="order-17")

``send`` returns when the webhook is on disk; ``zurl-py deliver`` does the rest.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from ..ini import IniError, parse_ini
from .address import connectable
from .courier import Courier
from .errors import GatewayNotConfigured, GatewayUnavailable, ZurlError
from .running import Runtime, ThreadRuntime, current_runtime, iterate, run
from .verification import ReceivedWebhook, VerificationError, verify

__all__ = [
    "Accepted",
    "AsyncWebhooks",
    "ReceivedWebhook",
    "VerificationError",
    "WebhookConflict",
    "WebhookError",
    "WebhookRefused",
    "WebhookUnconfirmed",
    "Webhooks",
    "verify",
]

VARIABLE: Final = "ZURL_DELIVER_CONNECT"
DEFAULT_PATH: Final = "/etc/zurl-deliver.conf"
_TIMEOUT: Final = 30.0  # seconds
_TRANSPORTS: Final = ("ipc://", "tcp://")
_PAGE: Final = 200  # items in one answer

Body = bytes | bytearray | str | dict[str, Any] | list[Any]
HeaderPairs = Mapping[str, str] | Iterable[tuple[str, str]]


class WebhookError(ZurlError):
    """A question to ``zurl-py deliver`` failed."""


class WebhookRefused(WebhookError):
    """The question was refused for good: a field is wrong, an endpoint or delivery is unknown."""


class WebhookConflict(WebhookRefused):
    """A message with this id and different content exists."""


class WebhookUnconfirmed(WebhookError, TimeoutError):
    """The deadline came before an acknowledgement: the webhook may be on disk or not.

    Send it again with the same id.

    Attributes:
        id: of the webhook; None for other questions.
    """

    def __init__(self, message: str, id: str | None = None, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.id = id


@dataclass(frozen=True, slots=True)
class Accepted:
    """A webhook that is on disk.

    Attributes:
        duplicate: it was on disk already, with this id and content.
    """

    id: str
    duplicate: bool = False


def find(deliver: str | os.PathLike[str] | None = None) -> str:
    """The endpoint of ``zurl-py deliver``.

    Args:
        deliver: an endpoint, or the path of its configuration; None: ``$ZURL_DELIVER_CONNECT``,
            else ``/etc/zurl-deliver.conf``.

    Raises:
        GatewayUnavailable: none was found.
    """
    place = os.fspath(deliver) if deliver is not None else os.environ.get(VARIABLE, "")
    if place.startswith(_TRANSPORTS):
        return place
    path = place or DEFAULT_PATH
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            for entry in parse_ini(file.read(), lambda _line, _text: None):
                if entry.section == "General" and entry.key == "deliver_spec" and entry.items:
                    return connectable(entry.items[0])
    except (OSError, IniError) as error:
        why = f"{path}: {getattr(error, 'strerror', None) or error}"
        kind = GatewayUnavailable if place else GatewayNotConfigured
        raise kind(
            f"zurl-py deliver was not found: {why}. Give the path of its configuration or its "
            f"endpoint, here or as ${VARIABLE}",
            error="no-deliver",
        ) from None
    raise GatewayUnavailable(f"{path} has no deliver_spec", error="no-deliver")


class AsyncWebhooks:
    """``zurl-py deliver`` for asyncio and trio. The same methods as ``Webhooks``, with ``await``.

    Args:
        deliver: see ``find``.
        timeout: seconds that each call keeps trying.
    """

    def __init__(
        self, deliver: str | os.PathLike[str] | None = None, *, timeout: float = _TIMEOUT
    ) -> None:
        self._endpoint = find(deliver)
        self._timeout = timeout
        self._courier: Courier | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._endpoint}>"

    async def send(
        self,
        endpoint: str,
        body: Body = b"",
        *,
        event: str | None = None,
        id: str | None = None,
        key: str | None = None,
        headers: HeaderPairs | None = None,
        expires: float | None = None,
        not_before: float | None = None,
        secrets: Sequence[str] | None = None,
        timeout: float | None = None,
    ) -> Accepted:
        """Submit a webhook; returns when it is on disk.

        The question is repeated with the same id until it is acknowledged, so it is stored once.

        Args:
            endpoint: the name of an endpoint, or a URL: ``http://…`` or ``https://…``.
            body: bytes or text; dictionaries and lists become JSON.
            event: type of the event, sent as ``webhook-event``.
            id: identifies repetitions; made if not given.
            key: webhooks with one key arrive in order, if the endpoint has ``order: key``.
            headers: additional headers.
            expires: seconds after which it is not sent any more.
            not_before: time before which it is not sent, seconds since 1970.
            secrets: for the signature, if ``endpoint`` is a URL.
            timeout: seconds to keep trying; default: that of this object.

        Raises:
            WebhookRefused: it cannot be accepted as it is; ``WebhookConflict`` for a known id.
            WebhookUnconfirmed: there was no acknowledgement in time.
        """
        fields = _deliver_fields(endpoint, body)
        fields |= _without_none(
            event=event,
            id=id or new_id(),
            key=key,
            headers=_pairs(headers),
            expires=expires,
            not_before=not_before,
            secrets=secrets,
        )
        answer = await self._ask("deliver", fields, timeout)
        return Accepted(answer["id"], answer["duplicate"])

    async def put_endpoint(
        self,
        endpoint: str,
        uri: str,
        *,
        secrets: Sequence[str] | None = None,
        signature: str | None = None,
        order: str | None = None,
        dead_head: str | None = None,
        rate: float | None = None,
        concurrency: int | None = None,
        schedule: Sequence[float] | None = None,
        timeout: int | None = None,
        headers: HeaderPairs | None = None,
    ) -> None:
        """Make or replace an endpoint; fields not given get their defaults, but secrets are kept.

        Args:
            secrets: signatures are in their order.
            signature: ``standard``, ``stripe``, ``github`` or ``none``.
            order: ``none``, ``key`` or ``endpoint``.
            dead_head: ``skip`` or ``stop``.
            rate: attempts per second.
            concurrency: number of attempts at once.
            schedule: seconds to wait before each attempt.
            timeout: milliseconds for one attempt.
        """
        fields = _without_none(
            endpoint=endpoint,
            uri=uri,
            secrets=secrets,
            signature=signature,
            order=order,
            dead_head=dead_head,
            rate=rate,
            concurrency=concurrency,
            schedule=schedule,
            timeout=timeout,
            headers=_pairs(headers),
        )
        await self._ask("endpoint-put", fields)

    async def get_endpoint(self, endpoint: str) -> dict[str, Any]:
        """The fields of an endpoint, secrets excepted, and ``disabled``."""
        return await self._ask("endpoint-get", {"endpoint": endpoint})

    async def endpoints(self) -> AsyncIterator[dict[str, Any]]:
        """All endpoints, by name."""
        async for item in self._listed("endpoint-list", "endpoints", {}):
            yield item

    async def delete_endpoint(self, endpoint: str) -> None:
        """Delete an endpoint; what is pending for it is dead."""
        await self._ask("endpoint-delete", {"endpoint": endpoint})

    async def enable_endpoint(self, endpoint: str) -> None:
        """Enable an endpoint; what was held is sent at once."""
        await self._ask("endpoint-enable", {"endpoint": endpoint})

    async def disable_endpoint(self, endpoint: str) -> None:
        """Hold back all that goes to an endpoint."""
        await self._ask("endpoint-disable", {"endpoint": endpoint})

    async def get_delivery(self, id: str) -> dict[str, Any]:
        """One delivery with its attempts."""
        answer = await self._ask("delivery-get", {"id": id})
        found: dict[str, Any] = answer["deliveries"][0]
        return found

    async def deliveries(
        self, *, state: str | None = None, endpoint: str | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """Deliveries in the order of their acceptance.

        Args:
            state: ``pending``, ``leased``, ``done``, ``dead`` or ``held``.
        """
        fields = _without_none(state=state, endpoint=endpoint)
        async for item in self._listed("delivery-list", "deliveries", fields):
            yield item

    async def replay(
        self, id: str | None = None, *, endpoint: str | None = None, state: str | None = None
    ) -> int:
        """Send again: one by its id, or all of an endpoint in one state. Returns how many."""
        fields = _without_none(id=id, endpoint=endpoint, state=state)
        count: int = (await self._ask("replay", fields, repeats=False))["count"]
        return count

    async def stats(self) -> dict[str, Any]:
        """How many are in each state, when the oldest was due, rates per second."""
        return await self._ask("stats", {})

    async def aclose(self) -> None:
        """Close the socket."""
        self._close()

    async def __aenter__(self) -> AsyncWebhooks:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    # -- shared with the synchronous one -------------------------------------------------------

    def _runtime(self) -> Runtime:
        return current_runtime()

    def _close(self) -> None:
        if self._courier is not None:
            self._courier.close()
            self._courier = None

    async def _listed(
        self, verb: str, name: str, fields: dict[str, Any]
    ) -> AsyncIterator[dict[str, Any]]:
        page = {**fields, "limit": _PAGE}
        while True:
            answer = await self._ask(verb, page)
            for item in answer[name]:
                yield item
            if answer.get("next") is None:
                return
            page["after"] = answer["next"]

    async def _ask(
        self,
        verb: str,
        fields: dict[str, Any],
        timeout: float | None = None,
        repeats: bool = True,
    ) -> dict[str, Any]:
        courier = self._courier
        if courier is None or courier.pid != os.getpid():  # a fork has no thread
            courier = self._courier = Courier(self._endpoint)
        packed = {name.encode(): _as_bytes(value) for name, value in fields.items()}
        question = courier.ask(
            {b"type": verb.encode(), **packed},
            self._timeout if timeout is None else timeout,
            self._runtime(),
            repeats,
        )
        try:
            await question.signal.wait()
        finally:
            if not question.over:
                courier.give_up(question)
        answer = question.answer
        if answer is None:
            raise _unconfirmed(verb, fields.get("id"), self._endpoint, question.last)
        if answer.pop("type") == "error":
            raise _refused(answer)
        return answer


class Webhooks:
    """``zurl-py deliver`` for threads, which may share one object. See ``AsyncWebhooks``.

    Args:
        deliver: path of its configuration, or its endpoint; see ``find``.
        timeout: seconds that each call keeps trying.
    """

    def __init__(
        self, deliver: str | os.PathLike[str] | None = None, *, timeout: float = _TIMEOUT
    ) -> None:
        self._async = _Blocking(deliver, timeout=timeout)

    def __repr__(self) -> str:
        return f"<Webhooks {self._async._endpoint}>"

    def send(self, endpoint: str, body: Body = b"", **fields: Any) -> Accepted:
        """Submit a webhook; returns when it is on disk. See ``AsyncWebhooks.send``."""
        return run(self._async.send(endpoint, body, **fields))

    def put_endpoint(self, endpoint: str, uri: str, **fields: Any) -> None:
        """Make or replace an endpoint. See ``AsyncWebhooks.put_endpoint``."""
        run(self._async.put_endpoint(endpoint, uri, **fields))

    def get_endpoint(self, endpoint: str) -> dict[str, Any]:
        """The fields of an endpoint, secrets excepted, and ``disabled``."""
        return run(self._async.get_endpoint(endpoint))

    def endpoints(self) -> Iterator[dict[str, Any]]:
        """All endpoints, by name."""
        return iterate(self._async.endpoints())

    def delete_endpoint(self, endpoint: str) -> None:
        """Delete an endpoint; what is pending for it is dead."""
        run(self._async.delete_endpoint(endpoint))

    def enable_endpoint(self, endpoint: str) -> None:
        """Enable an endpoint; what was held is sent at once."""
        run(self._async.enable_endpoint(endpoint))

    def disable_endpoint(self, endpoint: str) -> None:
        """Hold back all that goes to an endpoint."""
        run(self._async.disable_endpoint(endpoint))

    def get_delivery(self, id: str) -> dict[str, Any]:
        """One delivery with its attempts."""
        return run(self._async.get_delivery(id))

    def deliveries(
        self, *, state: str | None = None, endpoint: str | None = None
    ) -> Iterator[dict[str, Any]]:
        """Deliveries in the order of their acceptance. See ``AsyncWebhooks.deliveries``."""
        return iterate(self._async.deliveries(state=state, endpoint=endpoint))

    def replay(
        self, id: str | None = None, *, endpoint: str | None = None, state: str | None = None
    ) -> int:
        """Send again: one by its id, or all of an endpoint in one state. Returns how many."""
        return run(self._async.replay(id, endpoint=endpoint, state=state))

    def stats(self) -> dict[str, Any]:
        """How many are in each state, when the oldest was due, rates per second."""
        return run(self._async.stats())

    def close(self) -> None:
        """Close the socket."""
        self._async._close()

    def __enter__(self) -> Webhooks:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Blocking(AsyncWebhooks):
    """The same, but waiting blocks the thread."""

    _threads = ThreadRuntime()

    def _runtime(self) -> Runtime:
        return self._threads


def new_id() -> str:
    """``msg_`` and a UUID of version 7 (RFC 9562): ids sort by time."""
    value = (time.time_ns() // 1_000_000 & (1 << 48) - 1) << 80 | int.from_bytes(
        os.urandom(10), "big"
    )
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return f"msg_{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _deliver_fields(endpoint: str, body: Body) -> dict[str, Any]:
    where = "uri" if endpoint.startswith(("http://", "https://")) else "endpoint"
    content = msgspec.json.encode(body) if isinstance(body, (dict, list)) else body
    return {where: endpoint, "body": bytes(content) if isinstance(content, bytearray) else content}


def _without_none(**fields: Any) -> dict[str, Any]:
    return {name.replace("_", "-"): value for name, value in fields.items() if value is not None}


def _pairs(headers: HeaderPairs | None) -> list[list[str]] | None:
    if headers is None:
        return None
    items = headers.items() if isinstance(headers, Mapping) else headers
    return [[name, value] for name, value in items]


def _as_bytes(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, (list, tuple)):
        return [_as_bytes(item) for item in value]
    return value


def _refused(answer: dict[str, Any]) -> WebhookError:
    ext = answer.get("ext", {})
    condition, detail = answer.get("condition"), ext.get("detail", "")
    if condition in ("unavailable", "store-full"):
        kind: type[WebhookError] = WebhookError
    else:
        kind = WebhookConflict if condition == "conflict" else WebhookRefused
    return kind(
        f"{condition}: {detail}", condition=condition, error=ext.get("error"), detail=detail
    )


def _unconfirmed(
    verb: str, id: str | None, endpoint: str, last: dict[str, Any] | None
) -> WebhookUnconfirmed:
    ext = (last or {}).get("ext", {})
    why = f"{last.get('condition')}: {ext.get('detail')}" if last else f"no answer from {endpoint}"
    return WebhookUnconfirmed(
        f"{verb} was not confirmed in time: {why}",
        id,
        condition=(last or {}).get("condition"),
        error=ext.get("error") or "no-answer",
        detail=ext.get("detail"),
    )
