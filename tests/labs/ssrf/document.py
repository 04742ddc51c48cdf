"""Writes the table of attempts in docs/security.md: python -m tests.labs.ssrf.document."""

from tests.labs.ssrf.lab import ATTEMPTS, OURS, ZURL, Result
from tests.labs.ssrf.play import load, play
from tests.support import ROOT

PAGE = ROOT / "docs" / "security.md"
BEGIN = "<!-- attempts: begin, written by tests/labs/ssrf/document.py -->\n"
END = "<!-- attempts: end -->\n"


def rows(results: dict[str, Result]) -> dict[str, tuple[int, int]]:
    """For each class how many attempts held, and how many could be tried."""
    counts: dict[str, tuple[int, int]] = {}
    for name, result in results.items():
        if not result.skipped:
            held, tried = counts.get(ATTEMPTS[name].group, (0, 0))
            counts[ATTEMPTS[name].group] = (held + result.held, tried + 1)
    return counts


def table(zurl: dict[str, tuple[int, int]], ours: dict[str, tuple[int, int]]) -> str:
    """The table in Markdown."""
    lines = ["| class | Zurl 1.11.1 | zurl_py |", "|---|---|---|"]
    for group, count in ours.items():
        lines.append(f"| {group} | {_show(zurl.get(group))} | {_show(count)} |")
    total = [tuple(map(sum, zip(*counts.values(), strict=True))) for counts in (zurl, ours)]
    lines.append(f"| **all** | {_show(total[0])} | {_show(total[1])} |")
    return "\n".join(lines) + "\n"


def _show(count: tuple[int, ...] | None) -> str:
    return f"{count[0]} of {count[1]}" if count is not None else "–"


def documented() -> str:
    """The table as it stands on the page."""
    return PAGE.read_text().split(BEGIN)[1].split(END)[0]


def main() -> None:
    """Plays all attempts with both daemons and writes the page."""
    load()
    before, rest = PAGE.read_text().split(BEGIN)
    after = rest.split(END)[1]
    text = table(rows(play(ZURL)), rows(play(OURS)))
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


if __name__ == "__main__":
    main()
