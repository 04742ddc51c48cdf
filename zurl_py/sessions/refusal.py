"""Why a first packet is not carried out."""

from __future__ import annotations

from ..errors import Error
from ..policy import Decision
from ..url import Target
from ..zhttp import Condition

__all__ = ["Refused"]


class Refused(Error):
    """A request that is not carried out.

    Attributes:
        condition: the ZHTTP error condition of the answer.
        error: a stable short name for the reason, of the answer's ``ext``.
        detail: the reason: the field and what is wrong with it, or what the policy says.
        target: where it was to go; None where the URI cannot be used.
    """

    def __init__(self, condition: bytes, detail: str, error: str) -> None:
        super().__init__(condition, detail, error)
        self.condition = condition
        self.detail = detail
        self.error = error
        self.target: Target | None = None

    @classmethod
    def bad_request(cls, detail: str, error: str = "bad-message") -> Refused:
        """The packet cannot be used: the worker's fault."""
        return cls(Condition.BAD_REQUEST, detail, error)

    @classmethod
    def by_policy(cls, decision: Decision) -> Refused:
        """The policy does not allow it."""
        name = decision.code.replace("_", "-")
        return cls(Condition.POLICY_VIOLATION, f"{decision.subject} {decision.reason}", name)
