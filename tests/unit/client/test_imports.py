"""Importing the client stays cheap, and needs little."""

import subprocess
import sys

_SHOW = "import sys, zurl_py.client; print(*sorted(sys.modules))"


def test_importing_the_client_loads_neither_libcurl_nor_the_daemon() -> None:
    shown = subprocess.run(
        [sys.executable, "-c", _SHOW], capture_output=True, check=True, text=True
    )
    loaded = set(shown.stdout.split())
    assert "zmq" in loaded
    assert not loaded & {
        "anyio", "click", "httpx", "idna", "pycurl", "requests", "rich", "trio", "websockets",
        "zurl_py.cli", "zurl_py.daemon", "zurl_py.egress", "zurl_py.gateway", "zurl_py.sessions",
    }  # fmt: skip
