"""A decision of the policy as a value: log line, counter and answer are made from it."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["ALLOWED", "Decision"]


@dataclass(frozen=True, slots=True)
class Decision:
    """Allowed or not, and why.

    Attributes:
        allowed: the request or connection may be made.
        rule: the rule that decided, as the operator wrote it: ``deny=@private``,
            ``allow_ports=80,443``.
        subject: the name or address that was checked.
        reason: for a log line: which rule decided, and how to write it if that was not meant.
        code: the kind of rule: ``deny_always``, ``deny``, ``defpolicy``, ``allow_ports``,
            ``require_tls``, ``privilege``, ``address`` (the text is no address); ``allow`` and
            ``default`` where nothing refuses.
        reported: the policy would refuse, but only reports.
        kind: what it is counted as: allowed or not, and the code.
        counted: it refuses, or would without report mode, so it is counted by its rule as well.
    """

    allowed: bool
    rule: str
    subject: str
    reason: str
    code: str = "default"
    reported: bool = False
    kind: tuple[bool, str] = field(init=False, repr=False, compare=False)
    counted: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Made once: most decisions are given thousands of times.
        object.__setattr__(self, "kind", (self.allowed, self.code))
        object.__setattr__(self, "counted", not self.allowed or self.reported)

    def __bool__(self) -> bool:
        return self.allowed


ALLOWED = Decision(True, "", "", "allowed")
"""The decision where no rule had to be asked."""
