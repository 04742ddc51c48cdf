"""Who may be contacted: names, addresses, ranges. Pure: nothing here touches a socket."""

from .decision import Decision
from .policy import Policy, PolicyError

__all__ = ["Decision", "Policy", "PolicyError"]
