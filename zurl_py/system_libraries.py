"""System libraries, for a package that contains its own and has no other search path.

The Debian package runs isolated from the system's libraries. Few need PostgreSQL and ed25519, so it
does not contain their libraries; if Debian's are installed it imports these, and no other ones.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Final

__all__ = ["find_in"]

_NAMES: Final = frozenset(
    (
        "psycopg",
        "psycopg_c",
        "typing_extensions",
        "cryptography",
        "cffi",
        "_cffi_backend",
        "pycparser",
    )
)


def find_in(folder: str) -> None:
    """Import ``psycopg``, ``cryptography`` and their dependencies also from a directory."""
    sys.meta_path.append(_Finder(folder))


class _Finder:
    def __init__(self, folder: str) -> None:
        self._path = [folder]

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return PathFinder.find_spec(name, self._path) if path is None and name in _NAMES else None
