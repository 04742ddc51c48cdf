"""The policy: decisions with a cache and counters, and privileges.

Each request needs two decisions: whether its host may be contacted, by its name, and whether an
address may be connected to. Both must allow it. ``evaluation.py`` has the steps of a decision.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from ..cache import remember
from .addresses import OWN, PRIVATE, PUBLIC, Nat64, parse_address
from .decision import ALLOWED, Decision
from .evaluation import Question, Ruleset
from .rule_warnings import rule_warnings
from .rulelist import RuleList
from .rules import PolicyError, Subject

__all__ = ["Policy", "PolicyError"]

_MAX_CACHED = 16_384  # decisions of each kind; a full cache is emptied


@dataclass(frozen=True, slots=True)
class _Surroundings:
    """What a policy needs to know beside its rules.

    Attributes:
        nat64: prefixes under which an IPv6 address stands for an IPv4 address.
        own_ports: TCP ports that this process listens on.
        is_local: whether an address is one of this host's.
    """

    nat64: tuple[Nat64, ...]
    own_ports: frozenset[int]
    is_local: Callable[[str], bool]


class Policy:
    """Decides by the rules of a configuration. Make one with `from_rules`.

    Attributes:
        counts: number of refusals of each rule, reported ones included.
        decisions: number of decisions, by ``allowed`` and the rule's code.
        reports: number of decisions that were only reported, by the rule's code.
        observe: called with each decision that is only reported.
        warnings: for the operator, at the start.
    """

    def __init__(
        self,
        rules: Ruleset,
        surroundings: _Surroundings,
        report: bool = False,
        withheld: frozenset[str] = frozenset(),
    ) -> None:
        self._rules = rules
        self._surroundings = surroundings
        self._report = report
        self._withheld = withheld  # privileges that are not granted
        self._by_host = rules.by_host
        self._names: dict[tuple[str, int, str], Decision] = {}
        self._addresses: dict[tuple[str, int, str, str], Decision] = {}
        self._privileged: Policy | None = None
        self.counts: dict[str, int] = {}
        self.decisions: dict[tuple[bool, str], int] = defaultdict(int)
        self.reports: dict[str, int] = {}
        self.observe: Callable[[Decision], None] = _ignore
        self.warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Policy {'report' if self._report else 'enforce'} {self._rules!r}>"

    @classmethod
    def from_rules(
        cls,
        defpolicy: str,
        allow: Iterable[str],
        deny: Iterable[str],
        *,
        deny_always: Iterable[str] = (),
        report_deny: Iterable[str] = (),
        allow_ports: Iterable[tuple[int, int]] = (),
        require_tls: bool = False,
        nat64: Iterable[str] = (),
        policy_mode: str = "enforce",
        allow_ignore_policies: bool = True,
        allow_ignore_tls_errors: bool = True,
        allow_connect_host: bool = True,
        allow_trust_connect_host: bool = True,
        allow_host_override: bool = True,
        own_ports: Iterable[int] = (),
        is_local: Callable[[str], bool] | None = None,
    ) -> Policy:
        """The policy of a configuration; all but the last two are its keys.

        Args:
            defpolicy: "allow" or "deny".
            allow, deny, deny_always: rules; ``rules.py`` has their syntax.
            report_deny: rules like those of ``deny``, which only report.
            allow_ports: (first, last) pairs; empty: all ports.
            require_tls: refuse http and ws.
            nat64: "decode" for the well-known prefix, and prefixes of the operator's own, under
                which an IPv6 address stands for the IPv4 address in it.
            policy_mode: "enforce", or "report": all but ``deny_always`` only report.
            allow_ignore_policies, ...: requests may use the privilege of that name.
            own_ports: TCP ports that this process listens on.
            is_local: whether an address is one of this host's; called for ``own_ports`` only.

        Raises:
            PolicyError: one of these cannot be used.
        """
        _check_word("defpolicy", defpolicy, "allow", "deny")
        _check_word("policy_mode", policy_mode, "enforce", "report")
        rules = Ruleset(
            defpolicy == "allow",
            RuleList("allow", allow, False),
            RuleList("deny", deny, True),
            RuleList("deny_always", deny_always, True),
            RuleList("report_deny", report_deny, True),
            tuple(allow_ports),
            require_tls,
        )
        ports = frozenset(own_ports) if is_local is not None else frozenset()
        surroundings = _Surroundings(_nat64_prefixes(nat64), ports, is_local or _never_local)
        granted = {
            "ignore-policies": allow_ignore_policies,
            "ignore-tls-errors": allow_ignore_tls_errors,
            "connect-host": allow_connect_host,
            "trust-connect-host": allow_trust_connect_host,
            "host-override": allow_host_override,
        }
        withheld = frozenset(name for name, yes in granted.items() if not yes)
        policy = cls(rules, surroundings, policy_mode == "report", withheld)
        policy.warnings = tuple(rule_warnings(rules, policy_mode))
        return policy

    # -- public: cached decisions -------------------------------------------------------------

    def check_name(self, host: str, port: int, scheme: str) -> Decision:
        """Decide whether a request may go to this host, by its name.

        Args:
            host: in lower case, without a dot at the end, IPv6 without brackets.
        """
        decision = self._names.get((host, port, scheme))
        if decision is None:
            decision = self._decide_name(host, port, scheme)
        self.decisions[decision.kind] += 1
        if decision.counted:
            self._count(decision)
        return decision

    def check_address(self, address: str, port: int, scheme: str, host: str = "") -> Decision:
        """Decide whether a connection may be made to this address.

        Args:
            address: in the form of ``inet_ntop``.
            host: the request's host: the name that was resolved, or the address itself.
        """
        if not self._by_host:
            host = ""
        decision = self._addresses.get((address, port, scheme, host))
        if decision is None:
            decision = self._decide_address(address, port, scheme, host)
        self.decisions[decision.kind] += 1
        if decision.counted:
            self._count(decision)
        return decision

    def check_privileges(
        self,
        *,
        ignore_policies: bool,
        ignore_tls_errors: bool,
        connect_host: bool,
        trust_connect_host: bool,
        host_override: bool = False,
    ) -> Decision:
        """Decide whether a request may use these privileges.

        ``connect_host`` includes the field connect-port, ``host_override`` is the field ``host``.
        """
        if not self._withheld:
            return ALLOWED
        for asked, name in (
            (ignore_policies, "ignore-policies"),
            (ignore_tls_errors, "ignore-tls-errors"),
            (connect_host, "connect-host"),
            (trust_connect_host, "trust-connect-host"),
            (host_override, "host-override"),
        ):
            if asked and name in self._withheld:
                rule = f"allow_{name.replace('-', '_')}=false"
                decision = self._report_only(
                    Decision(False, rule, name, f"refused by {rule}", "privilege")
                )
                self.decisions[decision.kind] += 1
                self._count(decision)
                return decision
        return ALLOWED

    def privileged(self) -> Policy:
        """The policy for requests to which ignore-policies is granted: ``deny_always`` alone."""
        if self._privileged is None:
            none = RuleList("", (), False)
            rules = Ruleset(True, none, none, self._rules.deny_always, none)
            self._privileged = Policy(rules, self._surroundings, self._report, self._withheld)
            self._privileged.counts = self.counts
            self._privileged.decisions = self.decisions
            self._privileged.reports = self.reports
            self._privileged.observe = lambda decision: self.observe(decision)
        return self._privileged

    def replace_rules(self, other: Policy) -> None:
        """Use the rules of another policy from now on, for all that hold a reference to this one.

        The counters stay.
        """
        self._rules = other._rules
        self._surroundings = other._surroundings
        self._report = other._report
        self._withheld = other._withheld
        self._by_host = other._by_host
        self.warnings = other.warnings
        self._names.clear()
        self._addresses.clear()
        if self._privileged is not None:
            self._privileged.replace_rules(other.privileged())

    # -- private: decisions that are not in the cache ------------------------------------------

    def _decide_name(self, host: str, port: int, scheme: str) -> Decision:
        who = self._subject(host, port)
        to = who if who.address is not None else None
        decision = self._report_only(self._rules.decide(Question(who, who, to, port, scheme)))
        if port not in self._surroundings.own_ports:
            remember(self._names, (host, port, scheme), decision, _MAX_CACHED)
        return decision

    def _decide_address(self, address: str, port: int, scheme: str, host: str) -> Decision:
        to = self._subject(address, port)
        if to.address is None:
            return Decision(False, "address", address, "refused, as it is no address", "address")
        on_behalf = self._subject(host, port) if host else None
        decision = self._rules.decide(
            Question(to, on_behalf, to, port, scheme), with_port=on_behalf is None
        )
        if decision.allowed and on_behalf is not None:
            # Rules with -> can be evaluated now that the address is known.
            by_name = self._rules.decide(Question(on_behalf, on_behalf, to, port, scheme))
            if not by_name.allowed or (by_name.reported and not decision.reported):
                decision = by_name
        decision = self._report_only(decision)
        if port not in self._surroundings.own_ports:
            remember(self._addresses, (address, port, scheme, host), decision, _MAX_CACHED)
        return decision

    def _subject(self, text: str, port: int) -> Subject:
        surroundings = self._surroundings
        address = parse_address(text, surroundings.nat64)
        if address is not None and port in surroundings.own_ports and surroundings.is_local(text):
            # Decisions about these ports are not cached: this host's addresses may change.
            address.join({OWN, PRIVATE}, leave=PUBLIC)
        return Subject(text, address)

    def _report_only(self, decision: Decision) -> Decision:
        """The decision in report mode: a refusal is only reported, except for ``deny_always``."""
        if not self._report or decision.allowed or decision.code == "deny_always":
            return decision
        return replace(decision, allowed=True, reported=True)

    def _count(self, decision: Decision) -> None:
        counts = self.counts
        counts[decision.rule] = counts.get(decision.rule, 0) + 1
        if decision.reported:
            self.reports[decision.code] = self.reports.get(decision.code, 0) + 1
            self.observe(decision)


def _check_word(key: str, value: str, *known: str) -> None:
    if value not in known:
        raise PolicyError(f"{key}: {value!r} is not {' or '.join(known)}", key)


def _nat64_prefixes(items: Iterable[str]) -> tuple[Nat64, ...]:
    prefixes = []
    for item in items:
        try:
            prefixes.append(Nat64(Nat64.WELL_KNOWN if item == "decode" else item))
        except ValueError as error:
            raise PolicyError(f"nat64: {item!r}: {error}", "nat64") from None
    return tuple(prefixes)


def _ignore(_: Decision) -> None:
    pass


def _never_local(_: str) -> bool:
    return False
