"""Listens for NOTIFY of other processes and applications, on its own connection and thread."""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable
from typing import Final

import psycopg

__all__ = ["Listener"]

_CHANNEL: Final = "zurl"
_PATIENCE: Final = 5.0  # seconds between checks whether to end
_AGAIN: Final = 2.0  # seconds until it connects again; meanwhile the store is polled


class Listener:
    """Listens until the process ends.

    Args:
        told: called on the listener's thread with the payload of a notification: the number of an
            endpoint that has a delivery due, or ``endpoints`` if one was changed.
    """

    def __init__(self, url: str, told: Callable[[str], None]) -> None:
        self._url = url
        self._told = told
        self._closing = False
        threading.Thread(target=self._run, name="store-listen", daemon=True).start()

    def close(self) -> None:
        """Stop calling ``told``."""
        self._closing = True

    def _run(self) -> None:
        while not self._closing:
            try:
                with psycopg.connect(
                    self._url,
                    autocommit=True,
                    connect_timeout=3,
                    keepalives_idle=10,
                    application_name="zurl-deliver listening",
                ) as connection:
                    connection.execute(f"LISTEN {_CHANNEL}")
                    self._listen(connection)
            except psycopg.Error:
                time.sleep(_AGAIN)

    def _listen(self, connection: psycopg.Connection[object]) -> None:
        # By libpq's functions: in psycopg 3.1 (Debian 12) notifies() has no timeout.
        pgconn = connection.pgconn
        while not self._closing:
            select.select([connection], [], [], _PATIENCE)
            pgconn.consume_input()
            while (notification := pgconn.notifies()) is not None and not self._closing:
                self._told(notification.extra.decode())
