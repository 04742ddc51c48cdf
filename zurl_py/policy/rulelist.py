"""A list of rules with an index: blocklists have a hundred thousand names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .addresses import Address, show4
from .rules import PolicyError, Rule, Subject, parse_rule

__all__ = ["RuleList"]

_SHOWN = 10  # rules in ``repr``


class RuleList:
    """Rules in the order in which they were written; a decision names the first that matches.

    Args:
        key: the key of the configuration that they come from.
        denies: the rules deny, and so look at embedded IPv4 addresses as well.

    Attributes:
        rules: all of them.
        bound: some have ``-> ADDRESSES``.
    """

    def __init__(self, key: str, items: Iterable[str], denies: bool) -> None:
        self.key = key
        self.rules: list[Rule] = []
        self._denies = denies
        self._exact: dict[str, list[int]] = {}
        self._suffix: dict[str, list[int]] = {}
        # By IP version and number of bits after the prefix, then by prefix.
        self._ranges: dict[tuple[int, int], dict[int, list[int]]] = {}
        self._others: list[int] = []
        for item in items:
            try:
                self._add(parse_rule(item))
            except PolicyError as error:
                raise PolicyError(f"{key}: {error}", key) from None
        self.bound = any(rule.bound for rule in self.rules)

    def __repr__(self) -> str:
        shown = ",".join(rule.text for rule in self.rules[:_SHOWN])
        more = f",… {len(self.rules)} in all" if len(self.rules) > _SHOWN else ""
        return f"<RuleList {self.key}={shown}{more}>"

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
        elif rule.range is not None:
            version, low, shift = rule.range
            prefixes = self._ranges.setdefault((version, shift), {})
            prefixes.setdefault(low >> shift, []).append(number)
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

    def candidates(self, who: Subject) -> list[Rule]:
        """The rules that may match a host, at any port and with any scheme, in order."""
        return [self.rules[number] for number in self._candidates(who)]

    def _candidates(self, who: Subject) -> Iterable[int]:
        """The rules that may match, in order."""
        if not self._exact and not self._suffix and not self._ranges:
            return self._others
        address = who.address
        found = set(self._others)
        found.update(self._exact.get(who.text, ()))
        if self._suffix:
            texts = {who.text}
            if address is not None:
                # The address may be spelled otherwise than by inet_ntop.
                texts.add(address.text)
                texts.update(map(show4, address.embedded))
            for text in texts:
                self._find_suffixes(text, found)
        if self._ranges and address is not None:
            self._find_ranges(address, found)
        return sorted(found)

    def _find_suffixes(self, text: str, found: set[int]) -> None:
        dot = text.find(".")
        while dot >= 0:
            found.update(self._suffix.get(text[dot:], ()))
            dot = text.find(".", dot + 1)

    def _find_ranges(self, address: Address, found: set[int]) -> None:
        for (version, shift), prefixes in self._ranges.items():
            if version == address.version:
                found.update(prefixes.get(address.number >> shift, ()))
            elif version == 4:
                for number in address.embedded:
                    found.update(prefixes.get(number >> shift, ()))
