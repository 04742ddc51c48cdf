"""Who may be contacted: names, addresses, ranges. Pure: nothing here touches a socket."""

from .addresses import parse_address
from .decision import Decision
from .policy import Policy, PolicyError
from .rules import parse_rule

__all__ = ["Decision", "Policy", "PolicyError", "parse_address", "parse_rule"]
