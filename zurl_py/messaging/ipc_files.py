"""Keeps the files of ipc sockets in place: a socket whose file was removed is bound again.

The files are moved aside while hardly any descriptors are left. Both concern new connections only,
which ZeroMQ tries again by itself; connected workers go on.
"""

from __future__ import annotations

import zmq

from .. import descriptors
from ..config.endpoint import Endpoint
from ..log import Log
from ..loop import Loop, Timer
from .sockets import Endpoints, FileState, NotBound

__all__ = ["IpcFiles"]

_INTERVAL = 1.0  # seconds between two checks
_SHORT_INTERVAL = 0.1  # seconds, while the descriptors reserved for workers are in use


class IpcFiles:
    """Checks the files of a daemon's ipc sockets from time to time."""

    def __init__(self, endpoints: Endpoints, loop: Loop, log: Log) -> None:
        self._endpoints = endpoints
        self._loop = loop
        self._log = log
        self._hidden = False
        self._logged: set[str] = set()  # paths that the log has reported as taken
        self._timer = Timer(self._check)
        if any(True for _ in endpoints.ipc()):
            loop.set_timer(self._timer, loop.now + _INTERVAL)

    def _check(self) -> None:
        left = descriptors.limit() - descriptors.lowest_free()
        kept = descriptors.reserve()
        few = kept // 2
        interval = _INTERVAL if left > kept else _SHORT_INTERVAL
        self._loop.set_timer(self._timer, self._loop.now + interval)
        if self._hidden:
            if left > kept:
                self._show()
        elif left <= few:
            self._hide(left)
        else:
            for socket, endpoint in self._endpoints.ipc():
                self._restore(socket, endpoint)

    def _hide(self, left: int) -> None:
        """Stop new connections: without a free descriptor, libzmq would end the process."""
        self._hidden = True
        self._log.error(
            f"{left} descriptors are left (ulimit -n {descriptors.limit()}): no more workers can "
            "connect over ipc until some are closed; raise LimitNOFILE"
        )
        for _, endpoint in self._endpoints.ipc():
            self._endpoints.hide(endpoint)

    def _show(self) -> None:
        self._hidden = False
        self._log.warning("descriptors are free again: workers can connect")
        for _, endpoint in self._endpoints.ipc():
            self._endpoints.show(endpoint)

    def _restore(self, socket: zmq.Socket[bytes], endpoint: Endpoint) -> None:
        """Bind again where the file was removed; log where another file has taken its place."""
        path = endpoint.path
        state = self._endpoints.file_of(endpoint)
        if state is FileState.OURS:
            self._logged.discard(path)
        elif state is FileState.TAKEN:
            self._log_once(
                path,
                f"{path} was replaced by another file: no new worker can connect; remove that file",
            )
        else:
            try:
                self._endpoints.bind_again(socket, endpoint)
            except (NotBound, OSError) as reason:
                self._log_once(path, f"{path} was removed, and cannot be bound again: {reason}")
            else:
                self._logged.discard(path)
                self._log.warning(f"{path} was removed, and is bound again")

    def _log_once(self, path: str, text: str) -> None:
        if path not in self._logged:
            self._logged.add(path)
            self._log.error(text)
