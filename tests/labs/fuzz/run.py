"""Fuzz one target, or all of them in turn, with atheris.

    python -m tests.labs.fuzz.run [TARGET] [--seconds N]

An input that breaks a promise is kept as a file beside the seeds, in ``found/TARGET``, where the
tests try it again from then on; the exit status is 1 then.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

FOUND = Path(__file__).parent / "found"


def fuzz(target: str, seconds: int) -> int:
    """Fuzz in a process of its own, as libFuzzer ends the process that it runs in.

    Returns:
        0, or another exit status where something was found.
    """
    kept = FOUND / target
    kept.mkdir(parents=True, exist_ok=True)
    code = f"from tests.labs.fuzz.run import child; child({target!r})"
    with tempfile.TemporaryDirectory() as corpus:
        options = [f"-max_total_time={seconds}", f"-artifact_prefix={kept}/", "-timeout=10"]
        options += ["-rss_limit_mb=1024", "-print_final_stats=1", "-verbosity=1", "-max_len=4096"]
        done = subprocess.run([sys.executable, "-c", code, *options, corpus], cwd=FOUND.parents[3])
    if not any(kept.iterdir()):
        kept.rmdir()
    return done.returncode


def child(target: str) -> None:
    """Run libFuzzer in this process, on code that tells it which branches it took."""
    import atheris

    with atheris.instrument_imports(include=["zurl_py"]):
        from tests.labs.fuzz.targets import SEEDS, TARGETS

    corpus = Path(sys.argv[-1])
    for number, seed in enumerate(SEEDS[target]):
        (corpus / f"seed-{number}").write_bytes(seed)
    atheris.Setup(sys.argv, TARGETS[target])
    atheris.Fuzz()


def main() -> int:
    from tests.labs.fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", nargs="?", choices=sorted(TARGETS))
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default 60)")
    options = parser.parse_args()
    targets = [options.target] if options.target else sorted(TARGETS)
    return max(1 if fuzz(target, options.seconds) else 0 for target in targets)


if __name__ == "__main__":
    raise SystemExit(main())
