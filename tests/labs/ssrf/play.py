"""Plays attempts in a namespace of their own.

As a program it is what runs inside: python -m tests.labs.ssrf.play KIND [PATTERN...].
"""

import fnmatch
import json
import sys
from dataclasses import asdict

from tests.labs.ssrf import namespace
from tests.labs.ssrf.lab import ATTEMPTS, HOSTS, Lab, Result
from tests.labs.ssrf.network import Listeners, NameServer


def load() -> None:
    """Registers all attempts."""
    from tests.labs.ssrf import attempts, attempts_dns, attempts_state  # noqa: F401


def play(kind: str, *patterns: str) -> dict[str, Result]:
    """Plays the attempts whose names match (all, if there are no patterns) in a new namespace."""
    played = namespace.run_inside("tests.labs.ssrf.play", kind, *patterns)
    return {name: Result.load(data) for name, data in played.items()}


def main() -> None:
    """Plays the attempts whose names match, and prints the results as JSON."""
    kind, *patterns = sys.argv[1:]
    load()
    namespace.set_up(HOSTS)
    listeners, server = Listeners(), NameServer()
    labs: dict[str, Lab] = {}
    results = {}
    for name, attempt in ATTEMPTS.items():
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns or ["*"]):
            env = attempt.environment
            lab = labs.setdefault(env, Lab(kind, listeners, server, env))
            results[name] = asdict(lab.play(attempt))
    for lab in labs.values():
        lab.close()
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
