"""``zurl-py status``: prints the state of a running daemon."""

from __future__ import annotations

import json

import click

from .listening import StatusClient, find_listener, listener_options, needs_listener
from .screens import status_lines

__all__ = ["status"]


@click.command()
@listener_options
@click.option("--json", "as_json", is_flag=True, help="The daemon's own JSON.")
def status(config: str | None, connect: str | None, as_json: bool) -> None:
    """Say what a running daemon is doing.

    Asks its status listener (metrics_listen), never the workers' sockets. The exit status is 0, or
    121 if no daemon answers.
    """

    def show() -> None:
        found = StatusClient(find_listener(config, connect)).status()
        if as_json:
            click.echo(json.dumps(found, indent=2))
        else:
            click.echo("\n".join(status_lines(found)))

    needs_listener(show)
