"""Bystanders of an attack: how long their requests take, measured by a process of its own.

    python -m tests.labs.faults.bystanders IN_REQ_SPEC PID

For each line of standard input, a number of seconds, it makes requests for that long, one after the
other, and prints what each took, as a JSON list: seconds, and seconds that the gateway, of which
this is the process id, was at work meanwhile.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any, NamedTuple

import zmq

from tests.support import ScriptedOrigin, decode, encode
from tests.support.daemon import cpu_seconds
from tests.support.paths import ROOT

__all__ = ["Bystanders", "percentile"]

_DEADLINE = 30_000  # milliseconds for one request


def percentile(values: list[float], share: float) -> float:
    """The value below which a share of the values lies."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


class Took(NamedTuple):
    """What a request took.

    Attributes:
        seconds: by the clock.
        work: seconds that the gateway was at work meanwhile, for whomever. Where the machine is
            busy with something else, the clock tells of that.
    """

    seconds: float
    work: float


class Bystanders:
    """The process, as a laboratory uses it: `begin`, then the attack, then `times`.

    Args:
        gateway: its process id.

    Attributes:
        usual: the times without an attack.
        pid: of the process.
    """

    FEW = 3  # their p99 may be so many times the usual
    NOTICEABLE = 0.2  # seconds; where attackers share two processors with us, less says nothing

    def __init__(self, in_req_spec: str, gateway: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.labs.faults.bystanders", in_req_spec, str(gateway)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        )
        self.usual: list[Took] = []
        self.pid = self._process.pid

    def begin(self, seconds: float) -> None:
        """Has them make requests for so long."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()

    def times(self) -> list[Took]:
        """What each request took, when that time is over."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "a bystander's request failed"
        return [Took(*each) for each in json.loads(line)]

    def learn_usual(self, seconds: float = 1.5) -> None:
        """Measures without an attack."""
        self.begin(seconds)
        self.usual = self.times()

    def assert_unharmed(self, times: list[Took]) -> None:
        """The gateway's work while others wait is at most threefold."""
        found, usual = (
            percentile([each.work for each in some], 0.99) for some in (times, self.usual)
        )
        assert found <= max(self.NOTICEABLE, self.FEW * usual), (
            f"others' p99 is {found * 1000:.1f} ms of work, else {usual * 1000:.1f} ms"
        )

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def _request(socket: Any, message: bytes, gateway: int) -> Took:
    began, before = time.monotonic(), cpu_seconds(gateway)
    socket.send_multipart([b"", message])
    if not socket.poll(_DEADLINE):
        raise AssertionError("no answer")
    answer = decode(socket.recv_multipart()[-1])
    if answer.get("code") != 200:
        raise AssertionError(answer)
    return Took(time.monotonic() - began, cpu_seconds(gateway) - before)


def main() -> None:
    page = ScriptedOrigin()
    socket = zmq.Context().socket(zmq.DEALER)
    socket.connect(sys.argv[1])
    message = encode({"id": "bystander", "method": "GET", "uri": page.url("/")})
    gateway = int(sys.argv[2])
    for line in sys.stdin:
        until = time.monotonic() + float(line)
        times = [_request(socket, message, gateway)]
        while time.monotonic() < until:
            times.append(_request(socket, message, gateway))
        print(json.dumps(times), flush=True)


if __name__ == "__main__":
    main()
