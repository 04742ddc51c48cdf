"""Finds links of Markdown pages that lead nowhere.

    python3 tools/check_links.py DIRECTORY

Looks at every page below DIRECTORY; links to the web are left alone.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def dead_links(root: Path) -> list[str]:
    """``page: target`` of each link whose file is not there."""
    return [
        f"{page}: {target}"
        for page in sorted(root.rglob("*.md"))
        for target in _LINK.findall(page.read_text())
        if "://" not in target and not (page.parent / target).exists()
    ]


if __name__ == "__main__":
    pages = dead_links(Path(sys.argv[1]))
    sys.exit("\n".join(pages) if pages else 0)
