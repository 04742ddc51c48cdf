"""The commands, run as a shell would, against a running daemon."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import Daemon
from tests.support.deadline import DEADLINE


@dataclass
class Ended:
    """A command that is over."""

    status: int
    out: bytes
    err: str


Run = Callable[..., Ended]


@pytest.fixture
def run(shared_daemon: Daemon, tmp_path: Path) -> Run:
    """Runs ``zurl-py`` with some arguments in an empty directory, connected to the daemon."""

    def run(*arguments: str, input: bytes = b"", **environment: str) -> Ended:
        done = subprocess.run(
            [sys.executable, "-m", "zurl_py", *arguments],
            input=input,
            capture_output=True,
            timeout=4 * DEADLINE,
            cwd=tmp_path,
            env={
                "PATH": "/usr/bin:/bin",
                "PYTHONPATH": ":".join(path for path in sys.path if path),
                "ZURL_CONNECT": str(shared_daemon.config_path),
                **environment,
            },
        )
        return Ended(done.returncode, done.stdout, done.stderr.decode())

    return run
