"""Pins what travels inside the Debian package: versions and hashes of wheels, for each Python.

    .venv/bin/python tools/pin_requirements.py > debian/requirements.txt

Asks the package index that pip is configured for. Run it for every release, and whenever libcurl,
OpenSSL or libzmq inside a wheel has to be replaced: see docs/operations.md.
"""

import configparser
import hashlib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

PYTHONS = ("3.11", "3.12", "3.13")
# tnetstring3 has wheels for x86_64 alone. Debian 12 has glibc 2.36.
PLATFORMS = [f"{glibc}_x86_64" for glibc in ("manylinux_2_28", "manylinux_2_17", "manylinux2014")]
_WHEEL = re.compile(r"(?P<name>[^-]+)-(?P<version>[^-]+)-.*\.whl")


def direct_requirements() -> list[str]:
    """What setup.cfg asks for."""
    setup = configparser.ConfigParser()
    setup.read(Path(__file__).resolve().parents[1] / "setup.cfg")
    return setup["options"]["install_requires"].split()


def download(requirements: list[str], python: str, target: Path) -> None:
    """Fetches wheels, those of dependencies included, for one Python."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:"]
    command += [f"--python-version={python}", "--implementation=cp"]
    command += [f"--platform={platform}" for platform in PLATFORMS]
    subprocess.run([*command, f"--dest={target}", *requirements], check=True, stdout=sys.stderr)


def main() -> None:
    pinned: dict[str, str] = {}
    hashes: dict[str, set[str]] = {}
    with tempfile.TemporaryDirectory() as name:
        for python in PYTHONS:
            target = Path(name) / python
            wanted = [f"{key}=={value}" for key, value in pinned.items()]
            download(wanted or direct_requirements(), python, target)
            for wheel in target.iterdir():
                found = _WHEEL.fullmatch(wheel.name)
                assert found, wheel.name
                key = found["name"].replace("_", "-").lower()
                assert pinned.setdefault(key, found["version"]) == found["version"], wheel
                digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
                hashes.setdefault(key, set()).add(digest)
    print("# Made by tools/pin_requirements.py: do not edit.")
    print("--only-binary=:all:")
    for key in sorted(pinned):
        lines = [f"{key}=={pinned[key]}", *(f"    --hash=sha256:{h}" for h in sorted(hashes[key]))]
        print(" \\\n".join(lines))


if __name__ == "__main__":
    main()
