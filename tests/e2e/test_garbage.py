"""Requests that are over leave nothing behind that only the garbage collector could free.

Its walks over thousands of live sessions would cost what the loop has no time for, and bodies of
ended sessions would stay until it comes by.
"""

import sys
from collections.abc import Callable

import pytest

from tests.support import Daemon, ScriptedOrigin, Worker, reply

Start = Callable[..., tuple[Daemon, Worker]]

# A daemon without collector that says at its end how much there was to collect.
_WITHOUT_COLLECTOR = """
import gc
from zurl_py import daemon
from zurl_py.cli.zurl import main

class Daemon(daemon.Daemon):
    def run(self):
        gc.disable()
        return super().run()

    def _close(self):
        found = gc.collect()
        self._log.info(f"to collect: {found}")
        super()._close()

daemon.Daemon = Daemon
main()
"""


@pytest.mark.parametrize("way", ["request", "stream", "whole", "refused", "cancelled", "forget"])
def test_nothing_is_left_to_collect(start_daemon: Start, origin: ScriptedOrigin, way: str) -> None:
    command = [sys.executable, "-c", _WITHOUT_COLLECTOR]
    daemon, worker = start_daemon(command=command)
    origin.script = reply(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
    for number in range(50):
        uri = origin.url(f"/{number}")
        if way == "request":
            assert worker.request(method="POST", uri=uri, body=b"x")["code"] == 200
        elif way in ("stream", "whole"):
            stream = way == "stream"
            session = worker.start(method="GET", uri=uri, stream=stream, credits=100)
            assert session.finish()[-1].type == b"data"
        elif way == "refused":
            session = worker.start(method="GET", uri="http://127.0.0.1:1/")
            assert session.finish()[-1].type == b"error"
        elif way == "cancelled":
            worker.start(method="GET", uri=uri, stream=True).cancel()
            worker.fence()
        else:
            worker.push({"method": "GET", "uri": uri})
            origin.wait_request(number + 1)
    worker.fence()
    assert daemon.stop() == 0
    line = next(line for line in daemon.log().splitlines() if "to collect: " in line)
    # The daemon's own start leaves a little; a cycle would show fifty times.
    assert int(line.rpartition(" ")[2]) < 50
