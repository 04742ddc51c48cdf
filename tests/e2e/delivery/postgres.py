"""A PostgreSQL of the tests' own, in a directory of its own, with its sockets there."""

from __future__ import annotations

import contextlib
import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.deadline import wait_until

__all__ = ["Postgres"]


def _programs() -> str:
    """The directory of the newest server's programs."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))
    if found:
        return os.path.dirname(found[-1])
    if os.environ.get("ZURL_REQUIRE_PEERS"):
        pytest.fail("postgresql is not installed: make peers")
    pytest.skip("postgresql is not installed: make peers")


class Postgres:
    """A server, run by the user postgres, as it refuses to be run by root.

    Args:
        wrapper: a command that the server is run under.
    """

    def __init__(self, wrapper: tuple[str, ...] = (), **settings: Any) -> None:
        self._programs = _programs()
        self._wrapper = wrapper
        self.directory = Path(tempfile.mkdtemp(prefix="zp-"))
        self._data = self.directory / "data"
        self._settings = {
            "listen_addresses": "",
            "unix_socket_directories": self.directory,
            "shared_buffers": "32MB",
            "max_connections": 50,
            "max_worker_processes": 2,
            "autovacuum": "off",
            **settings,
        }
        self.process: subprocess.Popen[bytes] | None = None
        self._databases = 0
        self._user = pwd.getpwnam("postgres") if os.getuid() == 0 else None
        if self._user is not None:
            os.chown(self.directory, self._user.pw_uid, self._user.pw_gid)
        self._run("initdb", "-D", str(self._data), "-A", "trust", "-N", "-U", "zurl")

    def as_user(self) -> dict[str, Any]:
        if self._user is None:
            return {}
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}

    def _run(self, program: str, *arguments: str) -> None:
        command = [f"{self._programs}/{program}", *arguments]
        done = subprocess.run(
            command, capture_output=True, check=False, cwd=self.directory, **self.as_user()
        )
        assert done.returncode == 0, done.stderr.decode()

    @property
    def url(self) -> str:
        return f"postgresql://zurl@/postgres?host={self.directory}"

    def start(self) -> Postgres:
        options = [f"-c{name}={value}" for name, value in self._settings.items()]
        with open(self.directory / "log", "ab") as log:
            self.process = subprocess.Popen(
                [*self._wrapper, f"{self._programs}/postgres", "-D", str(self._data), *options],
                stdout=log,
                stderr=log,
                cwd=self.directory,
                start_new_session=True,
                **self.as_user(),
            )
        wait_until(self._answers, "PostgreSQL to answer", 30.0, 0.05)
        return self

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self.url, connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False

    def make_database(self) -> str:
        """The URL of an empty database."""
        self._databases += 1
        name = f"deliver{self._databases}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql://zurl@/{name}?host={self.directory}"

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.url, autocommit=True)

    def signal(self, number: int) -> None:
        """To the server and all that it has started."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        for pid in (self.process.pid, *map(int, children.split())):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """kill -9 of all of it."""
        assert self.process is not None
        self.signal(signal.SIGKILL)
        self.process.wait()

    def cut_connections(self) -> None:
        """The server ends every connection but the one that asks it to."""
        with self.connect() as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND application_name LIKE 'zurl-deliver%'"
            )

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)  # at once: nothing of it is needed again
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)
