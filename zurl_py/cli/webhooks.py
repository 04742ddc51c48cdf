"""``zurl-py webhooks``: lists, replays and manages deliveries and endpoints of ``deliver``."""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from ..client.errors import ZurlError
from ..client.webhooks import Webhooks
from ..log import printable

__all__ = ["webhooks"]

_STATES = ["pending", "leased", "done", "dead", "held"]
_TIMEOUT = 10.0  # seconds

_connect = click.option(
    "--connect",
    "--config",
    "-c",
    "connect",
    metavar="ADDRESS",
    help="Configuration of zurl-py deliver, or its endpoint. $ZURL_DELIVER_CONNECT, else "
    "/etc/zurl-deliver.conf, if not given.",
)
_json = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")


@click.group()
def webhooks() -> None:
    """Look at webhooks that zurl-py deliver has, and send them again."""


@webhooks.command("list")
@click.option("--state", type=click.Choice(_STATES))
@click.option("--endpoint", metavar="NAME")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1))
@_connect
@_json
def list_(
    state: str | None, endpoint: str | None, limit: int, connect: str | None, as_json: bool
) -> None:
    """List deliveries, the oldest first."""
    with _connected(connect) as client:
        found = itertools.islice(client.deliveries(state=state, endpoint=endpoint), limit)
        _print(found, as_json, _delivery_line)


@webhooks.command()
@click.argument("id")
@_connect
@_json
def show(id: str, connect: str | None, as_json: bool) -> None:
    """Show one delivery with its attempts."""
    with _connected(connect) as client:
        delivery = client.get_delivery(id)
        if as_json:
            _print([delivery], True, str)
            return
        _print([delivery], False, _delivery_line)
        for attempt in delivery["attempts"]:
            print("  " + _attempt_line(attempt))
            body = _readable(attempt["body"]).strip()
            if body:
                print("\n".join("    " + printable(line) for line in body.splitlines()[:20]))


@webhooks.command()
@click.argument("id", required=False)
@click.option("--endpoint", metavar="NAME", help="With --state: all of this endpoint.")
@click.option("--state", type=click.Choice(["dead", "done", "held", "pending"]))
@_connect
def replay(id: str | None, endpoint: str | None, state: str | None, connect: str | None) -> None:
    """Send again: the delivery ID, or all of an endpoint in one state."""
    if bool(id) == bool(endpoint and state):
        raise click.UsageError("give an ID, or --endpoint and --state")
    with _connected(connect) as client:
        count = client.replay(id, endpoint=endpoint, state=state)
        print(f"{count} to be sent again")


@webhooks.command()
@click.option("--enable", metavar="NAME", help="Enable this endpoint: what was held is sent.")
@click.option("--disable", metavar="NAME", help="Disable this endpoint: what comes is held.")
@_connect
@_json
def endpoints(enable: str | None, disable: str | None, connect: str | None, as_json: bool) -> None:
    """List endpoints; or enable or disable one."""
    with _connected(connect) as client:
        if enable:
            client.enable_endpoint(enable)
        if disable:
            client.disable_endpoint(disable)
        if enable or disable:
            _print([client.get_endpoint(enable or disable or "")], as_json, _endpoint_line)
        else:
            _print(client.endpoints(), as_json, _endpoint_line)


@webhooks.command()
@_connect
@_json
def stats(connect: str | None, as_json: bool) -> None:
    """How many are in each state, how late the oldest is, rates per second."""
    with _connected(connect) as client:
        found = client.stats()
    if as_json:
        _print([found], True, str)
        return
    for state in _STATES:
        print(f"{state:10} {found['states'].get(state, 0)}")
    oldest = found["oldest-due"]
    late = "-" if oldest is None else f"{max(0.0, time.time() - oldest):.0f} s"
    print(f"{'late by':10} {late}")
    for name, rate in found["rates"].items():
        print(f"{name:10} {rate:.1f}/s")


@webhooks.command()
@click.option("--from", "source", required=True, metavar="sqlite:///PATH")
@click.option("--to", "target", required=True, metavar="postgresql://…")
@click.option("--secret-key-file", type=click.Path(), help="As in the configuration, if it is set.")
def move(source: str, target: str, secret_key_file: str | None) -> None:
    """Copy a store from SQLite to PostgreSQL, while no process has it.

    All of it, in one transaction: ids, attempts, what is pending. The file stays as it is; change
    `store=` in the configuration then.
    """
    from ..delivery.store.base import StoreError, StoreUnavailable
    from ..delivery.store.secrets import load_key

    try:
        from ..delivery.moving import move as move_store

        key = load_key(secret_key_file) if secret_key_file else None
        for table, count in move_store(source, target, key).items():
            print(f"{table:10} {count}")
    except ImportError as error:
        print(
            "error: PostgreSQL needs psycopg 3: pip install 'zurl-py[deliver]', or, with the Debian"
            f" package, apt install python3-psycopg: {error}",
            file=sys.stderr,
        )
        raise SystemExit(1) from None
    except (StoreError, StoreUnavailable) as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        raise SystemExit(1) from None


@contextmanager
def _connected(connect: str | None) -> Iterator[Webhooks]:
    try:
        with Webhooks(connect, timeout=_TIMEOUT) as client:
            yield client
    except ZurlError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        raise SystemExit(1) from None


def _print(
    items: Iterable[dict[str, Any]], as_json: bool, line: Callable[[dict[str, Any]], str]
) -> None:
    for item in items:
        # Receivers' answers are bytes of any content.
        print(json.dumps(item, default=_readable) if as_json else line(item))


def _delivery_line(delivery: dict[str, Any]) -> str:
    parts = [
        _time(delivery["accepted"]),
        f"{delivery['state']:8}",
        delivery["id"],
        delivery["endpoint"],
        f"tried {delivery['tried']}",
    ]
    if "due" in delivery:
        parts.append(f"due {_time(delivery['due'])}")
    if "reason" in delivery:
        parts.append(delivery["reason"])
    return printable("  ".join(parts))


def _attempt_line(attempt: dict[str, Any]) -> str:
    what = str(attempt.get("code") or attempt.get("condition"))
    if "error" in attempt:
        what += f" ({attempt['error']})"
    took = attempt["phases"].get("total", 0) / 1000
    return printable(f"{_time(attempt['time'])}  {what}  {took:.0f} ms")


def _endpoint_line(endpoint: dict[str, Any]) -> str:
    state = f"disabled: {endpoint.get('reason', '?')}" if endpoint["disabled"] else "enabled"
    return printable(f"{endpoint['endpoint']}  {state}  {endpoint['uri']}")


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _readable(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
