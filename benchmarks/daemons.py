"""The programs that are compared, each in a process of its own, with CPU and memory read out."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

__all__ = ["Daemon", "available", "build_floor"]

_HERE = Path(__file__).resolve().parent
_CONFIG = """[General]
instance_id=bench
in_spec=ipc://{directory}/in
in_stream_spec=ipc://{directory}/in-stream
out_spec=ipc://{directory}/out
in_req_spec=ipc://{directory}/req
defpolicy=allow
deny=203.0.113.0/24
max_open_requests=20000
buffer_size=200000
timeout=600
in_hwm=20000
out_hwm=20000
{extra}"""
# condure 1.10 has a client mode; Debian 12's 1.9 has not. A folder with Debian 13's is named here.
_TRIXIE = os.environ.get("BENCH_TRIXIE", "")


class Daemon:
    """One running daemon, started with its default log level and its log in a file.

    Args:
        name: ours, zurl, condure or floor.
        directory: for its sockets, configuration and log; must be empty.
        extra: lines added to the configuration of ours and zurl's.
    """

    def __init__(self, name: str, directory: Path, extra: str = "") -> None:
        self.name = name
        self.directory = directory
        command = self._command(extra)
        self._output = (directory / "output").open("wb")
        self._process = subprocess.Popen(
            command, stdout=self._output, stderr=self._output, preexec_fn=_many_descriptors
        )
        self._wait_for_socket()

    def _command(self, extra: str) -> list[str]:
        directory = self.directory
        if self.name == "floor":
            return [str(build_floor()), f"ipc://{directory}/req"]
        if self.name == "condure":
            return _condure_command(directory)
        config = directory / "zurl.conf"
        # Zurl would take an empty or unknown line ill.
        config.write_text(_CONFIG.format(directory=directory, extra=extra))
        program = "/usr/bin/zurl" if self.name == "zurl" else str(_ours())
        return [program, f"--config={config}", f"--logfile={directory}/log"]

    def endpoint(self, key: str) -> str:
        """in, in-stream, out or req."""
        return f"ipc://{self.directory}/{key}"

    def cpu(self) -> float:
        """Seconds of CPU time used so far, by all threads, exact to the nanosecond."""
        total = 0
        for task in Path(f"/proc/{self._process.pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def memory(self) -> int:
        """Resident bytes."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) * 1024

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.close()

    def _wait_for_socket(self) -> None:
        last = "req" if self.name in ("floor", "zurl") else "in"
        until = time.monotonic() + 15
        while not (self.directory / last).exists():
            if self._process.poll() is not None or time.monotonic() > until:
                output = (self.directory / "output").read_text()
                log = self.directory / "log"
                raise SystemExit(
                    f"{self.name} did not start: {output} {log.read_text() if log.exists() else ''}"
                )
            time.sleep(0.02)


def available() -> dict[str, str]:
    """The daemons that can be run here, with their versions; the others are named with why not."""
    versions = {"ours": _version([str(_ours()), "--version"])}
    if os.access("/usr/bin/zurl", os.X_OK):
        versions["zurl"] = _version(["/usr/bin/zurl", "--version"])
    else:
        print("zurl: not installed (make peers)", file=sys.stderr)
    if _TRIXIE and (Path(_TRIXIE) / "usr/bin/condure").exists():
        versions["condure"] = _version(["chroot", _TRIXIE, "/usr/bin/condure", "--version"])
    else:
        print("condure: skipped, BENCH_TRIXIE names no Debian 13 folder with it", file=sys.stderr)
    if shutil.which("gcc") and Path("/usr/include/zmq.h").exists():
        versions["floor"] = "bare C loop over libcurl and libzmq"
    else:
        print("floor: skipped, needs gcc, libcurl4-openssl-dev, libzmq3-dev", file=sys.stderr)
    return versions


def build_floor() -> Path:
    """Compile floor.c, if it was not yet."""
    program = _HERE / "build" / "floor"
    source = _HERE / "floor.c"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        program.parent.mkdir(exist_ok=True)
        subprocess.run(
            ["gcc", "-O2", "-o", str(program), str(source), "-lcurl", "-lzmq"], check=True
        )
    return program


def _condure_command(directory: Path) -> list[str]:
    inside = Path(_TRIXIE) / "bench" / directory.name
    inside.mkdir(parents=True, exist_ok=True)
    # Its sockets are made inside of the folder; links make them reachable by the usual names.
    for key in ("in", "in-stream", "out"):
        (directory / key).symlink_to(inside / f"c-{key}")
    return [
        "chroot",
        _TRIXIE,
        "/usr/bin/condure",
        "--id=bench",
        f"--zserver-stream=ipc:///bench/{directory.name}/c",
    ]


def _ours() -> Path:
    return Path(sys.executable).parent / "zurl"


def _version(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).strip().splitlines()[0]


def _many_descriptors() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
