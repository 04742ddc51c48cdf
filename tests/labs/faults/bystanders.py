"""Bystanders of an attack: how long their requests take, measured by a process of its own.

    python -m tests.labs.faults.bystanders IN_REQ_SPEC

For each line of standard input, a number of seconds, it makes requests for that long, one after the
other, and prints the seconds that each took, as a JSON list.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

import zmq

from tests.support import ScriptedOrigin, decode, encode
from tests.support.paths import ROOT

__all__ = ["Bystanders", "percentile"]

_DEADLINE = 30_000  # milliseconds for one request


def percentile(values: list[float], share: float) -> float:
    """The value below which a share of the values lies."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


class Bystanders:
    """The process, as a laboratory uses it: `begin`, then the attack, then `times`.

    Attributes:
        usual: the times without an attack.
        pid: of the process.
    """

    FEW = 3  # their p99 may be so many times the usual
    NOTICEABLE = 0.2  # seconds; where attackers share two processors with us, less says nothing

    def __init__(self, in_req_spec: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.labs.faults.bystanders", in_req_spec],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        )
        self.usual: list[float] = []
        self.pid = self._process.pid

    def begin(self, seconds: float) -> None:
        """Has them make requests for so long."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()

    def times(self) -> list[float]:
        """The seconds that each request took, when that time is over."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "a bystander's request failed"
        found: list[float] = json.loads(line)
        return found

    def learn_usual(self, seconds: float = 1.5) -> None:
        """Measures without an attack."""
        self.begin(seconds)
        self.usual = self.times()

    def assert_unharmed(self, times: list[float]) -> None:
        """At most threefold; where it seems more, the usual may have changed as well."""
        found = percentile(times, 0.99)
        for attempt in range(2):
            most = max(self.NOTICEABLE, self.FEW * percentile(self.usual, 0.99))
            if found <= most:
                return
            if attempt == 0:
                self.learn_usual()
        usual = percentile(self.usual, 0.99)
        raise AssertionError(f"others' p99 is {found * 1000:.1f} ms, else {usual * 1000:.1f} ms")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def _request(socket: Any, message: bytes) -> float:
    began = time.monotonic()
    socket.send_multipart([b"", message])
    if not socket.poll(_DEADLINE):
        raise AssertionError("no answer")
    answer = decode(socket.recv_multipart()[-1])
    if answer.get("code") != 200:
        raise AssertionError(answer)
    return time.monotonic() - began


def main() -> None:
    page = ScriptedOrigin()
    socket = zmq.Context().socket(zmq.DEALER)
    socket.connect(sys.argv[1])
    message = encode({"id": "bystander", "method": "GET", "uri": page.url("/")})
    for line in sys.stdin:
        until = time.monotonic() + float(line)
        times = [_request(socket, message)]
        while time.monotonic() < until:
            times.append(_request(socket, message))
        print(json.dumps(times), flush=True)


if __name__ == "__main__":
    main()
