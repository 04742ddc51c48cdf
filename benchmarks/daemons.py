"""The programs that are compared, each in a process of its own, with CPU and memory read out."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .build import program

__all__ = ["Daemon", "available", "raise_descriptor_limit"]

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
"""
_ZURL = "/usr/bin/zurl"
_SYSTEM_STORE = "/etc/ssl/certs/ca-certificates.crt"
_TRIXIE = Path(os.environ.get("BENCH_TRIXIE") or Path(__file__).resolve().parent / "build/trixie")
_PATIENCE = 15.0  # seconds until a daemon must have bound its sockets


class Daemon:
    """One running daemon, started with its default log level and its log in a file.

    Args:
        name: ours, zurl, condure or floor.
        directory: for its sockets, configuration and log; must be empty.
        ca_file: the one certificate authority that it trusts.
        buffer_size: condure's, which it would rather have small. The others have 200,000.
    """

    def __init__(self, name: str, directory: Path, ca_file: Path, buffer_size: int = 8192) -> None:
        self.name = name
        self.directory = directory
        self._buffer_size = buffer_size
        command = self._command(ca_file)
        self._output = (directory / "output").open("wb")
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            preexec_fn=raise_descriptor_limit,
        )
        self._wait_for_sockets()

    def _command(self, ca_file: Path) -> list[str]:
        directory = self.directory
        if self.name == "floor":
            return [str(program("floor")), f"ipc://{directory}/req"]
        if self.name == "condure":
            return _condure_command(directory, self._buffer_size)
        config = directory / "zurl.conf"
        arguments = [f"--config={config}", f"--logfile={directory}/log"]
        if self.name == "zurl":
            config.write_text(_CONFIG.format(directory=directory))
            return [*_with_store(ca_file), _ZURL, *arguments]
        config.write_text(_CONFIG.format(directory=directory) + f"ca_file={ca_file}\n")
        return [str(_ours()), *arguments]

    @property
    def endpoints(self) -> str:
        """What the four endpoints begin with; in, in-stream, out or req follows."""
        return f"ipc://{self.directory}/"

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def cpu(self) -> float:
        """Seconds of CPU time of all threads so far, ended ones too, exact to the nanosecond."""
        return time.clock_gettime((~self.pid << 3) | 2)  # as clock_getcpuclockid(3) makes it

    def memory(self) -> int:
        """Bytes of memory that are its own (Pss: shared pages count by share)."""
        rollup = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        line = next(line for line in rollup.splitlines() if line.startswith("Pss:"))
        return int(line.split()[1]) * 1024

    def switches(self) -> int:
        """Context switches of all its threads so far, those that have ended left out."""
        total = 0
        for status in Path(f"/proc/{self.pid}/task").glob("*/status"):
            lines = status.read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)
        return total

    @contextmanager
    def counted_calls(self) -> Iterator[list[int] | None]:
        """Count its system calls while the block runs; in the list once that is over.

        None where strace is not there, or may not look: it slows the daemon, so nothing else is
        measured at the same time.
        """
        strace = shutil.which("strace")
        table = self.directory / "calls"
        if strace is None:
            yield None
            return
        command = [strace, "-f", "-c", "-p", str(self.pid), "-o", str(table)]
        tracer = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        assert tracer.stderr is not None
        if b"attached" not in tracer.stderr.readline():
            tracer.wait()
            yield None
            return
        found: list[int] = []
        yield found
        tracer.send_signal(signal.SIGINT)
        tracer.wait()
        # The last line is the total: % time, seconds, usecs/call, calls, errors, "total".
        numbers = [word for word in table.read_text().splitlines()[-1].split() if word.isdecimal()]
        found.append(int(numbers[1]))

    def stop(self) -> None:
        """End the process."""
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.close()

    def _wait_for_sockets(self) -> None:
        wanted = {"floor": ["req"], "condure": ["in", "in-stream", "out", "req"]}
        names = wanted.get(self.name, ["in", "in-stream", "out", "req"])
        until = time.monotonic() + _PATIENCE
        while not all((self.directory / name).exists() for name in names):
            if self._process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"{self.name} did not start: {self.last_words()}")
            time.sleep(0.02)

    def last_words(self) -> str:
        """The end of what it printed and logged."""
        texts = [self.directory / "output", self.directory / "log"]
        return " ".join(path.read_text()[-500:] for path in texts if path.exists())


def available() -> dict[str, str]:
    """The daemons that can be run here, with their versions; the others are named with why not."""
    versions = {"ours": _version([str(_ours()), "--version"])}
    if os.access(_ZURL, os.X_OK):
        versions["zurl"] = _version([_ZURL, "--version"])
    else:
        _skip("zurl", "not installed (make peers)")
    if os.geteuid() != 0:
        _skip("condure", "needs root to enter a folder with Debian 13")
    elif not (_TRIXIE / "usr/bin/condure").exists():
        _skip("condure", "not there (sh benchmarks/get-condure.sh)")
    else:
        versions["condure"] = _version(["chroot", str(_TRIXIE), "/usr/bin/condure", "--version"])
    versions["floor"] = "bare C loop, " + _libraries(program("floor"))
    return versions


def _skip(name: str, why: str) -> None:
    print(f"{name} is skipped: {why}", file=sys.stderr)


def _libraries(path: Path) -> str:
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _with_store(ca_file: Path) -> list[str]:
    """A prefix for commands that makes a CA file the system's, for this one process."""
    if os.geteuid() != 0 or not shutil.which("unshare") or not os.path.exists(_SYSTEM_STORE):
        return []
    script = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", script, "-", str(ca_file), _SYSTEM_STORE]


def _condure_command(directory: Path, buffer_size: int) -> list[str]:
    top = _TRIXIE / "bench"
    top.mkdir(exist_ok=True)
    inside = Path(tempfile.mkdtemp(dir=top))
    # Its sockets are made inside of the folder; links make them reachable by the usual names.
    for key in ("in", "in-stream", "out"):
        (directory / key).symlink_to(inside / f"c-{key}")
    (directory / "req").symlink_to(inside / "r")
    within = f"ipc:///bench/{inside.name}"
    return [
        "chroot",
        str(_TRIXIE),
        "/usr/bin/condure",
        "--id=bench",
        # Its queues are sized by these: with small ones it loses messages ("sender is full").
        "--req-maxconn=20000",
        "--stream-maxconn=20000",
        f"--buffer-size={buffer_size}",
        f"--zserver-stream={within}/c",
        f"--zserver-req={within}/r",
    ]


def _ours() -> Path:
    return Path(sys.executable).parent / "zurl"


def _version(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).strip().splitlines()[0]


def raise_descriptor_limit() -> None:
    """As many descriptors as may be had."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
