"""``zurl-py top``: shows the state of a running daemon, live."""

from __future__ import annotations

import os
import select
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

from .listening import NotThere, StatusClient, find_listener, listener_options, needs_listener
from .screens import top_lines
from .terminal import is_terminal

__all__ = ["top"]

_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"  # alternate screen, no cursor
_HOME, _CLEAR_LINE, _CLEAR_REST = "\x1b[H", "\x1b[K", "\x1b[J"


@click.command()
@listener_options
@click.option(
    "--interval",
    type=click.FloatRange(0.1, 3600),
    default=2.0,
    show_default=True,
    help="Seconds between two looks.",
)
@click.option("--count", type=click.IntRange(1), help="End after so many screens.")
def top(config: str | None, connect: str | None, interval: float, count: int | None) -> None:
    """Show rates, latencies, sessions, hosts and workers of a running daemon, live; q ends it.

    Asks the status listener (metrics_listen), never the workers' sockets. Where standard output is
    no terminal, screens follow one another.
    """

    def show() -> None:
        client = StatusClient(find_listener(config, connect))
        before = client.status()
        if is_terminal(sys.stdout) and is_terminal(sys.stdin):
            with _whole_screen():
                _show_on(client, before, interval, count)
        else:
            for number in range(count) if count else iter(int, 1):
                if number:
                    click.echo()
                time.sleep(interval)
                now = client.status()
                click.echo("\n".join(top_lines(now, before)))
                before = now

    needs_listener(show)


def _show_on(
    client: StatusClient, before: dict[str, object], interval: float, count: int | None
) -> None:
    """Draw until q is pressed, or for ``count`` screens."""
    now, drawn = before, 0
    note = ""
    while True:
        _draw(top_lines(now, before), note)
        drawn += 1
        if (count and drawn > count) or _pressed_q(interval):
            return
        try:
            now, before = client.status(), now
            note = ""
        except NotThere as error:  # it may be restarting: keep the last screen
            note = str(error)


def _draw(lines: list[str], note: str) -> None:
    width, height = shutil.get_terminal_size()
    if note:
        lines = [note, *lines]
    shown = [line[:width] + _CLEAR_LINE for line in lines[: height - 1]]
    sys.stdout.write(_HOME + "\r\n".join(shown) + "\r\n" + _CLEAR_REST)
    sys.stdout.flush()


def _pressed_q(seconds: float) -> bool:
    """Wait; returns whether q was pressed, or the input has ended."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if select.select([sys.stdin], [], [], left)[0]:
            keys = os.read(sys.stdin.fileno(), 64)
            if not keys or b"q" in keys.lower():
                return True
    return False


@contextmanager
def _whole_screen() -> Iterator[None]:
    """Switch to the alternate screen, and to reading single keys; restore both at the end."""
    import termios
    import tty

    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd)
        sys.stdout.write(_ENTER)
        yield
    finally:
        sys.stdout.write(_LEAVE)
        sys.stdout.flush()
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
