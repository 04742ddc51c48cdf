"""The command ``zurl``, with Zurl's own command line."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from .. import __version__
from ..errors import Error

__all__ = ["main"]

_USAGE = """\
usage: zurl [--config=FILE] [--logfile=FILE] [--loglevel=N] [--verbose] [--version]

  --config=FILE    the configuration; /etc/zurl.conf if not given
  --logfile=FILE   append the log to FILE in place of standard output
  --loglevel=N     0 or 1 errors and warnings, 2 information, 3 debug; default: log_level
                   of the configuration, which is 2 if it is not set
  --verbose        the same as --loglevel=3
  --version        print the version and exit
"""


@dataclass(slots=True)
class Options:
    """The command line.

    Attributes:
        config: path of the configuration.
        logfile: path of the log; None: standard output.
        loglevel: 0 to 3; None: the configuration's.
        unknown: unknown arguments.
    """

    config: str = "/etc/zurl.conf"
    logfile: str | None = None
    loglevel: int | None = None
    version: bool = False
    help: bool = False
    unknown: list[str] = field(default_factory=list)


class UsageError(Error, ValueError):
    """The command line cannot be used."""


def parse_options(arguments: list[str]) -> Options:
    """Parse Zurl's options; unknown ones are returned separately, as Zurl ignores them.

    Raises:
        UsageError: an option's value is missing or wrong.
    """
    options = Options()
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.partition("=")
        if name in ("--config", "--logfile", "--loglevel"):
            if not equals:
                value = next(rest, "")
            if not value:
                raise UsageError(f"{name} needs a value")
        if name == "--config":
            options.config = value
        elif name == "--logfile":
            options.logfile = value
        elif name == "--loglevel":
            if not (value.isascii() and value.isdecimal()):
                raise UsageError(f"--loglevel: {value!r} is not a number from 0 to 3")
            options.loglevel = min(int(value), 3)
        elif name == "--verbose":
            options.loglevel = 3
        elif name == "--version":
            options.version = True
        elif name in ("--help", "-h"):
            options.help = True
        else:
            options.unknown.append(argument)
    return options


def main() -> None:
    """Run the daemon by Zurl's command line; exits with its status."""
    try:
        options = parse_options(sys.argv[1:])
    except UsageError as error:
        sys.exit(f"zurl: {error}\n{_USAGE}")
    if options.version:
        print(f"zurl (zurl_py) {__version__}")
        return
    if options.help:
        print(_USAGE, end="")
        return
    from .serve import run_daemon

    sys.exit(
        run_daemon(
            options.config,
            options.loglevel,
            options.logfile,
            log_fd=1,
            remarks=[f"unknown option {option}, ignored" for option in options.unknown],
        )
    )


if __name__ == "__main__":
    main()
