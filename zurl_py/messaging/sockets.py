"""The daemon's ZeroMQ sockets: bound early, with the right file modes, gone when it stops."""

from __future__ import annotations

import os
import socket as unix
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import zmq

__all__ = ["BindError", "Endpoints"]

_LINGER = 1000  # milliseconds that unsent answers may delay the end of the daemon


class BindError(Exception):
    """An endpoint could not be bound; the text names it and says why."""


class Endpoints:
    """The four sockets, each None if it is not configured.

    Attributes:
        in_: PULL, first packets of sessions.
        in_stream: DEALER, later packets; its identity is the instance id.
        out: XPUB, answers.
        in_req: ROUTER, requests with one answer each.
        ports: TCP ports that are bound.
    """

    def __init__(self, instance_id: bytes, in_hwm: int, out_hwm: int) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        _let_zeromq_batch(self._context)
        self._instance_id = instance_id
        self._in_hwm = in_hwm
        self._out_hwm = out_hwm
        self.ports: set[int] = set()
        self._files: list[tuple[str, int]] = []  # path and inode of our ipc sockets
        self.in_: zmq.Socket[bytes] | None = None
        self.in_stream: zmq.Socket[bytes] | None = None
        self.out: zmq.Socket[bytes] | None = None
        self.in_req: zmq.Socket[bytes] | None = None

    def bind(
        self,
        in_spec: Sequence[str],
        in_stream_spec: Sequence[str],
        out_spec: Sequence[str],
        in_req_spec: Sequence[str],
        ipc_file_mode: int | None,
    ) -> None:
        """Bind what is configured; ``in_spec`` last, as a request that came before its answer
        could be published would wait for good.

        Args:
            ipc_file_mode: mode of the ipc sockets, in force before anything can connect;
                None: as the umask has it.

        Raises:
            BindError: an endpoint cannot be bound.
        """
        if out_spec:
            self.out = self._make(zmq.XPUB)
            # Tell us where a message does not fit, in place of losing it.
            self.out.setsockopt(zmq.XPUB_NODROP, 1)
            self._bind(self.out, out_spec, ipc_file_mode)
        if in_stream_spec:
            self.in_stream = self._make(zmq.DEALER)
            self.in_stream.setsockopt(zmq.IDENTITY, self._instance_id)
            self._bind(self.in_stream, in_stream_spec, ipc_file_mode)
        if in_req_spec:
            self.in_req = self._make(zmq.ROUTER)
            # As above: an answer that the asker's queue has no room for is ours to keep.
            self.in_req.setsockopt(zmq.ROUTER_MANDATORY, 1)
            self._bind(self.in_req, in_req_spec, ipc_file_mode)
        if in_spec:
            self.in_ = self._make(zmq.PULL)
            self._bind(self.in_, in_spec, ipc_file_mode)

    def all(self) -> list[zmq.Socket[bytes]]:
        """The sockets that there are."""
        return [s for s in (self.in_, self.in_stream, self.out, self.in_req) if s is not None]

    def close(self) -> None:
        """Send what is queued, within a second, close, and remove our ipc files."""
        # Ours only: another daemon may have taken the path over since.
        for path, inode in self._files:
            try:
                if os.stat(path).st_ino == inode:
                    os.unlink(path)
            except OSError:
                pass
        self._context.destroy(linger=_LINGER)

    def _make(self, kind: int) -> zmq.Socket[bytes]:
        socket = self._context.socket(kind)
        socket.setsockopt(zmq.RCVHWM, self._in_hwm)
        socket.setsockopt(zmq.SNDHWM, self._out_hwm)
        socket.setsockopt(zmq.LINGER, _LINGER)
        return socket

    def _bind(
        self, socket: zmq.Socket[bytes], specs: Sequence[str], ipc_file_mode: int | None
    ) -> None:
        for spec in specs:
            path = spec.removeprefix("ipc://") if spec.startswith("ipc://") else None
            if path is not None and not path.startswith("@"):
                _refuse_live_socket(path, spec)
            try:
                with _file_mode(ipc_file_mode):
                    socket.bind(spec)
            except zmq.ZMQError as error:
                raise BindError(f"cannot bind {spec}: {error}") from None
            if path is None:
                endpoint = socket.getsockopt(zmq.LAST_ENDPOINT)  # with the port that * stands for
                assert isinstance(endpoint, bytes)
                self.ports.add(int(endpoint.rstrip(b"\0").rpartition(b":")[2]))
            elif not path.startswith("@"):
                self._files.append((path, os.stat(path).st_ino))
                if ipc_file_mode is not None:
                    os.chmod(path, ipc_file_mode)


def _refuse_live_socket(path: str, spec: str) -> None:
    """libzmq removes a socket file that is in its way, even one that somebody listens on."""
    with unix.socket(unix.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            return
    raise BindError(f"cannot bind {spec}: another process listens there")


@contextmanager
def _file_mode(mode: int | None) -> Iterator[None]:
    """Let files be made with ``mode`` from the start: after bind would leave a moment between."""
    if mode is None:
        yield
        return
    before = os.umask(0o777 & ~mode)
    try:
        yield
    finally:
        os.umask(before)


def _let_zeromq_batch(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    """Have ZeroMQ's own thread scheduled as a batch job (``SCHED_BATCH``, Linux).

    It then does not take the processor from the loop for each message, but handles those of a turn
    together: a fifth less processor time per WebSocket message, a tenth per HTTP request.
    """
    if not hasattr(os, "SCHED_BATCH") or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return  # not Linux, or somebody has chosen for us
    try:
        # libzmq ends the process if it may not: try it here first.
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    except OSError:
        return
    context.set(zmq.THREAD_SCHED_POLICY, os.SCHED_BATCH)
