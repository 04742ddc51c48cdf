"""A list of rules that stays fast when it is long: blocklists have a hundred thousand names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .rules import PolicyError, Rule, Subject, parse_rule

__all__ = ["RuleList"]


class RuleList:
    """Rules in the order in which they were written; the first that matches is the one named.

    Args:
        key: the key of the configuration that they come from.
        denies: they are rules that deny, and so look into addresses that embed others.

    Attributes:
        rules: all of them.
        bound: some say to which addresses.
    """

    def __init__(self, key: str, items: Iterable[str], denies: bool) -> None:
        self.key = key
        self.rules: list[Rule] = []
        self._denies = denies
        self._exact: dict[str, list[int]] = {}
        self._suffix: dict[str, list[int]] = {}
        self._others: list[int] = []
        for item in items:
            try:
                self._add(parse_rule(item))
            except PolicyError as error:
                raise PolicyError(f"{key}: {error}", key) from None
        self.bound = any(rule.bound for rule in self.rules)

    def __len__(self) -> int:
        return len(self.rules)

    def _add(self, rule: Rule) -> None:
        number = len(self.rules)
        self.rules.append(rule)
        if rule.bound:
            self._others.append(number)
        elif rule.exact is not None:
            self._exact.setdefault(rule.exact, []).append(number)
        elif rule.suffix is not None:
            self._suffix.setdefault(rule.suffix, []).append(number)
        else:
            self._others.append(number)

    def matching(
        self, who: Subject, host: Subject | None, to: Subject | None, port: int, scheme: str
    ) -> Iterator[Rule]:
        """The rules that match, in order; see `Rule.matches`."""
        rules, denies = self.rules, self._denies
        for number in self._candidates(who):
            rule = rules[number]
            if rule.fits(port, scheme) and rule.matches(who, host, to, denies):
                yield rule

    def first(
        self, who: Subject, host: Subject | None, to: Subject | None, port: int, scheme: str
    ) -> Rule | None:
        """The first rule that matches."""
        return next(self.matching(who, host, to, port, scheme), None)

    def _candidates(self, who: Subject) -> Iterable[int]:
        if not self._exact and not self._suffix:
            return self._others
        text = who.text
        found = [*self._others, *self._exact.get(text, ())]
        if self._suffix:
            dot = text.find(".")
            while dot >= 0:
                found += self._suffix.get(text[dot:], ())
                dot = text.find(".", dot + 1)
            if who.address is not None:
                # Patterns are tried on other spellings of an address as well.
                return range(len(self.rules))
        found.sort()
        return found
