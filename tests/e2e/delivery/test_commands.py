"""``zurl-py webhooks``, as an operator types it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

from tests.e2e.delivery.process import Deliver
from tests.e2e.delivery.receiver import Receiver, Reply

Start = Callable[..., Deliver]


def command(deliver: Deliver, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "zurl_py", "webhooks", *arguments]
    return subprocess.run(
        [*program, "--connect", str(deliver.config_path)],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_commands(start_deliver: Start, receiver: Receiver) -> None:
    deliver = start_deliver(schedule="0")
    worker = deliver.worker()
    worker.put("shop", receiver.url("/shop"), secrets=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])
    receiver.reply = lambda _hook: Reply(500, body=b"no \x1b[31mway\r\nsecond line")
    worker.deliver(endpoint="shop", id="first")
    worker.wait_state("first", "dead")

    listed = command(deliver, "list", "--state", "dead")
    assert listed.returncode == 0, listed.stderr
    assert "first" in listed.stdout
    assert "schedule-used-up" in listed.stdout
    assert command(deliver, "list", "--state", "done").stdout == ""

    shown = command(deliver, "show", "first")
    assert "500" in shown.stdout
    assert "\x1b" not in shown.stdout
    assert "\\x1b[31mway" in shown.stdout
    as_json = json.loads(command(deliver, "show", "first", "--json").stdout)
    assert as_json["attempts"][0]["code"] == 500

    receiver.reply = lambda _hook: Reply()
    assert "1 to be sent again" in command(deliver, "replay", "first").stdout
    worker.wait_state("first", "done")
    replayed = command(deliver, "replay", "--endpoint", "shop", "--state", "done")
    assert "1 to be sent again" in replayed.stdout

    disabled = command(deliver, "endpoints", "--disable", "shop")
    assert "disabled: operator" in disabled.stdout
    assert "shop  disabled" in command(deliver, "endpoints").stdout
    assert "enabled" in command(deliver, "endpoints", "--enable", "shop").stdout
    assert "whsec" not in command(deliver, "endpoints", "--json").stdout

    stats = command(deliver, "stats")
    assert "done       1" in stats.stdout
    assert json.loads(command(deliver, "stats", "--json").stdout)["states"]["done"] == 1


def test_errors(start_deliver: Start) -> None:
    deliver = start_deliver()
    shown = command(deliver, "show", "nothing")
    assert (shown.returncode, shown.stdout) == (1, "")
    assert "unknown-delivery" in shown.stderr
    assert command(deliver, "replay").returncode == 2
    assert command(deliver, "replay", "x", "--endpoint", "e", "--state", "dead").returncode == 2
    program = [sys.executable, "-m", "zurl_py", "webhooks", "stats", "--connect", "/nonexistent"]
    lost = subprocess.run(program, capture_output=True, text=True, timeout=20, check=False)
    assert lost.returncode == 1
    assert "/nonexistent" in lost.stderr
