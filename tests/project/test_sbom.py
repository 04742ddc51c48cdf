"""What travels in the package, written down: `make sbom`."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support import ROOT
from tools import sbom
from zurl_py.cli.version import contents

REQUIREMENTS = (ROOT / "debian" / "requirements.txt").read_text()


def test_the_document_has_every_pin_with_its_hashes_and_what_is_inside() -> None:
    result = subprocess.run(
        [sys.executable, "tools/sbom.py"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if result.returncode and "is pinned" in result.stderr:
        pytest.skip(f"{result.stderr.strip()}: pip install --requirement debian/requirements.txt")
    assert result.returncode == 0, result.stderr
    made = json.loads(result.stdout)
    assert (made["bomFormat"], made["specVersion"]) == ("CycloneDX", "1.5")
    packages = sbom.pinned(REQUIREMENTS)
    assert {c["name"]: c["version"] for c in made["components"]} == {
        name: version for name, (version, _) in packages.items()
    }
    for component in made["components"]:
        assert component["purl"] == f"pkg:pypi/{component['name']}@{component['version']}"
        found = {entry["content"] for entry in component["hashes"]}
        assert found == set(packages[component["name"]][1])
    told = {name: version for name, version in contents() if " (in " in name}
    inner = {
        f"{library['name']} (in {component['name']})": library["version"]
        for component in made["components"]
        for library in component.get("components", ())
    }
    assert inner == told
    assert any(name.startswith("OpenSSL") for name in inner)
    again = subprocess.run(
        [sys.executable, "tools/sbom.py"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert again.stdout == result.stdout  # the same contents, the same document


def test_another_version_than_the_pinned_one_is_refused() -> None:
    with pytest.raises(sbom.WrongVersion, match=r"msgpack .* is installed, 0\.0 is pinned"):
        sbom.document("msgpack==0.0 \\\n    --hash=sha256:" + "0" * 64)


def test_version_tells_of_every_direct_requirement() -> None:
    """And the other way around: nothing is listed that is not installed."""
    names = {name.lower().replace(".", "-") for name, _ in contents()}
    direct = {"pyzmq", "pycurl", "websockets", "msgspec", "msgpack", "idna", "brotli", "click"}
    assert direct <= names
