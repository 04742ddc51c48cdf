"""Options that several commands have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import click

__all__ = ["config_option", "log_options", "with_options"]

_Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

_LOGFILE: Final = click.option(
    "--logfile", type=click.Path(), help="Append the log here, not to standard error."
)
_VERBOSE: Final = click.option("--verbose", "-v", is_flag=True, help="The same as --loglevel 3.")


def config_option(default: str, text: str) -> _Decorator:
    """Adds ``--config`` with a default.

    Args:
        text: its help.
    """
    return click.option(
        "--config", "-c", default=default, show_default=True, type=click.Path(), help=text
    )


def log_options(text: str, default: int | None = None) -> _Decorator:
    """Adds ``--logfile``, ``--loglevel`` and ``--verbose``, for daemons.

    Args:
        text: help of ``--loglevel``.
        default: default of ``--loglevel``.
    """
    level = click.option(
        "--loglevel",
        type=click.IntRange(0, 3),
        default=default,
        show_default=default is not None,
        help=text,
    )

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        return _LOGFILE(level(_VERBOSE(command)))

    return decorate


def with_options(*groups: Sequence[tuple[Any, Any]]) -> _Decorator:
    """Adds groups of options, each as its names and the other arguments of ``click.option``."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for names, settings in reversed([option for group in groups for option in group]):
            command = click.option(*names, **settings)(command)
        return command

    return decorate
