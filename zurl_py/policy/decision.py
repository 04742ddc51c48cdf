"""What the policy says, as a value: log lines, counters and answers are made from it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ALLOWED", "Decision"]


@dataclass(frozen=True, slots=True)
class Decision:
    """Allowed or not, and why.

    Attributes:
        allowed: what to do.
        rule: what decided, as the operator wrote it: ``deny=@private``, ``allow_ports=80,443``.
        subject: the name or address it decided about.
        reason: for a log line: what decided, and what to write if that was not meant.
        code: the kind of rule: ``deny_always``, ``deny``, ``defpolicy``, ``allow_ports``,
            ``require_tls``, ``privilege``, ``address`` (it is none); ``allow`` and ``default``
            where nothing refuses.
        reported: would be refused, but the policy only reports this.
    """

    allowed: bool
    rule: str
    subject: str
    reason: str
    code: str = "default"
    reported: bool = False

    def __bool__(self) -> bool:
        return self.allowed


ALLOWED = Decision(True, "", "", "allowed")
