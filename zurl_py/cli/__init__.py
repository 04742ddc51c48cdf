"""The commands ``zurl-py`` and ``zurl``."""

from __future__ import annotations

import click

from .. import __version__

__all__ = ["main"]


@click.group()
@click.version_option(__version__, prog_name="zurl-py")
def main() -> None:
    """An outbound HTTP and WebSocket gateway that speaks ZHTTP."""


@main.command()
@click.option("--config", "-c", required=True, type=click.Path(), help="zurl.conf to run on.")
@click.option("--logfile", type=click.Path(), help="Append the log here, not to standard error.")
@click.option(
    "--loglevel",
    type=click.IntRange(0, 3),
    default=2,
    show_default=True,
    help="0 errors, 1 warnings, 2 information, 3 debug.",
)
@click.option("--verbose", "-v", is_flag=True, help="The same as --loglevel 3.")
def serve(config: str, logfile: str | None, loglevel: int, verbose: bool) -> None:
    """Run the daemon in the foreground."""
    from .serve import serve as run

    raise SystemExit(run(config, 3 if verbose else loglevel, logfile, log_fd=2))
