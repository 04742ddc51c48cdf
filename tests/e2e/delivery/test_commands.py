"""``zurl-py webhooks``, as an operator types it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

from tests.e2e.delivery.postgres import Postgres
from tests.e2e.delivery.process import Deliver
from tests.e2e.delivery.receiver import Receiver, Reply

Start = Callable[..., Deliver]


def command(deliver: Deliver, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "zurl_py", "webhooks", *arguments]
    return subprocess.run(
        [*program, "--connect", str(deliver.config_path)],
        capture_output=True,
        text=True,
        timeout=60,
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


def test_move(start_deliver: Start, receiver: Receiver, postgres: Postgres) -> None:
    deliver = start_deliver(schedule="0,5,5,5,5,5")  # longer than all that is done below
    worker = deliver.worker()
    worker.put("shop", receiver.url("/shop"), secrets=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])
    worker.put("line", receiver.url("/line"), order="key")
    done = worker.deliver(endpoint="shop", id="done", headers=[["X-A", "é"]], event="e")
    worker.wait_state(done, "done")
    worker.ask("endpoint-disable", endpoint="shop")
    held = worker.deliver(endpoint="shop", id="held", headers=[["X-A", "é"]])
    receiver.reply = lambda _hook: Reply(500)
    for number in range(3):
        worker.deliver(endpoint="line", key="k", id=f"line-{number}")
    receiver.wait_for("line-0")
    url = postgres.make_database()
    program = [sys.executable, "-m", "zurl_py", "webhooks", "move", "--to", url]
    source = ["--from", deliver.settings["store"]]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*program, *arguments], capture_output=True, text=True, timeout=60, check=False
        )

    assert "locked" in run(*source).stderr
    deliver.stop()
    moved = run(*source)
    assert moved.returncode == 0, moved.stderr
    counts = dict(line.split() for line in moved.stdout.splitlines())
    assert int(counts.pop("attempt")) >= 2
    assert counts == {"endpoint": "2", "delivery": "5", "payload": "5"}
    assert "already" in run(*source).stderr
    assert run("--from", "sqlite:////nonexistent/x").returncode == 1

    receiver.reply = lambda _hook: Reply()
    deliver.write_config(store=url)
    deliver.start()
    worker.wait_state("line-2", "done")
    assert receiver.ids("/line")[-3:] == ["line-0", "line-1", "line-2"]
    assert worker.delivery("done")["attempts"][0]["code"] == 200
    again = worker.ask(
        "deliver", endpoint="shop", body="{}", id="done", headers=[["X-A", "é"]], event="e"
    )
    assert again["duplicate"] is True
    assert worker.state(held) == "held"
    worker.ask("endpoint-enable", endpoint="shop")
    worker.wait_state(held, "done")
    hook = receiver.of(held)[0]
    assert "webhook-signature" in hook.headers
    worker.wait_state(worker.deliver(endpoint="shop"), "done")


def test_errors(start_deliver: Start) -> None:
    deliver = start_deliver()
    shown = command(deliver, "show", "nothing")
    assert (shown.returncode, shown.stdout) == (1, "")
    assert "unknown-delivery" in shown.stderr
    assert command(deliver, "replay").returncode == 2
    assert command(deliver, "replay", "x", "--endpoint", "e", "--state", "dead").returncode == 2
    program = [sys.executable, "-m", "zurl_py", "webhooks", "stats", "--connect", "/nonexistent"]
    lost = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    assert lost.returncode == 1
    assert "/nonexistent" in lost.stderr
