"""The C programs of the benchmarks, compiled where they were not yet."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

__all__ = ["NEEDED", "program"]

NEEDED = "gcc, libzmq3-dev and libcurl4-openssl-dev"

_HERE = Path(__file__).resolve().parent
_LIBRARIES = {"driver": ["-lzmq"], "origin": [], "floor": ["-lcurl", "-lzmq"]}


def program(name: str) -> Path:
    """The path of a compiled program: driver, origin or floor.

    Raises:
        SystemExit: it cannot be compiled here; the text says what is needed.
    """
    source, made = _HERE / f"{name}.c", _HERE / "build" / name
    if made.exists() and made.stat().st_mtime >= source.stat().st_mtime:
        return made
    if shutil.which("gcc") is None:
        raise SystemExit(f"the benchmarks need {NEEDED}")
    made.parent.mkdir(exist_ok=True)
    fresh = made.with_suffix(".new")
    command = ["gcc", "-O2", "-Wall", "-o", str(fresh), str(source), *_LIBRARIES[name]]
    if subprocess.run(command, check=False).returncode != 0:
        raise SystemExit(f"{source.name} cannot be compiled; the benchmarks need {NEEDED}")
    fresh.replace(made)
    return made
