"""The steps from a name or an address to a decision. The first step that refuses is the last:

1. ``deny_always``: refused if one of its rules matches. Nothing overrides it.
2. ``allow_ports``, ``require_tls``: refused if the port or the scheme is not allowed, unless a
   matching rule of ``allow`` names that port, or that scheme.
3. ``allow`` and ``deny``. With ``defpolicy=allow``: refused if ``deny`` matches and ``allow`` does
   not. With ``defpolicy=deny``: refused unless ``allow`` matches and ``deny`` does not; a name in
   ``allow`` then also allows the public addresses of that name, and no others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .addresses import PUBLIC, describe
from .decision import Decision
from .rulelist import RuleList
from .rules import Rule, Subject

__all__ = ["Question", "Ruleset"]

_PLAIN: Final = frozenset(("http", "ws"))


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be decided.

    Attributes:
        who: the name or address to decide about.
        host: the request's host, a name or an address; None if that is not known.
        to: the address to connect to; None if that is not known yet.
    """

    who: Subject
    host: Subject | None
    to: Subject | None
    port: int
    scheme: str


@dataclass(frozen=True, slots=True)
class Ruleset:
    """All rules of a policy.

    Attributes:
        default_allow: ``defpolicy=allow``.
        ports: (first, last) pairs of ``allow_ports``; empty: all.
    """

    default_allow: bool
    allow: RuleList
    deny: RuleList
    deny_always: RuleList
    report_deny: RuleList
    ports: tuple[tuple[int, int], ...] = ()
    require_tls: bool = False

    @property
    def by_host(self) -> bool:
        """Whether a decision about an address depends on the request's host."""
        lists = (self.allow, self.deny, self.deny_always, self.report_deny)
        return (
            bool(self.ports)
            or self.require_tls
            or any(rules.bound for rules in lists)
            or any(rule.names_hosts for rule in self.allow.rules)
        )

    def decide(self, question: Question, with_port: bool = True) -> Decision:
        """Take all steps.

        Args:
            with_port: include step 2.
        """
        q = question
        always = self.deny_always.first(q.who, q.host, q.to, q.port, q.scheme)
        if always is not None:
            return _refused(q, f"deny_always={always.text}", "deny_always")
        if with_port:
            refused = self._check_port(q)
            if refused is not None:
                return refused
        return self._check_lists(q)

    def _check_port(self, q: Question) -> Decision | None:
        bad_port = bool(self.ports) and not any(a <= q.port <= b for a, b in self.ports)
        bad_scheme = self.require_tls and q.scheme in _PLAIN
        if not bad_port and not bad_scheme:
            return None
        for rule in self.allow.matching(q.who, q.host, q.to, q.port, q.scheme):
            bad_port = bad_port and not rule.names_port
            bad_scheme = bad_scheme and not rule.names_scheme
        if bad_port:
            pairs = (f"{a}" if a == b else f"{a}-{b}" for a, b in self.ports)
            return _refused(q, f"allow_ports={','.join(pairs)}", "allow_ports", f"port {q.port}")
        if bad_scheme:
            return _refused(q, "require_tls=true", "require_tls", q.scheme)
        return None

    def _check_lists(self, q: Question) -> Decision:
        denied = self.deny.first(q.who, q.host, q.to, q.port, q.scheme)
        allowed = self.allow.first(q.who, q.host, q.to, q.port, q.scheme)
        if denied is not None and (allowed is None or not self.default_allow):
            return _refused(q, f"deny={denied.text}", "deny", hint=self._hint(q))
        if allowed is None and not self.default_allow and _is_public(q.who):
            allowed = self._named_in_allow(q)
        if allowed is None and not self.default_allow:
            return _refused(
                q, "defpolicy=deny", "defpolicy", "no rule allows it", hint=self._hint(q)
            )
        if allowed is None or not self.default_allow:
            reported = self.report_deny.first(q.who, q.host, q.to, q.port, q.scheme)
            if reported is not None:
                rule = f"report_deny={reported.text}"
                return Decision(True, rule, q.who.text, _reason(q, rule, ""), "deny", True)
        if allowed is not None:
            return Decision(
                True, f"allow={allowed.text}", q.who.text, f"allow={allowed.text}", "allow"
            )
        return Decision(True, "defpolicy=allow", q.who.text, "no rule refuses it")

    def _named_in_allow(self, q: Question) -> Rule | None:
        """The rule of ``allow`` that names the host of the request, where an address is checked."""
        if q.host is None or q.host.address is not None or q.who.address is None:
            return None
        for rule in self.allow.matching(q.host, q.host, q.to, q.port, q.scheme):
            if rule.names_hosts:
                return rule
        return None

    def _hint(self, q: Question) -> str:
        """The rule to write in order to allow a name whose address is refused."""
        rule = self._named_in_allow(q)
        if rule is None:
            return ""
        return (
            f"; allow={rule.text} allows the name alone: allow={rule.text} -> {q.who.text} would "
            "allow this address, too"
        )


def _is_public(who: Subject) -> bool:
    return who.address is not None and PUBLIC in who.address.sets


def _refused(q: Question, rule: str, code: str, detail: str = "", hint: str = "") -> Decision:
    return Decision(False, rule, q.who.text, _reason(q, rule, detail) + hint, code)


def _reason(q: Question, rule: str, detail: str) -> str:
    """The reason for a log line: the rule, and what the address is for."""
    if not detail and q.who.address is not None:
        detail = describe(q.who.address)
    return f"refused by {rule}" + (f" ({detail})" if detail else "")
