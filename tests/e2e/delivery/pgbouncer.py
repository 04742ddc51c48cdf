"""A PgBouncer in front of a PostgreSQL of the tests' own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import psycopg

from tests.conftest import require_peer
from tests.e2e.delivery.postgres import Postgres
from tests.support.deadline import wait_until

__all__ = ["PgBouncer"]


class PgBouncer:
    """A pooler, run by the user of the database server, as it refuses to be run by root.

    Args:
        mode: ``session``, ``transaction`` or ``statement``.
    """

    def __init__(self, postgres: Postgres, mode: str, **settings: Any) -> None:
        program = require_peer("pgbouncer")
        self.directory = Path(tempfile.mkdtemp(prefix="zb-"))
        lines = {
            "unix_socket_dir": self.directory,
            "listen_port": 6432,
            "listen_addr": "",
            "auth_type": "any",
            "pool_mode": mode,
            "logfile": self.directory / "log",
            "pidfile": self.directory / "pid",
            **settings,
        }
        config = self.directory / "pgbouncer.ini"
        config.write_text(
            f"[databases]\n* = host={postgres.directory} user=zurl\n[pgbouncer]\n"
            + "".join(f"{key} = {value}\n" for key, value in lines.items())
        )
        user = postgres.as_user()
        if user:
            os.chown(self.directory, user["user"], user["group"])
        self._process = subprocess.Popen(
            [program, "-q", str(config)], start_new_session=True, cwd=self.directory, **user
        )
        wait_until(self._answers, "PgBouncer to answer", 30.0, 0.05)

    def url(self, database: str) -> str:
        """The URL of a database that the server has under a URL of its own."""
        name = psycopg.conninfo.conninfo_to_dict(database)["dbname"]
        return f"postgresql://zurl@/{name}?host={self.directory}&port=6432"

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self.directory / "log").read_text()
        return (self.directory / ".s.PGSQL.6432").exists()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)
