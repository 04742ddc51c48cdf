"""Writes what travels in the Debian package as a CycloneDX document: `make sbom`.

    .venv/bin/python tools/sbom.py > dist/sbom.cdx.json

The Python packages are those that debian/requirements.txt pins, with their wheels' hashes. What
is inside the wheels (libcurl, OpenSSL, libzmq, ...) is asked of the wheels themselves, as
`zurl-py version --verbose` does: so they have to be installed in the versions that are pinned.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import sys
import uuid
from pathlib import Path
from typing import Any

from zurl_py import __version__
from zurl_py.cli.version import contents

ROOT = Path(__file__).resolve().parents[1]
_PINNED = re.compile(r"^([\w.-]+)==([\w.+-]+)", re.MULTILINE)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_INSIDE = re.compile(r"(.+) \(in (\w+)\)")
_NAMESPACE = uuid.UUID("5f1d6f0a-7e0b-4f4e-9d8f-3d6b9a7c2b10")


class WrongVersion(Exception):
    """A package is installed in another version than the one that is pinned."""


def pinned(text: str) -> dict[str, tuple[str, list[str]]]:
    """Version and hashes of each package in a file of pinned requirements."""
    blocks = re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)
    found = ((_PINNED.match(block), block) for block in blocks)
    return {match[1]: (match[2], _HASH.findall(block)) for match, block in found if match}


def package(name: str, version: str, hashes: list[str], inside: list[Any]) -> dict[str, Any]:
    """One Python package, with what is inside its wheel."""
    purl = f"pkg:pypi/{name}@{version}"
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
        "hashes": [{"alg": "SHA-256", "content": digest} for digest in hashes],
    }
    if inside:
        component["components"] = inside
    return component


def inner_libraries(told: list[tuple[str, str]]) -> dict[str, list[dict[str, Any]]]:
    """Libraries inside wheels, by the name of the package, from what `contents` tells."""
    found: dict[str, list[dict[str, Any]]] = {}
    for label, version in told:
        match = _INSIDE.fullmatch(label)
        if match:
            name, wheel = match.groups()
            purl = f"pkg:generic/{name.lower()}@{version}"
            library = {"type": "library", "bom-ref": f"{wheel}/{name}", "name": name}
            found.setdefault(wheel, []).append({**library, "version": version, "purl": purl})
    return found


def document(requirements: str) -> dict[str, Any]:
    """The whole.

    Raises:
        WrongVersion: what is installed is not what is pinned.
    """
    packages = pinned(requirements)
    told = contents()
    for name, (version, _) in packages.items():
        installed = importlib.metadata.version(name)
        if installed != version:
            raise WrongVersion(f"{name} {installed} is installed, {version} is pinned")
    inside = inner_libraries(told)
    components = [
        package(name, version, hashes, inside.get(name, []))
        for name, (version, hashes) in packages.items()
    ]
    ours = f"pkg:generic/zurl-py@{__version__}"
    serial = uuid.uuid5(_NAMESPACE, json.dumps(components, sort_keys=True) + ours)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{serial}",  # the same for the same contents
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": ours,
                "name": "zurl-py",
                "version": __version__,
                "licenses": [{"license": {"id": "MIT"}}],
            }
        },
        "components": components,
        "dependencies": [
            {"ref": ours, "dependsOn": [component["bom-ref"] for component in components]}
        ],
    }


def main() -> None:
    try:
        made = document((ROOT / "debian" / "requirements.txt").read_text(encoding="ascii"))
    except (WrongVersion, importlib.metadata.PackageNotFoundError) as error:
        sys.exit(f"sbom: {error}")
    json.dump(made, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
