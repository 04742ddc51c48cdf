"""The sites that are asked: nginx where it can, caddy for HTTP/3, origin.c for the rest."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .build import program
from .daemons import raise_descriptor_limit

__all__ = ["Sites", "running_sites"]

FILE_MEGABYTES = 64
_NGINX = """
worker_processes 1; pid {directory}/nginx.pid; error_log {directory}/error.log; daemon off;
events {{ worker_connections 19000; }}
http {{
    access_log off; keepalive_requests 100000000; keepalive_timeout 3600s;
    client_max_body_size 0; client_body_buffer_size 256k;
    client_body_temp_path {directory}/b; proxy_temp_path {directory}/p;
    fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
    sendfile on; tcp_nodelay on;
    server {{
        listen 127.0.0.1:{plain} backlog=4096;
        listen 127.0.0.1:{tls} ssl backlog=4096;
        listen 127.0.0.1:{h2} ssl http2 backlog=4096;
        ssl_certificate {directory}/cert.pem; ssl_certificate_key {directory}/key.pem;
        root {directory}/www;
        location / {{ default_type text/plain; return 200 "hello world\\n"; }}
        location /file {{ }}
    }}
}}
"""

_CADDY = """
{{
    skip_install_trust
    admin off
    auto_https off
    default_bind 127.0.0.1
    log {{
        output discard
    }}
}}
https://localhost:{port} {{
    tls {directory}/cert.pem {directory}/key.pem
    root * {directory}/www
    file_server /file
    respond /hello "hello world
"
}}
"""


class Sites:
    """The origins of a run.

    Attributes:
        plain, tls, h2: ports of nginx; all paths but /file say hello.
        special: port of origin.c.
        ca_file: certificate of nginx, signed by itself.
        counter: file in which origin.c counts its answers.
    """

    def __init__(self, directory: Path) -> None:
        self.plain, self.tls, self.h2, self.special = (_free_port() for _ in range(4))
        self.ca_file = directory / "cert.pem"
        self.counter = directory / "counter"
        self._directory = directory
        self._caddy = 0
        self._processes = [self._start_nginx(directory), self._start_origin()]
        for port in (self.plain, self.special):
            _wait_for_port(port)

    def stop(self) -> None:
        """End both."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(10)

    @property
    def caddy(self) -> int:
        """Port of caddy, for TCP and UDP: one server that speaks every version of HTTP."""
        if not self._caddy:
            self._caddy = _free_port()
            self._processes.append(self._start_caddy(self._directory, self._caddy))
            _wait_for_port(self._caddy)
        return self._caddy

    def _start_caddy(self, directory: Path, port: int) -> subprocess.Popen[bytes]:
        config = directory / "Caddyfile"
        config.write_text(_CADDY.format(directory=directory, port=port))
        homes = {name: str(directory) for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")}
        with (directory / "caddy.log").open("wb") as log:
            return subprocess.Popen(
                ["caddy", "run", "--config", config, "--adapter", "caddyfile"],
                stdout=log,
                stderr=log,
                env={**os.environ, **homes},
            )

    def answered(self) -> int:
        """How many requests origin.c has answered."""
        return int(struct.unpack("=Q", self.counter.read_bytes())[0])

    def _start_nginx(self, directory: Path) -> subprocess.Popen[bytes]:
        make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
        names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
        files = ["-keyout", str(directory / "key.pem"), "-out", str(directory / "cert.pem")]
        subprocess.run([*make.split(), "-addext", names, *files], check=True, capture_output=True)
        www = directory / "www"
        www.mkdir()
        (www / "file").write_bytes(os.urandom(1 << 20) * FILE_MEGABYTES)
        config = directory / "nginx.conf"
        ports = {"plain": self.plain, "tls": self.tls, "h2": self.h2}
        config.write_text(_NGINX.format(directory=directory, **ports))
        nginx = shutil.which("nginx") or "/usr/sbin/nginx"
        with (directory / "nginx.log").open("wb") as log:
            return subprocess.Popen(
                [nginx, "-c", config], stdout=log, stderr=log, preexec_fn=raise_descriptor_limit
            )

    def _start_origin(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen([program("origin"), str(self.special), self.counter])


@contextmanager
def running_sites() -> Iterator[tuple[Path, Sites]]:
    """The origins, and a folder for the daemons of the run, which is removed with them."""
    root = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        root.chmod(0o755)  # nginx gives up root
        (root / "sites").mkdir()
        sites = Sites(root / "sites")
        try:
            yield root, sites
        finally:
            sites.stop()
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for_port(port: int) -> None:
    until = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
