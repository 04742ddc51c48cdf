"""The daemon's ZeroMQ sockets: their options, file modes, binding and closing."""

from __future__ import annotations

import enum
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import zmq

from ..config import Config
from ..config.endpoint import Endpoint, parse_endpoint
from ..errors import Error, StartError
from .obstacles import obstacle
from .zap import DOMAIN

__all__ = [
    "BindError",
    "Endpoints",
    "FileState",
    "NotBound",
    "PlainSocket",
    "bind_ipc",
    "bind_one",
    "remove_files",
]


_ASIDE = ".aside"  # suffix of a socket's file while it is hidden
_LINGER = 1000  # milliseconds that unsent answers may delay the end of the daemon
_PROBES = 4  # TCP keep-alive probes without an answer until a connection is given up
_PROBE_INTERVAL = 15  # seconds between them


class PlainSocket(zmq.Socket[bytes]):
    """A socket whose ``send`` skips pyzmq's handling of options of libzmq's draft API."""

    send = zmq.backend.Socket.send  # type: ignore[assignment]  # it has fewer overloads


class BindError(StartError):
    """An address could not be bound; the text names the key and the address, and says why."""


class FileState(enum.Enum):
    """What has become of a socket's file."""

    OURS = enum.auto()
    GONE = enum.auto()
    TAKEN = enum.auto()  # something else is there now


class Endpoints:
    """The four sockets, each None if it is not configured.

    Args:
        config: where to bind, and how.
        instance_id: the identity of the DEALER.

    Attributes:
        in_: PULL, first packets of sessions.
        in_stream: DEALER, later packets; its identity is the instance id.
        out: XPUB, answers.
        in_req: ROUTER, requests with one answer each.
        ports: TCP ports that are bound.
        context: the sockets' context.
    """

    def __init__(self, config: Config, instance_id: bytes) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        _schedule_as_batch(self.context)
        self._config = config
        self._instance_id = instance_id
        self.ports: set[int] = set()
        self._files: dict[str, int] = {}  # path and inode of our ipc sockets
        self._ipc: list[tuple[zmq.Socket[bytes], Endpoint]] = []
        self.in_: zmq.Socket[bytes] | None = None
        self.in_stream: zmq.Socket[bytes] | None = None
        self.out: zmq.Socket[bytes] | None = None
        self.in_req: zmq.Socket[bytes] | None = None

    def __repr__(self) -> str:
        names = ("in_", "in_stream", "out", "in_req")
        return f"<Endpoints {' '.join(name for name in names if getattr(self, name) is not None)}>"

    def bind(self) -> None:
        """Bind the configured endpoints; ``in_spec`` last, so that no request can come before its
        answer can be published.

        Raises:
            BindError: an endpoint cannot be bound.
        """
        config = self._config
        if config.out_spec:
            self.out = self._make(zmq.XPUB)
            # Refuse a message that does not fit into a queue; do not drop it.
            self.out.setsockopt(zmq.XPUB_NODROP, 1)
            if config.curve is not None:
                # Subscriptions are granted by `Subscribers`.
                self.out.setsockopt(zmq.XPUB_MANUAL, 1)
            self._bind(self.out, "out_spec", heartbeat=True)
        if config.in_stream_spec:
            self.in_stream = self._make(zmq.DEALER)
            self.in_stream.setsockopt(zmq.IDENTITY, self._instance_id)
            self._bind(self.in_stream, "in_stream_spec", heartbeat=True)
        if config.in_req_spec:
            self.in_req = self._make(zmq.ROUTER)
            # As above: refuse an answer that does not fit into the worker's queue.
            self.in_req.setsockopt(zmq.ROUTER_MANDATORY, 1)
            # A worker that sets an identity may reconnect before its earlier messages were read:
            # the answers go to the new connection.
            self.in_req.setsockopt(zmq.ROUTER_HANDOVER, 1)
            self._bind(self.in_req, "in_req_spec")
        if config.in_spec:
            self.in_ = self._make(zmq.PULL)
            self._bind(self.in_, "in_spec")

    def all(self) -> list[zmq.Socket[bytes]]:
        """The sockets that are configured."""
        return [s for s in (self.in_, self.in_stream, self.out, self.in_req) if s is not None]

    def ipc(self) -> Iterator[tuple[zmq.Socket[bytes], Endpoint]]:
        """The ipc endpoints that have files, with their sockets."""
        return ((socket, endpoint) for socket, endpoint in self._ipc if not endpoint.is_abstract)

    def file_of(self, endpoint: Endpoint) -> FileState:
        """What has become of an ipc endpoint's file."""
        try:
            inode = os.lstat(endpoint.path).st_ino
        except FileNotFoundError:
            return FileState.GONE
        except OSError:
            return FileState.TAKEN
        return FileState.OURS if inode == self._files.get(endpoint.path) else FileState.TAKEN

    def hide(self, endpoint: Endpoint) -> None:
        """Stop new connections to an ipc endpoint; existing ones go on.

        Its file is moved aside. To unbind the endpoint would end the existing connections.
        """
        if self.file_of(endpoint) is FileState.OURS:
            os.rename(endpoint.path, endpoint.path + _ASIDE)

    def show(self, endpoint: Endpoint) -> None:
        """Undo `hide`, unless another file is at the path now."""
        if self.file_of(endpoint) is FileState.GONE and os.path.exists(endpoint.path + _ASIDE):
            os.rename(endpoint.path + _ASIDE, endpoint.path)

    def bind_again(self, socket: zmq.Socket[bytes], endpoint: Endpoint) -> None:
        """Bind an ipc endpoint again whose file is gone; existing connections go on.

        Raises:
            NotBound: it cannot be bound.
        """
        if self._config.curve is not None:
            socket.setsockopt(zmq.CURVE_SERVER, 0)
        self._bind_ipc(socket, endpoint)

    def close(self) -> None:
        """Send what is queued, within a second, close, and remove our ipc files."""
        for _, endpoint in self.ipc():
            self.show(endpoint)
        remove_files(self._files.items())
        self.context.destroy(linger=_LINGER)

    def _make(self, kind: int) -> zmq.Socket[bytes]:
        socket = self.context.socket(kind, PlainSocket)
        socket.setsockopt(zmq.RCVHWM, self._config.in_hwm)
        socket.setsockopt(zmq.SNDHWM, self._config.out_hwm)
        socket.setsockopt(zmq.LINGER, _LINGER)
        # libzmq closes the connection of a peer that sends more, before it allocates memory for it.
        socket.setsockopt(zmq.MAXMSGSIZE, self._config.max_message_size or -1)
        return socket

    def _bind(self, socket: zmq.Socket[bytes], key: str, heartbeat: bool = False) -> None:
        # libzmq copies a socket's options for each endpoint when that is bound. ipc is bound first,
        # as it needs no keys (files have modes), and the options for keys cannot be unset.
        specs = sorted(getattr(self._config, key), key=lambda spec: spec.startswith("tcp://"))
        for spec in specs:
            endpoint = parse_endpoint(spec)
            try:
                if endpoint.path:
                    self._bind_ipc(socket, endpoint)
                    self._ipc.append((socket, endpoint))
                else:
                    self._bind_tcp(socket, endpoint, heartbeat)
            except NotBound as reason:
                raise BindError(f"{key}: cannot bind {spec}: {reason}") from None

    def _bind_ipc(self, socket: zmq.Socket[bytes], endpoint: Endpoint) -> None:
        self._files.update(bind_ipc(socket, endpoint, self._config.ipc_file_mode))

    def _bind_tcp(self, socket: zmq.Socket[bytes], endpoint: Endpoint, heartbeat: bool) -> None:
        # An IPv6 socket does not find interfaces by their names.
        socket.setsockopt(zmq.IPV6, endpoint.is_ipv6)
        _detect_lost_peers(socket, self._config, heartbeat)
        curve = self._config.curve
        if curve is not None:
            socket.setsockopt(zmq.CURVE_SERVER, 1)
            socket.setsockopt(zmq.CURVE_SECRETKEY, curve.secret_key.encode())
            socket.setsockopt(zmq.ZAP_DOMAIN, DOMAIN)
        bind_one(socket, endpoint)
        bound = socket.getsockopt(zmq.LAST_ENDPOINT)  # with the port that * stands for
        assert isinstance(bound, bytes)
        self.ports.add(int(bound.rstrip(b"\0").rpartition(b":")[2]))


class NotBound(Error):
    """An endpoint could not be bound; the text says why."""


def bind_ipc(
    socket: zmq.Socket[bytes], endpoint: Endpoint, mode: int | None
) -> list[tuple[str, int]]:
    """Bind an ipc endpoint that no other process listens on.

    Args:
        mode: of the socket's file, in force before a client can connect; None: by the umask.

    Returns:
        Path and inode of the file, for `remove_files`; an abstract endpoint has none.

    Raises:
        NotBound: it cannot be bound.
    """
    path = endpoint.path
    with _file_mode(mode):
        bind_one(socket, endpoint)
    if endpoint.is_abstract:
        return []
    made = [(path, os.stat(path).st_ino)]
    if mode is not None:
        os.chmod(path, mode)
    return made


def remove_files(files: Iterable[tuple[str, int]]) -> None:
    """Remove our socket files, but not files that another process has put in their place."""
    for path, inode in files:
        try:
            if os.stat(path).st_ino == inode:
                os.unlink(path)
        except OSError:
            pass


def bind_one(socket: zmq.Socket[bytes], endpoint: Endpoint) -> None:
    """Bind an endpoint.

    Raises:
        NotBound: it cannot be bound.
    """
    in_the_way = obstacle(endpoint)
    if in_the_way is not None:
        raise NotBound(in_the_way.reason)
    try:
        socket.bind(endpoint.address)
    except zmq.ZMQError as error:
        raise NotBound(os.strerror(error.errno or 0)) from None


def _detect_lost_peers(socket: zmq.Socket[bytes], config: Config, heartbeat: bool) -> None:
    """Detect connections whose other machine has gone without closing them.

    With TCP keep-alive the kernel probes a peer that is silent. ZMTP's heartbeats also find a peer
    whose process hangs. But while we do not read a socket, because there is no room for requests,
    libzmq sees no heartbeats and takes its connections for dead; so heartbeats are for sockets that
    are always read. ``TCP_MAXRT`` is not set: it would cut off workers that are slow to read.
    """
    idle = config.worker_keepalive
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1 if idle else 0)
    if idle:
        socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, idle)
        socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, _PROBE_INTERVAL)
        socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, _PROBES)
    if heartbeat and config.worker_heartbeat:
        socket.setsockopt(zmq.HEARTBEAT_IVL, config.worker_heartbeat * 1000)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, config.worker_heartbeat_timeout * 1000)


@contextmanager
def _file_mode(mode: int | None) -> Iterator[None]:
    """Create files with ``mode`` from the start: chmod after bind would leave a gap."""
    if mode is None:
        yield
        return
    before = os.umask(0o777 & ~mode)
    try:
        yield
    finally:
        os.umask(before)


def _schedule_as_batch(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    """Schedule ZeroMQ's own thread as a batch job (``SCHED_BATCH``, Linux).

    It then does not preempt the loop for each message, but handles those of a turn together: a
    WebSocket message takes a fifth less processor time, an HTTP request a tenth.
    """
    if not hasattr(os, "SCHED_BATCH") or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return  # not Linux, or the operator has chosen a policy
    try:
        # libzmq ends the process where that is not permitted: try it here first.
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    except OSError:
        return
    context.set(zmq.THREAD_SCHED_POLICY, os.SCHED_BATCH)
