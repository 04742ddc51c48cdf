"""The scenarios, run inside a namespace where the name server is ours. Prints JSON."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

from tests.labs.ssrf.namespace import RESOLVER, set_up
from tests.support import Daemon, ScriptedOrigin, Worker, reply

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
_A = 1


class Names:
    """A name server for A records.

    Attributes:
        addresses: what names stand for; others do not exist.
        silent: ends of names about which nothing is said.
        asked: each query for an A record.
    """

    def __init__(self) -> None:
        self.addresses: dict[str, str] = {}
        self.silent: tuple[str, ...] = (".silent.test",)
        self.asked: list[str] = []
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self._sock.bind((RESOLVER, 53))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            query, peer = self._sock.recvfrom(4096)
            labels, position = [], 12
            while query[position]:
                length = query[position]
                labels.append(query[position + 1 : position + 1 + length].decode())
                position += 1 + length
            end = position + 5
            kind = struct.unpack("!H", query[position + 1 : position + 3])[0]
            name = ".".join(labels)
            if kind == _A:
                self.asked.append(name)
            if name.endswith(self.silent):
                continue
            address = self.addresses.get(name)
            found = kind == _A and address is not None
            flags = 0x8180 if address is not None else 0x8183
            head = query[:2] + struct.pack("!HHHHH", flags, 1, int(found), 0, 0)
            answer = head + query[12:end]
            if found and address is not None:
                answer += b"\xc0\x0c" + struct.pack("!HHIH", _A, 1, 0, 4)
                answer += socket.inet_aton(address)
            self._sock.sendto(answer, peer)


class Bench:
    def __init__(self, **settings: Any) -> None:
        self.daemon = Daemon(**settings).start()
        self.worker = Worker(self.daemon).ready()

    def get(self, uri: str, **fields: Any) -> Any:
        """Code or condition and error of the answer."""
        answer = self.worker.request(method="GET", uri=uri, **fields)
        if "code" in answer:
            return answer["code"]
        return [answer["condition"].decode(), answer["ext"]["error"].decode()]

    def stream(self, uri: str) -> Any:
        answer = self.worker.start(method="GET", uri=uri, stream=True, credits=100).finish()[-1]
        return answer["condition"].decode() if "condition" in answer else "whole"

    def close(self) -> None:
        self.worker.close()
        self.daemon.close()


def a_name_that_is_made_later(names: Names, origin: ScriptedOrigin) -> Any:
    bench = Bench()
    uri = f"http://later.test:{origin.port}/"
    before = [bench.get(uri), bench.stream(uri)]
    names.addresses["later.test"] = "127.0.0.1"
    after = [bench.get(uri), bench.stream(uri)]
    bench.close()
    return [before, after]


def no_such_name_is_remembered_if_so_set(names: Names, origin: ScriptedOrigin) -> Any:
    bench = Bench(dns_negative_cache=60)
    uri = f"http://remembered.test:{origin.port}/"
    before = bench.get(uri)
    names.addresses["remembered.test"] = "127.0.0.1"
    after = bench.get(uri)
    bench.close()
    return [before, after, names.asked.count("remembered.test")]


def a_name_that_moves(names: Names, _origin: ScriptedOrigin) -> Any:
    """From an address that refuses then, and from one that closes its kept connection."""
    bench = Bench()
    old = ScriptedOrigin(reply(OK), host="127.0.0.2")
    names.addresses["moves.test"] = "127.0.0.2"
    uri = f"http://moves.test:{old.port}/"
    codes = [bench.get(uri)]
    new = socket.create_server(("127.0.0.3", old.port))
    threading.Thread(target=_serve_once, args=(new,), daemon=True).start()
    names.addresses["moves.test"] = "127.0.0.3"
    old.close()
    time.sleep(0.1)
    codes.append(bench.get(uri))
    bench.close()
    return codes


def a_silent_address_is_looked_up_again(names: Names, _origin: ScriptedOrigin) -> Any:
    """It takes no connection: its queue is full. Each has a timeout, of its own or the daemon's."""
    requests: dict[str, dict[str, Any]] = {
        "http": {"method": "GET", "stream": True, "timeout": 2000},
        "ws": {"timeout": 2000},
        "ws, idle": {},
    }
    found = {}
    for what, fields in requests.items():
        bench = Bench(timeout=2)
        scheme = what.partition(",")[0]
        name = f"silent-{len(what)}.test"
        with socket.create_server(("127.0.0.4", 0), backlog=0) as full:
            port = full.getsockname()[1]
            waiting = [socket.socket() for _ in range(4)]
            for sock in waiting:
                sock.setblocking(False)
                sock.connect_ex(("127.0.0.4", port))
            names.addresses[name] = "127.0.0.4"
            outcomes = [_first_outcome(bench, f"{scheme}://{name}:{port}/", fields)]
            names.addresses[name] = "127.0.0.1"
            with socket.create_server(("127.0.0.1", port)) as new:
                threading.Thread(target=_refuse, args=(new,), daemon=True).start()
                outcomes.append(_first_outcome(bench, f"{scheme}://{name}:{port}/", fields))
            for sock in waiting:
                sock.close()
        bench.close()
        found[what] = outcomes
    return found


def _first_outcome(bench: Bench, uri: str, fields: dict[str, Any]) -> Any:
    answer = bench.worker.start(uri=uri, credits=100, **fields).skip(b"keep-alive")
    return answer.get("code") or answer["condition"].decode()


def _refuse(server: socket.socket) -> None:
    sock, _ = server.accept()
    sock.recv(65536)
    sock.sendall(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")


def _serve_once(server: socket.socket) -> None:
    sock, _ = server.accept()
    sock.recv(65536)
    sock.sendall(OK)


def one_look_up_for_all(names: Names, origin: ScriptedOrigin) -> Any:
    bench = Bench()
    names.addresses["many.test"] = "127.0.0.1"
    for number in range(100):
        uri = f"http://many.test:{origin.port}/{number}"
        bench.worker.send_req({"method": "GET", "uri": uri, "id": f"{number}"})
    codes = {bench.worker.recv_req().get("code") for _ in range(100)}
    bench.close()
    return [sorted(codes), names.asked.count("many.test")]


def silent_names_delay_no_others(names: Names, origin: ScriptedOrigin) -> Any:
    """400 of them, and 480 requests to one that ends in a digit."""
    bench = Bench()
    names.addresses["web-1"] = names.addresses["web-2"] = "127.0.0.1"
    for number in range(400):
        uri = f"http://n{number}.silent.test/"
        bench.worker.start(method="GET", uri=uri, stream=True, credits=1)
    for _ in range(480):
        bench.worker.start(method="GET", uri="http://web1.silent.test/", stream=True, credits=1)
    begin = time.monotonic()
    codes = [bench.get(f"http://{name}:{origin.port}/") for name in ("web-1", "web-2")]
    took = time.monotonic() - begin
    asked = names.asked.count("web1.silent.test")
    bench.close()
    return [codes, took < 4.5, asked <= 2]  # a name server is asked again after five seconds


def lifetimes(names: Names, origin: ScriptedOrigin) -> Any:
    """With 0, each new connection is looked up; a kept one needs no look-up."""
    counts = []
    for lifetime in (0, 60):
        bench = Bench(dns_cache=lifetime)
        name = f"life{lifetime}.test"
        names.addresses[name] = "127.0.0.1"
        for _ in range(3):
            bench.get(f"http://{name}:{origin.port}/close")
            time.sleep(0.02)
        counts.append(names.asked.count(name))
        bench.close()
    return counts


SCENARIOS: list[Callable[[Names, ScriptedOrigin], Any]] = [
    a_name_that_is_made_later,
    no_such_name_is_remembered_if_so_set,
    a_name_that_moves,
    a_silent_address_is_looked_up_again,
    one_look_up_for_all,
    silent_names_delay_no_others,
    lifetimes,
]


def main() -> None:
    set_up("127.0.0.1 localhost\n")
    names = Names()
    close = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    with ScriptedOrigin() as origin:

        def script(connection: Any) -> None:
            while True:
                request = connection.read_request()
                connection.send(close if b"/close" in request.line else OK)

        origin.script = script
        print(json.dumps({each.__name__: each(names, origin) for each in SCENARIOS}))


if __name__ == "__main__":
    main()
