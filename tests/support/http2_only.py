"""An origin that speaks HTTP/2 and nothing else, by PyPI's h2, as a script of `ScriptedOrigin`."""

from __future__ import annotations

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from tests.support.origin import Connection, PeerClosed

__all__ = ["http2_only"]


class _Server:
    def __init__(self, connection: Connection, size: int) -> None:
        self._connection = connection
        self._answer = b"x" * size
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        self._h2 = h2.connection.H2Connection(config)
        self._h2.initiate_connection()
        self._bodies: dict[int, bytes] = {}
        self._unsent: dict[int, bytes] = {}

    def run(self) -> None:
        self._connection.send(self._h2.data_to_send())
        while True:
            data = self._connection.read_some()
            try:
                events = self._h2.receive_data(data)
            except h2.exceptions.ProtocolError as error:  # no HTTP/2, for example
                # A close before all was read would be a reset, and hide what was said.
                self._connection.half_close()
                self._connection.expect_end()
                raise PeerClosed(str(error)) from None
            # What was reset in the same read is not to be answered any more.
            reset = {e.stream_id for e in events if isinstance(e, h2.events.StreamReset)}
            for event in events:
                self._take(event, reset)
            self._send_bodies()
            self._connection.send(self._h2.data_to_send())

    def _take(self, event: h2.events.Event, reset: set[int]) -> None:
        if isinstance(event, h2.events.RequestReceived):
            assert event.stream_id is not None
            self._bodies[event.stream_id] = b""
        elif isinstance(event, h2.events.DataReceived):
            assert event.stream_id is not None
            self._bodies[event.stream_id] += event.data or b""
            length = event.flow_controlled_length or 0
            self._h2.acknowledge_received_data(length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            assert event.stream_id is not None
            body = self._bodies.pop(event.stream_id)
            if event.stream_id not in reset:
                self._h2.send_headers(event.stream_id, [(":status", "200")])
                self._unsent[event.stream_id] = b"only h2 " + body + self._answer
        elif isinstance(event, h2.events.StreamReset):
            self._unsent.pop(event.stream_id, None)
        elif isinstance(event, h2.events.ConnectionTerminated):
            raise PeerClosed("GOAWAY")

    def _send_bodies(self) -> None:
        for stream, body in list(self._unsent.items()):
            while body:
                room = min(
                    self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size
                )
                if not room:
                    break
                piece, body = body[:room], body[room:]
                self._h2.send_data(stream, piece)
            self._unsent[stream] = body
            if not body:
                self._h2.end_stream(stream)
                del self._unsent[stream]


def http2_only(connection: Connection, size: int = 0) -> None:
    """Answer each request with its body, and ``size`` bytes more."""
    _Server(connection, size).run()
