"""A reverse proxy of three programs: Mongrel2, this worker, and zurl_py.

    python examples/mongrel2-proxy/proxy.py --origin http://127.0.0.1:8000 --port 6767

needs Debian's mongrel2-core. Stop it with Ctrl-C.
"""

from __future__ import annotations

import argparse
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

from worker import Worker

_MONGREL2 = """
relay = Handler(
    send_spec='{requests}', send_ident='relay',
    recv_spec='{responses}', recv_ident='')

server = Server(
    uuid='proxy', name='proxy', bind_addr='127.0.0.1', port={port}, chroot='./',
    access_log='/access.log', error_log='/error.log', pid_file='/mongrel2.pid',
    default_host='localhost',
    hosts=[Host(name='localhost', matching='.*', routes={{'/': relay}})])

settings = {{'limits.content_length': 50000000, 'limits.buffer_size': 65536,
    'server.daemonize': 0, 'disable.access_logging': 1}}
servers = [server]
"""
_GATEWAY = """[General]
in_req_spec=ipc://{directory}/gateway
ipc_file_mode=600
defpolicy=deny
allow={allowed}
"""


def start(
    directory: Path, origin: str, port: int, requests: str, responses: str
) -> list[subprocess.Popen[bytes]]:
    """Start Mongrel2 and the gateway."""
    (directory / "mongrel2.conf").write_text(
        _MONGREL2.format(port=port, requests=requests, responses=responses)
    )
    (directory / "zurl.conf").write_text(
        _GATEWAY.format(directory=directory, allowed=", ".join(sorted(names(origin))))
    )
    subprocess.run(
        ["m2sh", "load", "-config", "mongrel2.conf", "-db", "config.sqlite"],
        cwd=directory, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    gateway = [sys.executable, "-m", "zurl_py.cli.zurl", f"--config={directory}/zurl.conf"]
    log = (directory / "gateway.log").open("wb")
    return [
        subprocess.Popen(["mongrel2", "config.sqlite", "proxy"], cwd=directory, stderr=log),
        subprocess.Popen(gateway, stdout=log),
    ]


def await_start(directory: Path, port: int, processes: list[subprocess.Popen[bytes]]) -> None:
    """Wait until both accept connections; exit with their log if one of them ends."""
    while not (directory / "gateway").exists() or not listens(port):
        if any(process.poll() is not None for process in processes):
            raise SystemExit((directory / "gateway.log").read_text(errors="replace"))
        time.sleep(0.05)


def listens(port: int) -> bool:
    """Whether a server listens on a port of loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def names(origin: str) -> set[str]:
    """The host of an origin, and its addresses: allowing a name does not open private ones."""
    host = urlsplit(origin).hostname
    if host is None:
        raise SystemExit(f"{origin} is no origin such as http://127.0.0.1:8000")
    found = socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_STREAM)
    return {host} | {str(address[0]) for *_, address in found}


def free_endpoint() -> str:
    """A TCP endpoint that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


def main() -> None:
    parser = argparse.ArgumentParser(description="A reverse proxy made of Mongrel2 and zurl_py.")
    parser.add_argument("--origin", required=True, help="such as http://127.0.0.1:8000")
    parser.add_argument("--port", type=int, default=6767)
    options = parser.parse_args()
    if listens(options.port):
        raise SystemExit(f"port {options.port} is in use")
    signal.signal(signal.SIGTERM, _stop)
    with tempfile.TemporaryDirectory(prefix="m2-") as name:
        directory = Path(name)
        # Mongrel2, started by root, locks itself into its folder, where ipc paths would differ.
        requests, responses = free_endpoint(), free_endpoint()
        processes = start(directory, options.origin, options.port, requests, responses)
        try:
            await_start(directory, options.port, processes)
            print(f"http://127.0.0.1:{options.port}/ leads to {options.origin}", flush=True)
            gateway = f"ipc://{directory}/gateway"
            Worker(options.origin, requests, responses, gateway).run()
        except KeyboardInterrupt:
            pass
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(10)


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
