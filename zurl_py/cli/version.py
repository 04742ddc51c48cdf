"""``zurl-py version``: the version, and those of the libraries."""

from __future__ import annotations

import importlib.metadata
import platform
import sys

import click

from .. import __version__

__all__ = ["version"]

_LIBRARIES = (
    "pyzmq",
    "pycurl",
    "websockets",
    "msgspec",
    "msgpack",
    "tnetstring3",
    "idna",
    "brotli",
    "backports.zstd",
    "click",
    "rich",
)


@click.command()
@click.option("--verbose", "-v", is_flag=True, help="Also what it is made of: library by library.")
def version(verbose: bool) -> None:
    """Print the version."""
    print(f"zurl-py {__version__}")
    if verbose:
        for name, value in contents():
            print(f"{name}: {value}")


def contents() -> list[tuple[str, str]]:
    """Names and versions of the libraries of the daemon, including those inside wheels."""
    import pycurl
    import zmq

    found = [("Python", f"{platform.python_version()} ({sys.executable})")]
    for library in _LIBRARIES:
        try:
            found.append((library, importlib.metadata.version(library)))
        except importlib.metadata.PackageNotFoundError:
            found.append((library, "not installed"))  # not needed on all machines
    found.append(("libzmq (in pyzmq)", zmq.zmq_version()))
    # "PycURL/7.49.0 libcurl/8.23.0 OpenSSL/3.5.1 zlib/1.3 …"
    for part in pycurl.version.split()[1:]:
        name, _, number = part.partition("/")
        found.append((f"{name} (in pycurl)", number))
    return found
