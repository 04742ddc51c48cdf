"""``zurl-py keygen``: a pair of keys for the daemon, or for a client of its tcp endpoints."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import click

from ..config.curve import PRIVILEGES

__all__ = ["keygen"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@click.command()
@click.argument("name")
@click.option(
    "--directory",
    "-d",
    default=".",
    show_default=True,
    type=click.Path(file_okay=False),
    help="Where the two files go.",
)
@click.option(
    "--privileges",
    metavar="LIST",
    help="For a client: fields that its requests may have, of those that the configuration grants. "
    f"Without the option: all. {', '.join(PRIVILEGES)}.",
)
def keygen(name: str, directory: str, privileges: str | None) -> None:
    """Make the keys NAME.key (public) and NAME.key_secret.

    The daemon has its own pair: curve_server_key_file names its NAME.key_secret, and its clients
    need its NAME.key. Each client has one, too: it keeps NAME.key_secret, and its NAME.key goes
    into curve_clients_dir. Both are certificates in the form of CZMQ and pyzmq. The secret file can
    be read by its owner alone; files that are there are left alone.
    """
    if not _NAME.fullmatch(name):
        raise click.BadParameter("letters, digits, dots, dashes and underscores", param_hint="NAME")
    wanted = [word for word in re.split(r"[,\s]+", privileges or "") if word]
    unknown = sorted(set(wanted).difference(PRIVILEGES))
    if unknown:
        raise click.BadParameter(
            f"{unknown[0]!r}; allowed: {', '.join(PRIVILEGES)}", param_hint="--privileges"
        )
    import zmq

    public, secret = (key.decode() for key in zmq.curve_keypair())
    metadata = f'metadata\n    name = "{name}"\n'
    if privileges is not None:
        metadata += f'    privileges = "{", ".join(wanted)}"\n'
    curve = f'curve\n    public-key = "{public}"\n'
    try:
        _write(Path(directory, f"{name}.key"), metadata + curve, 0o644)
        hidden = f'    secret-key = "{secret}"\n'
        _write(Path(directory, f"{name}.key_secret"), metadata + curve + hidden, 0o600)
    except OSError as error:
        print(f"error: cannot write {error.filename}: {error.strerror}", file=sys.stderr)
        raise SystemExit(1) from None


def _write(path: Path, text: str, mode: int) -> None:
    # O_EXCL: an existing key must not be overwritten.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with open(descriptor, "w", encoding="ascii") as file:
        file.write(text)
    print(path)
