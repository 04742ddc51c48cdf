"""The documentation builds as a site, without a warning."""

import subprocess
import sys
from pathlib import Path

from tests.support import ROOT


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "-q"]
    done = subprocess.run(
        [*command, "-d", str(tmp_path / "doctrees"), "-b", "html", "docs", str(tmp_path / "html")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    pages = {page.stem for page in (ROOT / "docs").glob("*.md")}
    built = {page.stem for page in (tmp_path / "html").glob("*.html")}
    assert pages <= built
    index = (tmp_path / "html" / "index.html").read_text()
    assert all(f'href="{page}.html"' in index for page in pages - {"index"}), "a page is in no list"
