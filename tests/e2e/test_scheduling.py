"""How the daemon's threads are scheduled."""

import os
from collections.abc import Callable
from pathlib import Path

from tests.support import Daemon, Worker

Start = Callable[..., tuple[Daemon, Worker]]


def test_zeromq_does_not_interrupt_the_loop(start_daemon: Start) -> None:
    daemon, _ = start_daemon()
    policies = {}
    for task in Path(f"/proc/{daemon.pid}/task").iterdir():
        name = (task / "comm").read_text().strip()
        policies[name] = os.sched_getscheduler(int(task.name))
        if int(task.name) == daemon.pid:
            assert policies[name] == os.sched_getscheduler(0)
    if os.sched_getscheduler(0) == os.SCHED_OTHER:
        assert policies["ZMQbg/IO/0"] == os.SCHED_BATCH
