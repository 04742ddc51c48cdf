"""The modules for httpx and httpx2, which only name classes of the one or the other."""

from __future__ import annotations

import re

from tests.support import ROOT


def test_they_differ_in_the_librarys_name_alone() -> None:
    one, other = (
        (ROOT / f"zurl_py/client/{name}.py").read_text().replace(f"import {name}", "import httpx")
        for name in ("httpx", "httpx2")
    )
    assert re.sub(r"httpx2\b", "httpx", other) == one
