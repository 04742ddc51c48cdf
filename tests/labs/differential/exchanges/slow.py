"""What takes the daemons half a minute or a minute."""

import time

from tests.labs.differential.lab import Run, exchange
from tests.support import Connection, wait_until

_KEEP_ALIVE = 30
_EXPIRY = 60


@exchange(slow=True, requests=False)
def expiry(x: Run) -> None:
    """The daemon says every half minute that it lives, and expects to hear from the worker.

    Three sessions at once: a silent worker, a silent worker with a busy origin, and a worker
    that says something now and then.
    """

    def script(connection: Connection) -> None:
        request = connection.read_request()
        connection.sock.settimeout(1)
        if b"busy" in request.line:
            connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            if b"busy" in request.line:
                connection.send(b".")
            try:
                connection._fill()
            except TimeoutError:
                continue

    x.origin.script = script
    sessions = {
        name: x.start(name, method="GET", uri=x.origin.url(f"/{name}"), stream=True, credits=999)
        for name in ("silent", "busy", "talking")
    }
    x.origin.wait_request(3)
    started = time.monotonic()
    for moment in (25, 50):
        wait_until(lambda: time.monotonic() - started > moment, "time passes", 100, 0.1)  # noqa: B023
        sessions["talking"].send(type="keep-alive")
        x.note(f"{len(x.origin.live)} connections live at {moment}")
    wait_until(lambda: len(x.origin.live) == 1, "the silent ones are dropped", 40, 0.1)
    x.note(f"dropped after a minute: {_EXPIRY - 3 < time.monotonic() - started < _EXPIRY + 15}")
    # One more keep-alive may be under way.
    sessions["talking"].cancel()
    x.worker.fence()
    for name, session in sessions.items():
        queue = x.worker._queues[session.id]
        alive = [m for m in queue if m.type == b"keep-alive"]
        other = sorted({m.type for m in queue} - {b"keep-alive"})
        x.note(f"{name}: keep-alives {len(alive) >= 2}, {other}, ended {queue[-1].is_final}")
    x.worker.received.clear()
