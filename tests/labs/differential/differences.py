"""Intended differences between Zurl and zurl_py, with their reasons.

The rows are in the modules table_*; the tables of docs/compatibility.md are generated from them. An
exchange that a row names must differ, and the transcript of zurl_py must be that in expected.txt.
Every other exchange must be the same on both sides. After an intended change of zurl_py:

    python -m tests.labs.differential.accept      # writes expected.txt anew; read the diff
    python -m tests.labs.differential.document    # writes the table of docs/compatibility.md anew
"""

from pathlib import Path

from tests.labs.differential import (
    table_messages,
    table_requests,
    table_responses,
    table_websocket,
)
from tests.labs.differential.difference import Difference

EXPECTED = Path(__file__).parent / "expected.txt"


DIFFERENCES: list[Difference] = [
    *table_messages.ROWS,
    *table_requests.ROWS,
    *table_responses.ROWS,
    *table_websocket.ROWS,
]


def of_exchange(name: str) -> list[Difference]:
    """The differences that exchange `name` shows."""
    return [item for item in DIFFERENCES if item.covers(name)]


def read_expected() -> dict[str, list[str]]:
    """Our transcripts of the exchanges that differ, by name."""
    result: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in EXPECTED.read_text().splitlines():
        if line.startswith("== "):
            lines = result.setdefault(line[3:], [])
        elif line.strip():
            lines.append(line.strip())
    return result


def write_expected(transcripts: dict[str, list[str]]) -> None:
    """Writes expected.txt."""
    parts = [
        f"== {name}\n" + "".join(f"   {line}\n" for line in lines)
        for name, lines in sorted(transcripts.items())
    ]
    EXPECTED.write_text("\n".join(parts))
