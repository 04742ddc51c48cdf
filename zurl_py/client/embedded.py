"""Embedded gateways: child processes with private sockets, which end with their parent.

There is one for each set of settings. It is started at its first use, and all clients share it.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from .address import Embedded, Endpoints

__all__ = ["restart", "start", "why_not"]

_STOPS: Final = 5.0  # seconds for it to end
_LONGEST_BASE: Final = 70  # bytes: 107 for a socket's path, without our part of it
_LAST_LINES: Final = 2000  # characters of its log that an error shows
_SOCKETS: Final = {"in_": "in", "in_stream": "in-stream", "out": "out", "req": "req"}
_KEYS: Final = {
    "in_": "in_spec",
    "in_stream": "in_stream_spec",
    "out": "out_spec",
    "req": "in_req_spec",
}


class _Child:
    """One gateway."""

    def __init__(self, gateway: Embedded) -> None:
        self._listeners: list[Callable[[], None]] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: threading.Thread | None = None
        self._stopping = False
        base = tempfile.gettempdir()
        if len(os.fsencode(base)) > _LONGEST_BASE:
            base = "/tmp"
        self.directory = Path(tempfile.mkdtemp(prefix="zurl-embedded-", dir=base))  # mode 700
        ends = {name: f"ipc://{self.directory}/{file}" for name, file in _SOCKETS.items()}
        self.endpoints = Endpoints(**ends)
        settings = {_KEYS[name]: endpoint for name, endpoint in ends.items()}
        settings |= {"drain_timeout": "0", **dict(gateway.settings)}
        lines = ["[General]", *(f"{key}={value}" for key, value in settings.items()), ""]
        self._config = "\n".join(lines)
        self._log = self.directory / "log"
        self.failure: str | None = None

    def listen(self, ended: Callable[[], None]) -> None:
        """Call a function, in another thread, whenever the gateway has ended."""
        self._listeners.append(ended)

    def run(self) -> bool:
        """Start it, unless it runs. Returns whether it was started."""
        if self._keeper is not None and self._keeper.is_alive():
            return False
        self.failure = None
        started = threading.Event()
        self._keeper = threading.Thread(
            target=self._keep, args=(started,), name="zurl_py.embedded", daemon=True
        )
        self._keeper.start()
        started.wait()
        return True

    def _keep(self, started: threading.Event) -> None:
        command = [sys.executable, "-m", f"{__package__}._child", str(self.directory)]
        try:
            self._prepare()
            with open(self._log, "ab") as log:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,  # is closed when we end
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # Ctrl-C is for the parent only
                )
        except OSError as error:
            self.failure = f"the embedded gateway cannot be started: {error.strerror}"
        finally:
            started.set()
        if self._process is not None:
            status = self._process.wait()
            self.let_go()
            if not self._stopping:
                self.failure = f"the embedded gateway ended with status {status}:\n{self._tail()}"
        for ended in list(self._listeners):
            ended()

    def _prepare(self) -> None:
        """Make the directory, which a gateway removes when it stops."""
        try:
            self.directory.mkdir(0o700)
        except FileExistsError:
            if self.directory.stat().st_uid != os.geteuid():
                raise
        (self.directory / "zurl.conf").write_text(self._config, "utf-8", "surrogateescape")

    def _tail(self) -> str:
        try:
            return self._log.read_text("utf-8", "replace")[-_LAST_LINES:].strip()
        except OSError:
            return ""

    def let_go(self) -> None:
        """Close our end of the pipe, as after ``fork`` only one process may hold it."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    def stop(self) -> None:
        """End it, and remove its directory."""
        self._stopping = True
        self._listeners.clear()
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_STOPS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


_children: dict[Embedded, _Child] = {}
_lock = threading.Lock()


def start(gateway: Embedded, ended: Callable[[], None]) -> Endpoints:
    """Start a gateway with these settings, unless it runs; returns its endpoints at once.

    Args:
        ended: called, in another thread, whenever it has ended.
    """
    with _lock:
        child = _children.get(gateway)
        if child is None:
            child = _children[gateway] = _Child(gateway)
        child.listen(ended)
        child.run()
        return child.endpoints


def restart(gateway: Embedded) -> bool:
    """Start a gateway again that has ended. Returns False if it runs."""
    with _lock:
        child = _children.get(gateway)
        return child is not None and child.run()


def why_not(gateway: Embedded) -> str | None:
    """Why a gateway does not run; None if it runs, or starts."""
    child = _children.get(gateway)
    return child.failure if child is not None else None


def _stop_all() -> None:
    for child in list(_children.values()):
        child.stop()
    _children.clear()


def _forget_all() -> None:
    """Forget the parent's gateways after a fork: this process starts its own."""
    global _lock
    _lock = threading.Lock()
    for child in _children.values():
        child.let_go()
    _inherited.append(dict(_children))  # else they would be garbage collected, and waited for
    _children.clear()


_inherited: list[dict[Embedded, _Child]] = []

atexit.register(_stop_all)
os.register_at_fork(after_in_child=_forget_all)
