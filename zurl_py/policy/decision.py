"""What the policy says, as a value: log lines, counters and answers are made from it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ALLOWED", "Decision"]


@dataclass(frozen=True, slots=True)
class Decision:
    """Allowed or not, and why.

    Attributes:
        rule: the rule that decided, as the operator wrote it.
        subject: the name or address it decided about.
        reason: one clause for a log line.
    """

    allowed: bool
    rule: str
    subject: str
    reason: str

    def __bool__(self) -> bool:
        return self.allowed


ALLOWED = Decision(True, "", "", "allowed")
