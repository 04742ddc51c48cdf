"""The sockets for questions: a ROUTER, whose questions are answered, and a PULL."""

from __future__ import annotations

import zmq

from ..config.endpoint import parse_endpoint
from ..messaging.sockets import BindError, NotBound, PlainSocket, bind_ipc, bind_one, remove_files
from .config import DeliverConfig

__all__ = ["DeliverSockets"]

_LINGER = 1000  # milliseconds that unsent answers may delay the end of the process
_WAITING = 20_000  # answers that may wait for one worker
_ROOM = 8  # escapes of JSON may make a message so many times as large as its body
_FRAME = 1 << 20  # bytes of a message for everything but the body


class DeliverSockets:
    """Both sockets, each None if it is not configured.

    Raises:
        BindError: an endpoint cannot be bound.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], config: DeliverConfig) -> None:
        self._context = context
        self._config = config
        self._files: list[tuple[str, int]] = []
        self.questions: zmq.Socket[bytes] | None = None
        self.pushed: zmq.Socket[bytes] | None = None
        if config.deliver_spec:
            self.questions = self._make(zmq.ROUTER)
            # Answers go to the new connection of a worker that reconnects with its identity.
            self.questions.setsockopt(zmq.ROUTER_HANDOVER, 1)
            self._bind(self.questions, "deliver_spec", config.deliver_spec)
        if config.deliver_push_spec:
            self.pushed = self._make(zmq.PULL)
            self._bind(self.pushed, "deliver_push_spec", config.deliver_push_spec)

    def close(self) -> None:
        """Send what is queued, within a second, and remove our ipc files."""
        remove_files(self._files)
        for socket in (self.questions, self.pushed):
            if socket is not None:
                socket.close(_LINGER)

    def _make(self, kind: int) -> zmq.Socket[bytes]:
        socket = self._context.socket(kind, socket_class=PlainSocket)
        socket.setsockopt(zmq.LINGER, _LINGER)
        if kind == zmq.ROUTER:
            socket.setsockopt(zmq.SNDHWM, _WAITING)
        socket.setsockopt(zmq.MAXMSGSIZE, _ROOM * self._config.max_body + _FRAME)
        return socket

    def _bind(self, socket: zmq.Socket[bytes], key: str, specs: tuple[str, ...]) -> None:
        for spec in specs:
            endpoint = parse_endpoint(spec)
            try:
                if endpoint.path:
                    self._files += bind_ipc(socket, endpoint, self._config.ipc_file_mode)
                else:
                    socket.setsockopt(zmq.IPV6, endpoint.is_ipv6)
                    bind_one(socket, endpoint)
            except NotBound as reason:
                raise BindError(f"{key}: cannot bind {spec}: {reason}") from None
