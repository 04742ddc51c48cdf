"""Rules and the decisions made by them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final

from .addresses import SET_NAMES, sets_of
from .decision import ALLOWED, Decision

__all__ = ["Policy", "PolicyError"]

_MAX_CACHED = 10_000


class PolicyError(ValueError):
    """Rules that make no policy; the text says which and why."""


class _Everything:
    """What ignore-policies leaves of a policy."""

    def check_name(self, host: str, port: int, scheme: str) -> Decision:
        return ALLOWED

    def check_address(self, address: str, port: int, scheme: str) -> Decision:
        return ALLOWED


_EVERYTHING: Final = _Everything()


class _Rule:
    """One item of ``allow`` or ``deny``: a range of addresses, a pattern with ``*``, or a name."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.set_name = text[1:] if text.startswith("@") else None
        if self.set_name is not None and self.set_name not in SET_NAMES:
            # A set that matched nothing would leave open what the operator meant to close.
            known = ", ".join(f"@{name}" for name in sorted(SET_NAMES))
            raise PolicyError(f"unknown set {text}; known are {known}")
        pattern = text.lower()
        self.prefix, star, self.suffix = pattern.partition("*")
        self.is_pattern = bool(star)
        self.exact = pattern
        self.network = _network(text)

    def matches(self, host: str) -> bool:
        if self.set_name is not None:
            return self.set_name in sets_of(host) or (
                self.set_name in _NAME_SETS and _is_local_name(host)
            )
        if self.network is not None:
            try:
                return ipaddress.ip_address(host) in self.network
            except ValueError:
                return False
        if self.is_pattern:
            return (
                len(host) >= len(self.prefix) + len(self.suffix)
                and host.startswith(self.prefix)
                and host.endswith(self.suffix)
            )
        return host == self.exact


# Names that stand for this machine or its network, whatever they resolve to.
_NAME_SETS: Final = frozenset(("private", "loopback"))
_LOCAL_SUFFIXES: Final = (".localhost", ".local", ".internal")


def _is_local_name(host: str) -> bool:
    return host == "localhost" or host.endswith(_LOCAL_SUFFIXES)


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """A range ``a.b.c.d/n``; short forms such as ``127/8`` and masks are taken as well."""
    address, slash, width = text.partition("/")
    if not slash:
        return None
    if ":" not in address:
        address += ".0" * (3 - address.count("."))
    try:
        return ipaddress.ip_network(f"{address}/{width}", strict=False)
    except ValueError:
        return None


class Policy:
    """Decides by the rules of a configuration."""

    def __init__(self, default_allow: bool, allow: list[_Rule], deny: list[_Rule]) -> None:
        self._default_allow = default_allow
        self._allow = allow
        self._deny = deny
        self._cache: dict[str, Decision] = {}

    @classmethod
    def from_rules(cls, defpolicy: str, allow: Iterable[str], deny: Iterable[str]) -> Policy:
        """The policy of a configuration.

        Raises:
            PolicyError: ``defpolicy`` is neither allow nor deny, or a rule names an unknown set.
        """
        if defpolicy not in ("allow", "deny"):
            raise PolicyError(f"defpolicy: {defpolicy!r} is not allow or deny")
        return cls(defpolicy == "allow", [_Rule(t) for t in allow], [_Rule(t) for t in deny])

    def check_name(self, host: str, port: int, scheme: str) -> Decision:
        """May a request go to this host, by its name?"""
        decision = self._cache.get(host)
        return decision if decision is not None else self._decide(host)

    def check_address(self, address: str, port: int, scheme: str) -> Decision:
        """May a connection be made to this address?"""
        decision = self._cache.get(address)
        return decision if decision is not None else self._decide(address)

    def check_privileges(
        self,
        *,
        ignore_policies: bool,
        ignore_tls_errors: bool,
        connect_host: bool,
        trust_connect_host: bool,
    ) -> Decision:
        """May a request ask for these?"""
        return ALLOWED

    def privileged(self) -> _Everything:
        """What holds for a request to which ignore-policies is granted."""
        return _EVERYTHING

    def _decide(self, host: str) -> Decision:
        denied = next((rule for rule in self._deny if rule.matches(host)), None)
        allowed = next((rule for rule in self._allow if rule.matches(host)), None)
        if self._default_allow:
            refused = denied is not None and allowed is None
        else:
            refused = allowed is None or denied is not None
        if refused:
            rule = denied.text if denied is not None else "defpolicy=deny"
            decision = Decision(False, rule, host, f"denied by {rule}")
        else:
            decision = ALLOWED
        if len(self._cache) >= _MAX_CACHED:
            self._cache.clear()
        self._cache[host] = decision
        return decision
