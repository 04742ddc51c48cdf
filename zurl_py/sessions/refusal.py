"""The error for a first packet that is refused."""

from __future__ import annotations

from ..errors import Error
from ..policy import Decision
from ..url import Target
from ..zhttp import Condition

__all__ = ["Refused"]


class Refused(Error):
    """A request is refused.

    Attributes:
        condition: the ZHTTP error condition of the answer.
        error: a stable short name for the reason, for the answer's ``ext``.
        detail: the reason: the field and what is wrong with it, or the policy's reason.
        target: the request's target; None where the URI cannot be used.
    """

    def __init__(self, condition: bytes, detail: str, error: str) -> None:
        super().__init__(condition, detail, error)
        self.condition = condition
        self.detail = detail
        self.error = error
        self.target: Target | None = None

    @classmethod
    def bad_request(cls, detail: str, error: str = "bad-message") -> Refused:
        """For a packet that cannot be used: the worker's fault."""
        return cls(Condition.BAD_REQUEST, detail, error)

    @classmethod
    def by_policy(cls, decision: Decision) -> Refused:
        """For a request that the policy does not allow."""
        name = decision.code.replace("_", "-")
        return cls(Condition.POLICY_VIOLATION, f"{decision.subject} {decision.reason}", name)
