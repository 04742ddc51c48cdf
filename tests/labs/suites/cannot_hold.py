"""Which tests of the suites cannot hold with a gateway, and why."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CANNOT_HOLD", "SUITES"]


@dataclass(frozen=True)
class Suite:
    """A suite, as setup.sh unpacks it.

    Attributes:
        arguments: of pytest.
    """

    directory: str
    arguments: tuple[str, ...]


SUITES = {
    "requests": Suite("requests-2.34.2", ("tests",)),
    "httpx": Suite("httpx-0.28.1", ("tests",)),
    "httpie": Suite("httpie-3.2.4", ("tests",)),
}

CANNOT_HOLD: dict[str, dict[str, str]] = {"requests": {}, "httpx": {}, "httpie": {}}
"""By suite: test, and reason."""
