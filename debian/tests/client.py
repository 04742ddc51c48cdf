"""Talks to the installed service: ``python3 -IS client.py TRIAL...``; the trials are below.

Needs nothing but the package: pyzmq and websockets are taken from inside it.
"""

import json
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

sys.path.append("/usr/lib/zurl-py")
import zmq
from websockets.sync.server import serve

TIMEOUT = 20_000  # milliseconds
SOCKETS = "ipc:///run/zurl/zurl-"
context = zmq.Context()


class Site(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[::-1])

    def log_message(self, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = True


def connect(kind: int, name: str) -> zmq.Socket:
    socket = context.socket(kind)
    socket.setsockopt(zmq.RCVTIMEO, TIMEOUT)
    socket.setsockopt(zmq.SNDTIMEO, TIMEOUT)
    socket.setsockopt(zmq.LINGER, 0)
    if kind == zmq.SUB:
        socket.setsockopt(zmq.SUBSCRIBE, b"client ")
    if kind == zmq.ROUTER:
        socket.setsockopt(zmq.IDENTITY, b"client")
    socket.connect(SOCKETS + name)
    return socket


def ask(packet: dict) -> dict:
    socket = connect(zmq.REQ, "req")
    socket.send(b"J" + json.dumps(packet).encode())
    return json.loads(socket.recv()[1:])


def refused() -> None:
    for uri in ("http://127.0.0.1/", "http://localhost:1/", "http://[::1]/", "http://127.0.0.2/"):
        answer = ask({"method": "GET", "uri": uri})
        assert answer.get("condition") == "policy-violation", (uri, answer)


def request(host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
    site = Server(("127.0.0.1", 0), Site)
    if tls is not None:
        site.socket = tls.wrap_socket(site.socket, server_side=True)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    uri = f"{'https' if tls else 'http'}://{host}:{site.server_port}/"
    answer = ask({"method": "POST", "uri": uri, "body": "Hello"})
    assert (answer.get("code"), answer.get("body")) == (200, "olleH"), answer
    site.shutdown()


def encrypted() -> None:
    """The certificate is in the file that ca_file names."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain("/root/zurl-test.pem")
    request(tls=tls)


def many() -> None:
    """1,000 requests at once, each with 10 kB up and down."""
    site = Server(("127.0.0.1", 0), Site)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    socket = connect(zmq.DEALER, "req")
    packet = {"method": "POST", "uri": f"http://127.0.0.1:{site.server_port}/", "body": "ab" * 5000}
    for number in range(1000):
        message = b"J" + json.dumps(packet | {"id": str(number)}).encode()
        socket.send_multipart([b"", message])
    answered = set()
    for _ in range(1000):
        answer = json.loads(socket.recv_multipart()[1][1:])
        assert answer.get("body") == "ba" * 5000, answer
        answered.add(answer["id"])
    assert len(answered) == 1000
    site.shutdown()


def resolved() -> None:
    """A name from /etc/hosts: the service resolves it without AF_NETLINK."""
    request("zurl-py-test.example")


def websocket() -> None:
    def echo(connection: object) -> None:
        for message in connection:
            connection.send(message)

    server = serve(echo, "127.0.0.1", 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.socket.getsockname()[1]
    out, start = connect(zmq.SUB, "out"), connect(zmq.PUSH, "in")

    def receive() -> dict:
        return json.loads(out.recv().partition(b" J")[2])

    packet = {"from": "client", "uri": f"ws://127.0.0.1:{port}/", "credits": 1000, "seq": 0}
    # A subscription takes its time to get there: ask until an answer comes.
    out.setsockopt(zmq.RCVTIMEO, 500)
    for attempt in range(TIMEOUT // 500):
        start.send(b"J" + json.dumps(packet | {"id": str(attempt)}).encode())
        try:
            opened = receive()
            break
        except zmq.Again:
            continue
    out.setsockopt(zmq.RCVTIMEO, TIMEOUT)
    assert opened.get("code") == 101, opened
    go_on = connect(zmq.ROUTER, "in-stream")
    go_on.setsockopt(zmq.ROUTER_MANDATORY, 1)
    follow = {"from": "client", "id": opened["id"], "seq": 1, "body": "echo"}
    for _ in range(TIMEOUT // 50):
        try:
            frames = [opened["from"].encode(), b"", b"J" + json.dumps(follow).encode()]
            go_on.send_multipart(frames)
            break
        except zmq.ZMQError:
            go_on.poll(50)  # the connection is not there yet

    def receive_data() -> dict:
        while True:
            packet = receive()
            assert packet["id"] == opened["id"], packet
            if packet.get("type") not in ("credit", "keep-alive"):
                return packet

    packet = receive_data()
    assert packet.get("body") == "echo", packet
    frames[2] = b"J" + json.dumps(follow | {"seq": 2, "type": "close", "code": 1000}).encode()
    go_on.send_multipart(frames)
    packet = receive_data()
    assert (packet["type"], packet["code"]) == ("close", 1000), packet
    server.shutdown()


_TRIALS = (refused, request, resolved, encrypted, many, websocket)

for name in sys.argv[1:]:
    {f.__name__: f for f in _TRIALS}[name]()
    print(f"{name}: good")
