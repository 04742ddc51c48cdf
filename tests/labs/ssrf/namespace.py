"""A network namespace with only a loopback interface, and a name service of our own in it."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.support import ROOT

RESOLVER = "127.0.0.53"


def available() -> bool:
    """Whether this process may make namespaces: it is root, or may become so in one."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return False
    return subprocess.run([*_unshare(), "true"], capture_output=True).returncode == 0


def _unshare() -> list[str]:
    # With --map-root-user where we are not root, as in CI.
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    # Whatever is left behind ends with us.
    ends = ["--pid", "--fork", "--kill-child", "--mount-proc"]
    return ["unshare", *user, "--net", "--mount", *ends]


def run_inside(module: str, *arguments: str, timeout: float = 600) -> Any:
    """Runs `python -m module` in a new namespace; returns what it prints, which is JSON."""
    with tempfile.TemporaryDirectory(prefix="zt-egress-") as directory:
        output = Path(directory) / "output"
        with output.open("wb") as file:
            subprocess.run(
                [*_unshare(), sys.executable, "-m", module, *arguments],
                stdout=file,
                cwd=ROOT,
                env={**os.environ, "TMPDIR": directory},  # nobody inside is left to clean up
                timeout=timeout,
                check=True,
            )
        return json.loads(output.read_text())


def set_up(hosts: str) -> None:
    """Makes this process's new namespaces ready: every address is local, names are ours.

    Args:
        hosts: text of /etc/hosts.
    """
    interfaces = os.listdir("/sys/class/net") if not _is_isolated() else []
    assert not interfaces, f"this is no namespace of our own: {interfaces}"
    for command in (
        "ip link set lo up",
        "ip route add local 0.0.0.0/0 dev lo",
        "ip -6 route add local ::/0 dev lo",
    ):
        subprocess.run(command.split(), check=True)
    directory = Path(tempfile.mkdtemp(prefix="zt-etc-"))
    (directory / "resolv.conf").write_text(
        f"nameserver {RESOLVER}\noptions timeout:1 attempts:1\nsearch corp.example\n"
    )
    (directory / "hosts").write_text(hosts)
    (directory / "nsswitch.conf").write_text("hosts: files dns\n")
    for name in ("resolv.conf", "hosts", "nsswitch.conf"):
        target = os.path.realpath(f"/etc/{name}")
        subprocess.run(["mount", "--bind", directory / name, target], check=True)


def _is_isolated() -> bool:
    """No interface but loopback: what is sent here stays here."""
    output = subprocess.run(["ip", "-json", "link"], capture_output=True, check=True).stdout
    names = [item["ifname"] for item in json.loads(output)]
    return names == ["lo"] or all(item["operstate"] == "DOWN" for item in json.loads(output))
