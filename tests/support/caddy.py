"""Caddy as a peer that speaks HTTP/1.1, HTTP/2 and HTTP/3, and hands WebSockets on."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.support.daemon import free_port
from tests.support.deadline import wait_until

__all__ = ["Caddy"]

# Without skip_install_trust it would put an authority of its own into the machine's trust store.
_CONFIG = """
{{
    skip_install_trust
    admin off
    auto_https off
    default_bind 127.0.0.1
    servers {{
        protocols {protocols}
        strict_sni_host {strict}
    }}
    log {{
        output file {directory}/caddy.log
    }}
}}
https://localhost:{port} {{
    tls {certificate} {key} {{
        {client_auth}
    }}
    log {{
        output file {directory}/access.log
    }}
    handle /who {{
        respond "{{http.request.proto}} {{http.request.tls.client.subject}}"
    }}
    handle /file {{
        root * {directory}
        file_server
    }}
    handle {{
        reverse_proxy {backend}
    }}
}}
"""
_CLIENT_AUTH = """client_auth {{
            mode {mode}
            trusted_ca_cert_file {authority}
        }}"""


class Caddy:
    """A running caddy with one TLS server for localhost.

    Args:
        program: path of the binary.
        leaf: paths of its certificate and key.
        backend: "host:port" of a plain HTTP server, for all paths but /who and /file.
        protocols: of ``h1``, ``h2``, ``h3``.
        authority: path of the authority of clients' certificates; none is asked for without.
        insists: it takes no client without one.
        file: what /file serves.
        compares_names: TLS's name and Host have to be the same, as where clients show certificates
            and nobody says otherwise. 2.6 knows no name over HTTP/3, and answers 421 there.

    Attributes:
        port: where it listens on 127.0.0.1, for TCP and UDP.
    """

    def __init__(
        self,
        program: str,
        leaf: tuple[str, str],
        backend: str = "127.0.0.1:1",
        protocols: str = "h1 h2 h3",
        authority: str = "",
        insists: bool = True,
        file: bytes = b"",
        compares_names: bool = False,
    ) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="caddy-"))
        self.port = free_port()
        (self.directory / "file").write_bytes(file)
        mode = "require_and_verify" if insists else "verify_if_given"
        client_auth = _CLIENT_AUTH.format(mode=mode, authority=authority) if authority else ""
        config = self.directory / "Caddyfile"
        config.write_text(
            _CONFIG.format(
                directory=self.directory,
                port=self.port,
                protocols=protocols,
                strict="on" if compares_names else "insecure_off",
                certificate=leaf[0],
                key=leaf[1],
                client_auth=client_auth,
                backend=backend,
            )
        )
        home = {name: str(self.directory) for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")}
        self._process = subprocess.Popen(
            # It ends with the test run, however that ends.
            [
                *("setpriv", "--pdeathsig", "KILL"),
                *(program, "run", "--config", str(config), "--adapter", "caddyfile"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(self.directory / "start.log").open("wb"),
            env={**os.environ, **home},
        )
        self._tcp = protocols != "h3"
        wait_until(self._listens, "caddy listens")

    def _listens(self) -> bool:
        said = (self.directory / "start.log").read_text()
        assert self._process.poll() is None, said
        if not self._tcp:
            return f" 0100007F:{self.port:04X} " in Path("/proc/net/udp").read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def url(self, path: str = "/", scheme: str = "https") -> str:
        """URI of `path`."""
        return f"{scheme}://localhost:{self.port}{path}"

    def requests(self, count: int) -> list[dict[str, Any]]:
        """What its access log says of each request, once there are so many."""
        log = self.directory / "access.log"
        wait_until(
            lambda: log.exists() and log.read_text().count("\n") >= count, f"{count} requests"
        )
        return [json.loads(line) for line in log.read_text().splitlines()]

    def close(self) -> None:
        """Stops it."""
        self._process.terminate()
        self._process.wait(60)
        shutil.rmtree(self.directory, ignore_errors=True)
