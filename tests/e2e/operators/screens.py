"""The screens in docs/metrics.md, of a daemon with some load: made here, and compared by a test.

    python -m tests.e2e.operators.screens

writes them anew.
"""

from __future__ import annotations

import re
import subprocess
import sys

from tests.support import ROOT, Daemon, ScriptedOrigin, Worker
from tests.support.daemon import free_port
from tests.support.origin import Connection

__all__ = ["PAGE", "labels", "screens", "shown"]

PAGE = ROOT / "docs" / "metrics.md"
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
_BLOCK = "<!-- screen: {name} -->\n```text\n(.*?)```\n"


def screens() -> dict[str, str]:
    """The output of ``status`` and ``top`` by their names, with paths as an operator has them."""
    with ScriptedOrigin() as origin:
        origin.script = _serve
        daemon = Daemon(arguments=("--loglevel=1",), deny="@metadata,refused.example")
        daemon.settings["metrics_listen"] = f"unix:{daemon.directory}/status"
        with daemon:
            worker = Worker(daemon)
            worker.ready()
            held = [worker.start(method="GET", uri=origin.url("/held")) for _ in range(3)]
            origin.wait_request(3)
            top = subprocess.Popen(
                [*_command("top", daemon), "--interval", "1", "--count", "1"],
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
            )
            while top.poll() is None:
                _load(worker, origin)
            assert top.stdout is not None
            found = {"status": _run("status", daemon), "top": top.stdout.read()}
            origin.let("held")
            for session in held:
                session.finish()
            worker.close()
            return {name: _as_installed(text, daemon, origin) for name, text in found.items()}


def _serve(connection: Connection) -> None:
    while True:
        request = connection.read_request()
        if b"/held" in request.line:
            connection.wait_for("held")
        missing = b"/missing" in request.line
        connection.send(_OK.replace(b"200 OK", b"404 Not Found") if missing else _OK)


def _load(worker: Worker, origin: ScriptedOrigin) -> None:
    for number in range(20):
        worker.request(method="GET", uri=origin.url("/missing" if number == 7 else "/"))
    worker.request(method="GET", uri="http://refused.example/")
    worker.request(method="GET", uri="http://169.254.169.254/latest/meta-data/")
    worker.request(method="GET", uri=f"http://127.0.0.1:{free_port()}/")


def _command(name: str, daemon: Daemon) -> list[str]:
    return [sys.executable, "-m", "zurl_py", name, "--config", str(daemon.config_path)]


def _run(name: str, daemon: Daemon) -> str:
    return subprocess.run(
        _command(name, daemon), capture_output=True, text=True, cwd=ROOT, check=True, timeout=60
    ).stdout


def _as_installed(text: str, daemon: Daemon, origin: ScriptedOrigin) -> str:
    directory = re.escape(str(daemon.directory))
    text = re.sub(f"{directory}/zurl.conf", "/etc/zurl.conf", text)
    for here, there in (("in", "zurl-in"), ("stream", "zurl-in-stream"), ("out", "zurl-out")):
        text = re.sub(f"{directory}/{here}\\b", f"/run/zurl/{there}", text)
    text = re.sub(f"{directory}/req", "/run/zurl/zurl-req", text)
    text = re.sub(f"{directory}/status", "/run/zurl/status", text)
    return text.replace(origin.authority, "origin.example").replace("127.0.0.1", "origin.example")


def shown(name: str) -> str:
    """The screen in the page."""
    found = re.search(_BLOCK.format(name=name), PAGE.read_text(), re.S)
    assert found is not None, name
    return found[1]


def labels(text: str) -> set[str]:
    """The names of a screen's rows, and of its tables."""
    return {line[:14].strip() for line in text.splitlines() if line[:1].isalpha()}


def main() -> None:
    """Write the page's screens anew."""
    page = PAGE.read_text()
    for name, text in screens().items():
        block = f"<!-- screen: {name} -->\n```text\n{text}```\n"
        page = re.sub(_BLOCK.format(name=name), block.replace("\\", r"\\"), page, flags=re.S)
    PAGE.write_text(page)


if __name__ == "__main__":
    main()
