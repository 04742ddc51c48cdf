"""nginx as a peer that speaks HTTP/2."""

import contextlib
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

from tests.support.daemon import free_port
from tests.support.deadline import wait_until

_CONFIG = """
daemon off; master_process off; pid {directory}/pid; error_log {directory}/error.log info;
events {{ worker_connections 512; }}
http {{
    access_log {directory}/access.log combined;
    log_format protocol '$server_protocol $request_method $uri $connection';
    access_log {directory}/protocol.log protocol;
    client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    client_max_body_size 100m; large_client_header_buffers 4 256k;
    server {{
        listen 127.0.0.1:{port} ssl http2;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        location / {{ default_type text/plain; return 200 "over $server_protocol\\n"; }}
        location /echo {{ return 200 "$request_method $content_length $http_x_test\\n"; }}
        location /file {{ alias {directory}/file; }}
        location /no {{ return 204; }}
    }}
}}
"""


class Nginx:
    """A running nginx with one TLS server that offers HTTP/2.

    Attributes:
        port: where it listens on 127.0.0.1.
        directory: its files; `file` in it is what /file serves.
    """

    def __init__(self, program: str, leaf: tuple[str, str], file: bytes = b"") -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="nginx-"))
        self.port = free_port()
        (self.directory / "file").write_bytes(file)
        self.directory.chmod(0o755)
        config = self.directory / "nginx.conf"
        config.write_text(
            _CONFIG.format(
                directory=self.directory, port=self.port, certificate=leaf[0], key=leaf[1]
            )
        )
        self._process = subprocess.Popen(
            [program, "-p", str(self.directory), "-c", str(config), "-e", "stderr"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(self.directory / "start.log").open("wb"),
        )
        wait_until(self._listens, f"nginx listens: {self._complaints()}")

    def _complaints(self) -> str:
        return (self.directory / "start.log").read_text()

    def _listens(self) -> bool:
        assert self._process.poll() is None, self._complaints()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def url(self, path: str = "/") -> str:
        """URI of `path`."""
        return f"https://localhost:{self.port}{path}"

    def protocols(self) -> list[str]:
        """Protocol, method, target and connection number of each request so far."""
        return (self.directory / "protocol.log").read_text().splitlines()

    def close(self) -> None:
        """Stops it."""
        self._process.terminate()
        self._process.wait(60)
        shutil.rmtree(self.directory, ignore_errors=True)
