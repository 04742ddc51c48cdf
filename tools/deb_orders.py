"""Every order of install, going back, remove and purge of zurl-py and Debian's zurl, in a chroot.

    python3 tools/deb_orders.py SYSTEM DEB

SYSTEM: a clean Debian, mounted, that may be changed; DEB: the path of zurl-py's package in it.

The two packages exclude each other, and each can be installed, removed (its configuration stays) or
not there. From each of the states that can be reached each step is taken once, and after each step
what is installed has to be whole. tools/test-deb.sh runs this, as root.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections import deque
from pathlib import Path

OURS, THEIRS = "zurl-py", "zurl"
ABSENT, REMOVED, INSTALLED = "absent", "removed", "installed"
STATUS = {"": ABSENT, "not-installed": ABSENT, "config-files": REMOVED, "installed": INSTALLED}

State = tuple[str, str]  # of zurl-py and of zurl
Step = tuple[str, str]  # what is done, and to which package

STEPS = [(verb, name) for name in (OURS, THEIRS) for verb in ("install", "remove", "purge")]
MARK = "; kept by the operator\n"


def after(state: State, step: Step) -> State:
    """The state that a step is to lead to."""
    verb, name = step
    both = dict(zip((OURS, THEIRS), state, strict=True))
    if verb == "install":
        for other, status in both.items():
            if other != name and status == INSTALLED:
                both[other] = REMOVED  # as the two exclude each other
        both[name] = INSTALLED
    elif verb == "remove" and both[name] == INSTALLED:
        both[name] = REMOVED
    elif verb == "purge":
        both[name] = ABSENT
    return both[OURS], both[THEIRS]


def is_of_use(state: State, step: Step) -> bool:
    """Whether a step changes anything, or is an installation over itself."""
    return after(state, step) != state or step[0] == "install"


def tour() -> list[Step]:
    """Steps that, one after another, take each step from each state at least once."""
    state: State = (ABSENT, ABSENT)
    steps: list[Step] = []
    tried: set[tuple[State, Step]] = set()
    while way := nearest_untried(state, tried):
        for step in way:
            tried.add((state, step))
            state = after(state, step)
            steps.append(step)
    return steps


def nearest_untried(start: State, tried: set[tuple[State, Step]]) -> list[Step]:
    """The shortest way whose last step has not been taken from where it is taken; empty: none."""
    waiting: deque[tuple[State, list[Step]]] = deque([(start, [])])
    seen = {start}
    while waiting:
        state, way = waiting.popleft()
        for step in filter(lambda step: is_of_use(state, step), STEPS):
            if (state, step) not in tried:
                return [*way, step]
            if (later := after(state, step)) not in seen:
                seen.add(later)
                waiting.append((later, [*way, step]))
    return []


class System:
    """The chroot, and what an operator and a running daemon have put into it."""

    def __init__(self, root: Path, deb: str) -> None:
        self.root = root
        self.deb = deb
        self.config = root / "etc/zurl.conf"
        self.socket = root / "run/zurl/zurl-in"
        self.log = root / "var/log/zurl.log"

    def run(self, *command: str) -> str:
        """Run a command inside; raises with its output where it fails."""
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
        environment["DEBIAN_FRONTEND"] = "noninteractive"
        result = subprocess.run(
            ["chroot", str(self.root), *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if result.returncode:
            raise SystemExit(f"{' '.join(command)}:\n{result.stdout}{result.stderr}")
        return result.stdout

    def take(self, step: Step) -> None:
        """Do it by apt, as an operator would."""
        verb, name = step
        # dpkg asks which configuration to use where both packages had one: the operator's is kept.
        options = ["-q", "-y", "--no-install-recommends", "-o", "Dpkg::Options::=--force-confold"]
        if verb == "install":
            options.append("--reinstall")
        self.run("apt-get", verb, *options, self.deb if step == ("install", OURS) else name)

    def state(self) -> State:
        """What dpkg says of the two."""
        return self._status(OURS), self._status(THEIRS)

    def _status(self, name: str) -> str:
        query = ["dpkg-query", "--showformat=${db:Status-Status}", "--show", name]
        result = subprocess.run(
            ["chroot", str(self.root), *query], capture_output=True, text=True, check=False
        )
        return STATUS[result.stdout]

    def use(self) -> None:
        """Leave the traces of an operator and of a daemon that runs."""
        if not self.is_marked():
            with self.config.open("a") as config:
                config.write(MARK)
        self.socket.parent.mkdir(exist_ok=True)
        if not self.socket.exists():
            with socket.socket(socket.AF_UNIX) as daemons:
                daemons.bind(str(self.socket))
        self.log.write_text("a line\n")

    def is_marked(self) -> bool:
        """Whether the operator's change is in the configuration."""
        return self.config.exists() and MARK in self.config.read_text()

    def faults(self, state: State, marked: bool, running: bool, step: Step) -> list[str]:
        """What is not as it should be.

        Args:
            state: what the step should have led to.
            marked: the operator's change was in the configuration before it.
            running: something was in use before the step, and something is installed after it.
            step: the step that was taken.
        """
        found = []
        if state != self.state():
            found.append(f"the state is {self.state()}, and should be {state}")
        if INSTALLED in state:
            found += self._faults_of(OURS if state[0] == INSTALLED else THEIRS)
        if state == (ABSENT, ABSENT):
            left = [self.config, self.log, self.root / "usr/lib/zurl-py"]
            if step[1] == OURS:  # the script of Debian's zurl leaves sockets where they are
                left.append(self.socket.parent)
            found += [f"{path} was left behind" for path in left if path.exists()]
        elif not self.config.exists():
            # dpkg itself takes the file with the purge of the package that had it last.
            if INSTALLED in state or step[0] != "purge":
                found.append(f"{self.config} is gone")
        elif marked and not self.is_marked():
            found.append(f"the operator's change to {self.config} is gone")
        if running and step[0] == "purge":
            found += self._gone(step)
        return found

    def _faults_of(self, name: str) -> list[str]:
        """What is wrong with the package that is installed."""
        changed = self.run("sh", "-c", f"dpkg --verify {name} || true").splitlines()
        self.run("zurl", "--version")
        self.run("getent", "passwd", "zurl")
        if name == OURS:
            self.run("zurl-py", "check-config", "--quiet")
        # The operator's own change to the configuration is no fault.
        return [line for line in changed if not line.endswith(" c /etc/zurl.conf")]

    def _gone(self, step: Step) -> list[str]:
        """What the purge of one package took from the other, which is in use."""
        kept = [self.socket]
        if step[1] == OURS:  # the script of Debian's zurl removes the log, whoever writes it
            kept.append(self.log)
        return [f"{path} is gone" for path in kept if not path.exists()]


def main() -> None:
    """Take the tour; exits with what was wrong after which step."""
    system = System(Path(sys.argv[1]), sys.argv[2])
    state: State = (ABSENT, ABSENT)
    steps = tour()
    for number, step in enumerate(steps, 1):
        before, state = state, after(state, step)
        marked = system.is_marked()
        system.take(step)
        print(f"{number:3}/{len(steps)} {' '.join(step):16} -> {' '.join(state)}", flush=True)
        if INSTALLED in state and before == (ABSENT, ABSENT):
            system.use()
        running = INSTALLED in before and INSTALLED in state
        if faults := system.faults(state, marked, running, step):
            raise SystemExit("after this step:\n  " + "\n  ".join(faults))
        if INSTALLED in state:
            system.use()


if __name__ == "__main__":
    main()
