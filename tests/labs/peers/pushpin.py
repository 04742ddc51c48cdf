"""A running Pushpin, with Debian's zurl or our daemon as the child that makes its requests."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.support.daemon import free_port
from tests.support.deadline import wait_until

DEBIAN_ZURL = "/usr/bin/zurl"
OUR_ZURL = str(Path(sys.executable).parent / "zurl")

_CONFIG = """[global]
include=/usr/lib/pushpin/internal.conf
rundir={directory}/run
ipc_prefix=p-
port_offset=0
stats_connection_ttl=120

[runner]
services=condure,{service}pushpin-proxy,pushpin-handler
http_port=127.0.0.1:{http}
logdir={directory}/log
log_level=2
client_buffer_size=8192
client_maxconn=1000
condure_bin=condure
zurl_bin={zurl}

[proxy]
routesfile={directory}/routes
debug=true
zurl_out_specs=ipc://{directory}/run/p-zurl-in
zurl_out_stream_specs=ipc://{directory}/run/p-zurl-in-stream
zurl_in_specs=ipc://{directory}/run/p-zurl-out
sig_key=changeme

[handler]
push_in_spec=tcp://127.0.0.1:{push}
push_in_sub_specs=
push_in_http_addr=127.0.0.1
push_in_http_port={control}
push_in_http_max_headers_size=10000
push_in_http_max_body_size=1000000
stats_spec=ipc://{directory}/run/p-stats
command_spec=tcp://127.0.0.1:{command}
message_rate=2500
message_hwm=25000
message_wait=5000
id_cache_ttl=60
connection_subscription_max=20
subscription_linger=60
stats_subscription_ttl=60
stats_report_interval=10
stats_format=tnetstring
"""


def _free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody was using a moment ago, no two the same."""
    found: set[int] = set()
    while len(found) < count:
        found.add(free_port())
    return list(found)


def _listens(port: int) -> bool:
    """Whether a port of 127.0.0.1 listens, without a connection: who tries to connect to a port
    before it listens may be given that very port for itself.
    """
    local = f"0100007F:{port:04X}"
    entries = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines())
    return any(entry[1] == local and entry[3] == "0A" for entry in entries)


class Pushpin:
    """Pushpin with its own directory, ports and routes.

    Args:
        zurl: the program that it runs as its zurl; None: it runs none, see `endpoints`.
        routes: lines of its routes file.

    Attributes:
        port: where clients connect.
        endpoints: settings of a daemon that it finds without having started it.
    """

    def __init__(self, zurl: str | None, routes: list[str]) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="pushpin-")
        self.directory = Path(self._temporary.name)
        (self.directory / "run").mkdir()
        (self.directory / "log").mkdir()
        self.port, self.control, push, command = _free_ports(4)
        (self.directory / "routes").write_text("\n".join(routes) + "\n")
        config = self.directory / "pushpin.conf"
        config.write_text(
            _CONFIG.format(
                directory=self.directory,
                http=self.port,
                control=self.control,
                push=push,
                command=command,
                zurl=zurl or "none",
                service="zurl," if zurl else "",
            )
        )
        self._output = (self.directory / "output").open("wb")
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", "/usr/bin/pushpin", f"--config={config}"],
            stdout=self._output,
            stderr=self._output,
            env={**os.environ, "PATH": "/usr/bin:/bin"},
        )
        run = f"ipc://{self.directory}/run/p-zurl"
        self.endpoints = {
            "in_spec": f"{run}-in",
            "in_stream_spec": f"{run}-in-stream",
            "out_spec": f"{run}-out",
        }
        if zurl is None:
            return
        try:
            wait_until(lambda: self._running() and self.zurl_pid() > 0, "Pushpin to start")
            self.wait_ready()
        except BaseException:
            print(self.logs())
            self.stop()
            raise

    def wait_ready(self) -> None:
        """Wait until a request gets through to the back end."""
        wait_until(self._proxying, "Pushpin to reach its back end")

    def _running(self) -> bool:
        assert self._process.poll() is None, self.logs()
        return (self.directory / "run" / "p-zurl-in").exists()

    def _proxying(self) -> bool:
        """The processes find each other in their own time; until then requests hang or fail."""
        assert self._process.poll() is None, self.logs()
        if not _listens(self.port):
            return False
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
            connection.request("GET", "/hello")
            status = connection.getresponse().status
            connection.close()
        except OSError:
            return False
        return status == 200

    def zurl_pid(self) -> int:
        """The child that makes the requests; 0 if there is none."""
        found = subprocess.run(
            ["pgrep", "-f", f"config={self.directory}/run/zurl.conf"],
            capture_output=True,
            text=True,
            check=False,
        )
        return int(found.stdout.split()[0]) if found.stdout.split() else 0

    @property
    def zurl_command(self) -> str:
        """The command line of the child that makes the requests."""
        return Path(f"/proc/{self.zurl_pid()}/cmdline").read_text().replace("\0", " ")

    def publish(self, channel: str, **formats: dict[str, Any]) -> None:
        """Publish an item by Pushpin's HTTP control port."""
        connection = http.client.HTTPConnection("127.0.0.1", self.control, timeout=10)
        item = {"channel": channel, "formats": formats}
        connection.request("POST", "/publish/", json.dumps({"items": [item]}))
        response = connection.getresponse()
        assert response.status == 200, response.read()
        connection.close()

    def request(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> http.client.HTTPResponse:
        """One request through Pushpin; the response is not read yet."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=90)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, names, encode_chunked=not isinstance(body, bytes))
        return connection.getresponse()

    def rotate(self) -> None:
        """Rotate the logs: move them away, SIGHUP to the whole, wait for zurl's new one."""
        log = self.directory / "log" / "zurl.log"
        log.rename(log.with_suffix(".log.1"))
        self._process.send_signal(signal.SIGHUP)
        wait_until(log.exists, "a new log file")

    def ended(self) -> bool:
        """Whether Pushpin has ended, by itself or because a child did."""
        return self._process.poll() is not None

    def logs(self) -> str:
        """What all of its processes had to say."""
        texts = []
        for path in [self.directory / "output", *sorted((self.directory / "log").iterdir())]:
            texts.append(f"== {path.name}\n{path.read_text(errors='replace')[-3000:]}")
        return "\n".join(texts)

    def stop(self) -> int:
        """Stop it as an init system does; returns its exit status."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            status = self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        self._output.close()
        return status

    def clean(self) -> None:
        """Stop it and remove its directory."""
        self.stop()
        self._temporary.cleanup()
