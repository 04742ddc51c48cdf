"""Many requests at once: each is answered, whatever the rhythm of the answers is."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import zmq

from tests.support import Daemon, Worker

Start = Callable[..., tuple[Daemon, Worker]]


class _Hello(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65536  # head and body in one segment

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"hi")

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    request_queue_size = 512


def test_each_of_many_requests_in_flight_is_answered(start_daemon: Start) -> None:
    """Sending a burst of answers swallowed the signal of requests that came meanwhile."""
    daemon, _worker = start_daemon()
    server = _Server(("127.0.0.1", 0), _Hello)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.RCVTIMEO, 20_000)
    socket.setsockopt(zmq.LINGER, 0)
    socket.connect(daemon.endpoints["in_req_spec"])
    message = b'J{"method":"GET","uri":"http://127.0.0.1:%d/"}' % server.server_port
    try:
        for in_flight in (1, 50, 100):
            for _ in range(in_flight):
                socket.send_multipart([b"", message])
            for _ in range(500):
                assert b'"code":200' in socket.recv_multipart()[1]
                socket.send_multipart([b"", message])
            for _ in range(in_flight):
                assert b'"code":200' in socket.recv_multipart()[1]
    finally:
        socket.close()
        context.term()
        server.shutdown()
        server.server_close()
