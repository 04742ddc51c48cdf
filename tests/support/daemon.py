"""A daemon in a process of its own: ours, or Debian's zurl to compare with."""

import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.support.deadline import DEADLINE, wait_until
from tests.support.paths import ROOT

DEBIAN_ZURL = "/usr/bin/zurl"
_INTERFACES = {
    "in_spec": "in",
    "in_stream_spec": "stream",
    "out_spec": "out",
    "in_req_spec": "req",
}


def free_port() -> int:
    """A port of 127.0.0.1, for TCP and UDP, that nobody was using a moment ago.

    It is none of those that the kernel hands out, one of which might be somebody's before it is
    used here: the local end of any connection is enough for that, even of one to that very port.
    """
    while True:
        port = secrets.choice(_not_handed_out())
        try:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                with socket.socket(type=kind) as sock:
                    sock.bind(("127.0.0.1", port))
        except OSError:
            continue
        return port


def _not_handed_out() -> range:
    """The larger part of the unprivileged ports beside those for local ends; see ip(7)."""
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    return max(range(1024, first), range(last + 1, 65536), key=len) or range(first, last + 1)


def _coverage_environment() -> dict[str, str]:
    """Variables that make a Python child record coverage, if this process does."""
    try:
        import coverage
    except ImportError:
        return {}
    current = coverage.Coverage.current()
    if current is None:
        return {}
    data_file = current.get_option("run:data_file")
    return {
        "COVERAGE_PROCESS_START": str(ROOT / "pyproject.toml"),
        "COVERAGE_FILE": str(ROOT / os.path.basename(str(data_file or ".coverage"))),
    }


def _die_with_us() -> list[str]:
    """Prefix of a command whose process ends with this one, even if this one is killed."""
    return ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []


class Daemon:
    """A running daemon with a configuration of its own in a temporary directory.

    Args:
        kind: "ours" or "zurl" (Debian's).
        interfaces: which of "stream" and "req" to bind.
        environment: variables added to the child's; None as a value removes one.
        arguments: command line after `--config`; loglevel 3 (debug) if not given.
        settings: keys of zurl.conf; None leaves out one that is set here (instance_id, defpolicy,
            drain_timeout 0).

    Attributes:
        endpoints: ZeroMQ address of each key of `_INTERFACES` that is bound.
        instance_id: as configured.
        log_path: where standard output and standard error go.
    """

    def __init__(
        self,
        kind: str = "ours",
        interfaces: tuple[str, ...] = ("stream", "req"),
        environment: dict[str, str | None] | None = None,
        arguments: tuple[str, ...] = ("--loglevel=3",),
        command: list[str] | None = None,
        **settings: Any,
    ) -> None:
        self.kind = kind
        self.directory = Path(tempfile.mkdtemp(prefix="zt-"))
        self.log_path = self.directory / "log"
        self.config_path = self.directory / "zurl.conf"
        self.process: subprocess.Popen[bytes] | None = None
        self.settings: dict[str, Any] = {"instance_id": "gw", "defpolicy": "allow"}
        if kind != "zurl":
            self.settings["drain_timeout"] = 0
        for key, name in _INTERFACES.items():
            if ("req" if key == "in_req_spec" else "stream") in interfaces:
                self.settings[key] = f"ipc://{self.directory}/{name}"
        self.settings.update(settings)
        self.settings = {k: v for k, v in self.settings.items() if v is not None}
        self.instance_id = str(self.settings.get("instance_id", "")).encode()
        self.endpoints = {
            key: str(self.settings[key]).split(",")[0]
            for key in _INTERFACES
            if self.settings.get(key)
        }
        self._environment = environment or {}
        self._arguments = arguments
        self._command = command

    def write_config(self, **changes: Any) -> None:
        """Writes zurl.conf anew, with `changes` to the settings."""
        self.settings.update(changes)
        lines = ["[General]"] + [f"{key}={value}" for key, value in self.settings.items()]
        self.config_path.write_text("\n".join(lines) + "\n")

    def section(self, host: str, **settings: Any) -> None:
        """Adds a section for a host to zurl.conf and has it read."""
        with self.config_path.open("a") as file:
            file.write(f"[host {host}]\n")
            file.writelines(f"{key}={value}\n" for key, value in settings.items())
        self.reload()

    def command(self) -> list[str]:
        """The command line."""
        if self._command is not None:
            base = self._command
        elif self.kind == "zurl":
            base = [DEBIAN_ZURL]
        elif "ZURL_TEST_COMMAND" in os.environ:  # an installed one, for example
            base = shlex.split(os.environ["ZURL_TEST_COMMAND"])
        else:
            base = [sys.executable, "-m", "zurl_py.cli.zurl"]
        return [*base, f"--config={self.config_path}", *self._arguments]

    def start(self) -> "Daemon":
        """Starts the process; does not wait for anything. See `Worker.ready`."""
        self.write_config()
        environment = dict(os.environ)
        if self.kind != "zurl":
            environment.update(_coverage_environment())
        for key, value in self._environment.items():
            if value is None:
                environment.pop(key, None)
            else:
                environment[key] = value
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [*_die_with_us(), *self.command()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env=environment,
                start_new_session=True,
            )
        return self

    @property
    def pid(self) -> int:
        """Process id."""
        assert self.process is not None
        return self.process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.poll() is None

    def log(self) -> str:
        """Everything written to standard output and standard error so far."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def wait_log(self, text: str, timeout: float = DEADLINE) -> str:
        """Waits until `text` is in the log and returns the log."""
        wait_until(lambda: text in self.log(), f"{text!r} in the log", timeout, 0.02)
        return self.log()

    def signal(self, number: int) -> None:
        """Sends a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def reload(self) -> None:
        """Has the configuration read anew, and waits until it is in force, or was refused."""
        ends = ("policy read anew", "policy stays as it was")

        def count() -> int:
            return sum(self.log().count(end) for end in ends)

        before = count()
        self.signal(signal.SIGHUP)
        wait_until(lambda: count() > before, "a reload")

    def wait(self, timeout: float = DEADLINE) -> int:
        """Waits for the end of the process and returns its exit code."""
        assert self.process is not None
        return self.process.wait(timeout)

    def memory(self) -> int:
        """Resident memory in bytes."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmRSS")

    def cpu_seconds(self) -> float:
        """Processor time used so far, by all threads."""
        return cpu_seconds(self.pid)

    def loop_seconds(self) -> float:
        """Processor time that the thread of the loop has used so far."""
        return _processor_seconds(Path(f"/proc/{self.pid}/task/{self.pid}/stat"))

    def descriptors(self) -> int:
        """Number of open file descriptors."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def stop(self, timeout: float = DEADLINE) -> int | None:
        """Ends the process with SIGTERM, or SIGKILL after `timeout`; returns its exit code."""
        code: int | None = None
        if self.process is not None:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
            try:
                code = self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"did not stop on SIGTERM:\n{self.log()[-4000:]}") from None
        return code

    def close(self) -> None:
        """Stops the process and removes its directory."""
        try:
            self.stop()
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> "Daemon":
        return self.start()

    def __exit__(self, *args: object) -> None:
        self.close()


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used so far, in all its threads."""
    return _processor_seconds(Path(f"/proc/{pid}/stat"))


def cpu_idle(daemon: Daemon, seconds: float) -> float:
    """Share of one core that the daemon uses during the next `seconds`."""
    before = daemon.cpu_seconds()
    time.sleep(seconds)
    return (daemon.cpu_seconds() - before) / seconds


def _processor_seconds(stat: Path) -> float:
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
