"""Warnings about valid rules that may not do what the operator meant."""

from typing import Any

import pytest

from zurl_py.policy import Policy


def remarks(**rules: Any) -> list[str]:
    """The remarks on a policy that denies something; rules as in a configuration."""
    lists = {key: value.split(",") for key, value in rules.items() if key != "defpolicy"}
    lists.setdefault("deny", ["unheard-of.example"])
    policy = Policy.from_rules(
        rules.get("defpolicy", "allow"), lists.pop("allow", []), lists.pop("deny"), **lists
    )
    return list(policy.warnings)


@pytest.mark.parametrize(
    "rules",
    [
        {"deny": "@private"},
        {"deny": "@private", "allow": "10.1.2.0/24,@loopback"},
        {"deny": "@private", "allow": "intranet.example,intranet.example->10.0.0.0/8"},
        {"deny": "*.example", "allow": "good.example"},
        {"deny": "private.example"},
        {"defpolicy": "deny", "allow": "api.stripe.com"},
        {"defpolicy": "deny", "allow": "*.example", "deny": "bad.example"},
        {"deny": "@private", "deny_always": "@metadata"},
    ],
)
def test_rules_that_do_what_they_say(rules: dict[str, str]) -> None:
    assert remarks(**rules) == []


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("private", "@private"),
        ("metadata", "@metadata"),
        ("loopback", "@loopback"),
        ("own", "@own"),
        ("public", "@public"),
        ("all", "*"),
        ("any", "*"),
        ("external", "@public"),
        ("internal", "@private"),
        ("https://private", "@private"),
    ],
)
@pytest.mark.parametrize("key", ["allow", "deny", "deny_always", "report_deny"])
def test_a_word_that_looks_like_a_set(key: str, word: str, meant: str) -> None:
    (remark,) = (text for text in remarks(**{key: word}) if "one host" in text)
    assert remark.startswith(f"{key}: {word!r} is the name of one host; write {meant} for")


def test_a_second_star() -> None:
    assert remarks(deny="*evil*") == ["deny: '*evil*' matches nothing: only one * is special"]


@pytest.mark.parametrize(
    ("rules", "void", "winner"),
    [
        ({"allow": "192.168.0.0/16", "deny": "@private,192.168.1.5"}, "192.168.1.5", "allow=192"),
        ({"allow": "*", "deny": "@private"}, "@private", "allow=*"),
        ({"allow": "*.example", "deny": "bad.example"}, "bad.example", "allow=*.example"),
        ({"allow": "*.example", "deny": "*.bad.example"}, "*.bad.example", "allow=*.example"),
        ({"defpolicy": "deny", "allow": "10.1.2.3", "deny": "@private"}, "10.1.2.3", "deny=@p"),
        ({"allow": "127.0.0.1", "deny_always": "@loopback"}, "127.0.0.1", "deny_always=@loop"),
    ],
)
def test_a_rule_without_effect_because_of_another(
    rules: dict[str, str], void: str, winner: str
) -> None:
    (remark,) = (text for text in remarks(**rules) if "has no effect" in text)
    assert f": {void!r} has no effect: {winner}" in remark


@pytest.mark.parametrize(
    "name", ["intranet.example", "*.corp.example", "https://wiki.example:8443"]
)
def test_a_name_whose_private_address_is_still_refused(name: str) -> None:
    (remark,) = remarks(deny="@private", allow=name)
    assert remark.startswith(f"allow: {name!r} allows the name alone: deny=@private still refuses")
    assert f"allow={name} -> 10.0.0.0/8" in remark


def test_a_long_list_of_one_mistake_is_cut_short() -> None:
    found = remarks(allow="*", deny=",".join(f"h{number}.example" for number in range(100)))
    assert len(found) == 21
    assert found[-1] == "deny: 80 more rules of this kind"
