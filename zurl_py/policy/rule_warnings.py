"""Warnings for the operator about valid rules that may not do what was meant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from .addresses import PRIVATE, SET_NAMES, parse_address, show
from .evaluation import Ruleset
from .rulelist import RuleList
from .rules import Rule, Subject

__all__ = ["rule_warnings"]

# A list of a hundred thousand rules can cause as many warnings.
_MOST: Final = 20  # warnings of one kind

# Words that look like a set, but are taken for the name of a host.
_LIKELY_MEANT: Final = {name: f"@{name}" for name in SET_NAMES} | {
    "all": "*",
    "any": "*",
    "everything": "*",
    "external": "@public",
    "internal": "@private",
    "internet": "@public",
    "local": "@private",
}


def rule_warnings(rules: Ruleset, mode: str) -> Iterator[str]:
    """The warnings about a policy's rules; each begins with the key that it is about.

    Args:
        mode: ``policy_mode``.
    """
    if rules.default_allow and not rules.deny.rules:
        yield (
            "no deny rule: requests may go to every address, this machine and its private network "
            "included; deny=@private closes these"
        )
    if mode == "report":
        yield "policy_mode=report: requests that the rules refuse are logged, and sent nevertheless"
    for listed in (rules.allow, rules.deny, rules.deny_always, rules.report_deny):
        yield from _at_most(_without_match(listed), listed.key)
    if rules.default_allow:
        yield from _at_most(
            _overridden(rules.deny, rules.allow, "write it into deny_always"), "deny"
        )
        yield from _at_most(_names_without_addresses(rules), "allow")
    else:
        yield from _at_most(_overridden(rules.allow, rules.deny, "narrow that rule"), "allow")
    yield from _at_most(_overridden(rules.allow, rules.deny_always, "narrow that rule"), "allow")


def _at_most(found: Iterable[str], key: str) -> Iterator[str]:
    found = iter(found)
    yield from islice(found, _MOST)
    more = sum(1 for _ in found)
    if more:
        yield f"{key}: {more} more rules of this kind"


def _without_match(listed: RuleList) -> Iterator[str]:
    for rule in listed.rules:
        if rule.never:
            yield f"{listed.key}: {rule.text!r} matches nothing: only one * is special"
        elif rule.exact in _LIKELY_MEANT and not rule.bound:
            yield (
                f"{listed.key}: {rule.text!r} is the name of one host; "
                f"write {_LIKELY_MEANT[rule.exact]} for what it seems to mean"
            )


def _overridden(losing: RuleList, winning: RuleList, remedy: str) -> Iterator[str]:
    """Rules without effect, as rules of another list cover them and win."""
    for rule in losing.rules:
        if rule.never or rule.bound:
            continue
        for other in winning.candidates(_representative(rule)):
            if other.covers(rule):
                yield (
                    f"{losing.key}: {rule.text!r} has no effect: {winning.key}={other.text} "
                    f"overrides all of it; {remedy} if that is not intended"
                )
                break


def _names_without_addresses(rules: Ruleset) -> Iterator[str]:
    """Names in ``allow`` that are refused nevertheless if their addresses are private."""
    guard = next((rule for rule in rules.deny.rules if rule.set_name == PRIVATE), None)
    if guard is None:
        return
    for rule in rules.allow.rules:
        if not rule.names_hosts or rule.pattern == ("", ""):
            continue
        bound = any(other.bound and _same_who(other, rule) for other in rules.allow.rules)
        if not bound:
            yield (
                f"allow: {rule.text!r} allows the name alone: deny={guard.text} still refuses "
                f"its private addresses; allow={rule.text} -> 10.0.0.0/8, for example, allows "
                "them, too"
            )


def _same_who(one: Rule, other: Rule) -> bool:
    return (one.exact, one.pattern) == (other.exact, other.pattern)


def _representative(rule: Rule) -> Subject:
    """A host that the rule matches, and so every rule that covers it."""
    if rule.exact is not None:
        text = rule.exact
    elif rule.pattern is not None:
        text = "x".join(rule.pattern)
    elif rule.range is not None:
        version, low, _ = rule.range
        text = show(version, low)
    else:
        text = ""  # of a set: only sets and * can cover it, and these are candidates for all
    return Subject(text, parse_address(text))
