"""``zurl-py completion``: the completion scripts for shells."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

__all__ = ["completion"]


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completions for SHELL: source them, or put them where it looks.

    For bash: `zurl-py completion bash > ~/.local/share/bash-completion/completions/zurl-py`.
    """
    kind = get_completion_class(shell)
    assert kind is not None
    root = context.find_root()
    print(kind(root.command, {}, "zurl-py", "_ZURL_PY_COMPLETE").source())
