"""Writes the table of docs/compatibility.md: python -m tests.labs.differential.document."""

from tests.labs.differential.differences import DIFFERENCES
from tests.support import ROOT

PAGE = ROOT / "docs" / "compatibility.md"
BEGIN = "<!-- differences: begin, written by tests/labs/differential/document.py -->\n"
END = "<!-- differences: end -->\n"


def table() -> str:
    """The differences in Markdown, a table for each topic."""
    parts = []
    for topic in dict.fromkeys(item.topic for item in DIFFERENCES):
        rows = [
            f"| {item.zurl} | {item.ours} | {item.why} | {_names(item.exchanges)} |\n"
            for item in DIFFERENCES
            if item.topic == topic
        ]
        head = "| Zurl 1.11.1 | zurl_py | why | shown by |\n|---|---|---|---|\n"
        parts.append(f"### {topic}\n\n{head}{''.join(rows)}")
    return "\n".join(parts)


def _names(exchanges: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in exchanges)


def updated(page: str) -> str:
    """The page with its table written anew."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text()))
