"""``zurl-py monitor``: the outcomes of requests as they come."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any

import click

from .listening import StatusClient, find_listener, listener_options, needs_listener
from .terminal import colours, escape

__all__ = ["monitor"]

_RED, _YELLOW, _PLAIN = "\x1b[31m", "\x1b[33m", "\x1b[0m"


@click.command()
@listener_options
@click.option("--errors", is_flag=True, help="Failures only: errors, and answers with 5xx.")
@click.option("--worker", metavar="ADDRESS", help="Requests of this worker ('from') only.")
@click.option("--host", metavar="NAME", help="Requests to this host, or below it, only.")
@click.option("--condition", metavar="NAME", help="This condition or error only.")
@click.option("--json", "as_json", is_flag=True, help="The log's JSON objects, one a line.")
def monitor(config: str | None, connect: str | None, as_json: bool, **filters: Any) -> None:
    """Show the outcome of each request as it ends, on all interfaces.

    Asks the status listener (metrics_listen). A monitor that reads too slowly loses lines, gets
    their number, and does not slow the daemon. Ends with the daemon, or by Ctrl-C.
    """
    wanted = {name: str(value) for name, value in filters.items() if value}
    if filters["errors"]:
        wanted["errors"] = "1"

    def show() -> None:
        client = StatusClient(find_listener(config, connect))
        write(client.outcomes(wanted), as_json)

    needs_listener(show)


def write(lines: Iterable[bytes], as_json: bool) -> None:
    """Write each outcome to standard output at once."""
    coloured = colours(sys.stdout)
    for line in lines:
        if as_json:
            sys.stdout.write(line.decode("utf-8", "replace"))
        else:
            sys.stdout.write(text_of(json.loads(line), coloured) + "\n")
        sys.stdout.flush()


def text_of(outcome: dict[str, Any], coloured: bool = False) -> str:
    """One outcome as a line for people; control characters in it are escaped."""
    text = escape(f"{outcome['time']} {outcome['message']}")
    if coloured and outcome.get("event") != "outcome":
        return f"{_YELLOW}{text}{_PLAIN}"
    if coloured and outcome.get("error"):
        return f"{_RED}{text}{_PLAIN}"
    return text
