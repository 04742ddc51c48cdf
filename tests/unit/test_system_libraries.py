"""The Debian package finds a few libraries of the system's, and no others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_PROGRAM = """
import sys
sys.path.append(sys.argv[1])
from zurl_py.system_libraries import find_in
find_in(sys.argv[2])
import psycopg.sub
print(psycopg.sub.value)
try:
    import other
except ImportError:
    print("no other")
"""


def test_only_known_libraries_are_found(tmp_path: Path) -> None:
    package = tmp_path / "psycopg"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "sub.py").write_text("value = 'found'\n")
    (tmp_path / "other.py").touch()
    done = subprocess.run(
        [sys.executable, "-IS", "-c", _PROGRAM, str(_ROOT), str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split("\n")[:2] == ["found", "no other"]
