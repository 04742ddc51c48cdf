"""Standard input, output and error, where the parent has closed them."""

from __future__ import annotations

import os
import sys

__all__ = ["fill_standard_descriptors", "fill_standard_streams"]


def fill_standard_descriptors() -> None:
    """Open what a parent has closed of standard input, output and error, on /dev/null.

    Otherwise the next descriptors would have these numbers, such as a socket that a library then
    writes its complaints to.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # open takes the lowest free number, which is this one


def fill_standard_streams() -> None:
    """The same for Python's streams: without ``sys.stderr``, ``print`` writes to standard output.

    ``sys.stdout`` stays None: a body that cannot be written is an error.
    """
    fill_standard_descriptors()
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", errors="backslashreplace", closefd=False)
