"""The commands ``zurl-py`` and ``zurl``. The modules of a command are imported when it runs."""

from __future__ import annotations

import importlib

import click

from .. import __version__
from .streams import fill_standard_streams

__all__ = ["main"]

_COMMANDS = {
    **dict.fromkeys(
        ("get", "post", "put", "patch", "delete", "head", "request", "send"), "request"
    ),
    "ws": "ws",
    "serve": "serve",
    "status": "status",
    "top": "top",
    "monitor": "monitor",
    "check-config": "check_config",
    "check-url": "check_url",
    "deliver": "deliver",
    "webhooks": "webhooks",
    "keygen": "keygen",
    "completion": "completion",
    "version": "version",
}


_INTERRUPTED = 130  # by Ctrl-C, as in shells


class _LazyGroup(click.Group):
    """Imports the module of a command when it is used; the function has the command's name."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            # During imports, or a second one: commands handle the first themselves.
            raise SystemExit(_INTERRUPTED) from None

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        name = _COMMANDS.get(cmd_name)
        if name is None:
            return None
        module = importlib.import_module(f"{__name__}.{name}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        if command.short_help is None and command.help is not None:
            # click would cut off its own after 45 characters.
            command.short_help = _first_sentence(command.help)
        return command


def _first_sentence(text: str) -> str:
    paragraph = " ".join(text.partition("\n\n")[0].split())
    return paragraph.partition(". ")[0].removesuffix(".") + "."


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="zurl-py", message="%(prog)s %(version)s")
def main() -> None:
    """An outbound HTTP and WebSocket gateway that speaks ZHTTP over ZeroMQ."""
    fill_standard_streams()
