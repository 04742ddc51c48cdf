"""Policies as a whole: precedence, ports, privileges, reports, memory and counts."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import ROOT
from zurl_py.policy import Decision, Policy, PolicyError
from zurl_py.policy.addresses import parse_address
from zurl_py.policy.rules import Subject
from zurl_py.url import parse

_PAGE = ROOT / "docs" / "security.md"


def policy(**rules: Any) -> Policy:
    lists = {key: rules.pop(key, ()) for key in ("allow", "deny")}
    return Policy.from_rules(
        rules.pop("defpolicy", "allow"), lists["allow"], lists["deny"], **rules
    )


# -- the worked examples of docs/security.md ---------------------------------------------------


def worked_examples() -> list[tuple[str, str, str, str, str]]:
    """The rows of the table: configuration, URL, address, outcome, rule."""
    text = _PAGE.read_text().split("<!-- worked examples -->")[1]
    rows = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| `"):
            rows.append((cells[0], cells[1].strip("`"), cells[2], cells[3], cells[4].strip("`")))
    return rows


def from_settings(text: str) -> Policy:
    """The policy for settings as they stand in a cell of the table."""
    settings: dict[str, Any] = {}
    for setting in re.findall(r"`([^`]+)`", text):
        key, _, value = setting.partition("=")
        items = [item.strip() for item in value.split(",") if item.strip()]
        if key in ("allow", "deny", "deny_always", "report_deny", "nat64"):
            settings[key] = items
        elif key == "allow_ports":
            settings[key] = [(int(item), int(item)) for item in items]
        elif value in ("true", "false"):
            settings[key] = value == "true"
        else:
            settings[key] = value
    return policy(**settings)


def outcome(rules: Policy, url: str, address: str) -> Decision:
    """What becomes of a request: the name is asked about, then the address."""
    target = parse(url.encode())
    decision = rules.check_name(target.host, target.port, target.scheme)
    if decision.allowed and address != "–":
        by_name, decision = (
            decision,
            rules.check_address(address, target.port, target.scheme, target.host),
        )
        if decision.allowed and decision.code == "default":
            decision = by_name
    return decision


@pytest.mark.parametrize("row", worked_examples(), ids=lambda row: f"{row[0]} {row[1]}")
def test_worked_example(row: tuple[str, str, str, str, str]) -> None:
    settings, url, address, expected, rule = row
    decision = outcome(from_settings(settings), url, address)
    assert ("reported" if decision.reported else "allowed" if decision else "refused") == expected
    assert decision.rule == rule


def test_there_are_worked_examples() -> None:
    assert len(worked_examples()) >= 25


# -- precedence --------------------------------------------------------------------------------

_HOSTS = ["a.example", "b.example", "10.0.0.1", "8.8.8.8", "::1"]
_RULES = st.lists(
    st.sampled_from(["a.example", "*.example", "10/8", "@private", "*", "::1"]), max_size=3
)


@given(st.sampled_from(["allow", "deny"]), _RULES, _RULES, _RULES, st.sampled_from(_HOSTS))
def test_precedence_is_as_documented(
    default: str, allow: list[str], deny: list[str], always: list[str], host: str
) -> None:
    def any_of(key: str, rules: list[str]) -> bool:
        """Whether one of the rules matches, by a policy that knows nothing else."""
        if key == "deny":
            return not policy(deny=rules).check_name(host, 80, "http")
        return policy(defpolicy="deny", allow=rules).check_name(host, 80, "http").allowed

    allowed, denied = any_of("allow", allow), any_of("deny", deny)
    expected = (not denied or allowed) if default == "allow" else (allowed and not denied)
    expected = expected and not any_of("deny", always)
    rules = policy(defpolicy=default, allow=allow, deny=deny, deny_always=always)
    assert rules.check_name(host, 80, "http").allowed is expected
    if ":" in host or host[0].isdigit():
        assert rules.check_address(host, 80, "http").allowed is expected
        assert rules.check_address(host, 80, "http", host).allowed is expected


def test_the_first_rule_that_matches_is_named() -> None:
    rules = policy(deny=["x.example", "10.1.0.0/16", "@rfc1918", "10.*"])
    assert rules.check_address("10.1.2.3", 80, "http").rule == "deny=10.1.0.0/16"
    assert rules.check_address("10.2.0.1", 80, "http").rule == "deny=@rfc1918"
    decision = rules.check_address("10.2.0.1", 80, "http")
    assert decision.subject == "10.2.0.1"
    assert decision.code == "deny"
    assert decision.reason == "refused by deny=@rfc1918 (10.0.0.0/8 Private-Use (RFC 1918))"


def test_a_text_that_is_no_address_is_refused() -> None:
    for text in ("", "example.com", "10.0.0", "fe80::1%lo"):
        decision = policy().check_address(text, 80, "http")
        assert not decision.allowed
        assert decision.code == "address"


# -- ports and schemes -------------------------------------------------------------------------


def test_ports() -> None:
    rules = policy(allow_ports=[(80, 80), (8000, 8999)])
    for port, expected in ((80, True), (443, False), (7999, False), (8000, True), (8999, True)):
        assert rules.check_name("h", port, "http").allowed is expected
        assert rules.check_address("8.8.8.8", port, "http", "h").allowed is expected
        assert rules.check_address("8.8.8.8", port, "http").allowed is expected
    assert rules.check_name("h", 9000, "http").rule == "allow_ports=80,8000-8999"


def test_an_allow_rule_with_a_port_makes_an_exception_for_the_name_it_names() -> None:
    rules = policy(allow_ports=[(443, 443)], allow=["h:8080", "other"])
    assert rules.check_name("h", 8080, "http")
    assert rules.check_address("8.8.8.8", 8080, "http", "h")
    assert not rules.check_name("h", 8081, "http")
    assert not rules.check_name("other", 8080, "http")
    assert not rules.check_address("8.8.8.8", 8080, "http", "other")


def test_tls_can_be_required_but_for_exceptions() -> None:
    rules = policy(require_tls=True, allow=["http://old.example", "plain.example"])
    for scheme, expected in (("https", True), ("wss", True), ("http", False), ("ws", False)):
        assert rules.check_name("h", 1, scheme).allowed is expected
        assert rules.check_address("8.8.8.8", 1, scheme, "h").allowed is expected
    assert rules.check_name("old.example", 80, "http")
    assert rules.check_address("8.8.8.8", 80, "http", "old.example")
    assert not rules.check_name("plain.example", 80, "http")


# -- pairs of name and address -----------------------------------------------------------------


def test_a_pair_opens_an_address_for_one_name_only() -> None:
    rules = policy(deny=["@private"], allow=["wiki.corp.example->10.1.0.0/16"])
    assert rules.check_name("wiki.corp.example", 80, "http")
    assert rules.check_address("10.1.2.3", 80, "http", "wiki.corp.example")
    assert not rules.check_address("10.2.0.1", 80, "http", "wiki.corp.example")
    assert not rules.check_address("10.1.2.3", 80, "http", "evil.example")
    assert not rules.check_address("10.1.2.3", 80, "http")
    assert rules.check_address("8.8.8.8", 80, "http", "evil.example")


def test_a_pair_lifts_a_refusal_of_the_name_only_for_its_addresses() -> None:
    rules = policy(deny=["*.internal"], allow=["*.internal->10.1.0.0/16"])
    assert rules.check_name("a.internal", 80, "http")
    assert rules.check_address("10.1.2.3", 80, "http", "a.internal")
    decision = rules.check_address("8.8.8.8", 80, "http", "a.internal")
    assert not decision
    assert decision.rule == "deny=*.internal"


def test_names_that_may_only_be_public() -> None:
    rules = policy(defpolicy="deny", allow=["*.example->@public"])
    assert rules.check_address("8.8.8.8", 443, "https", "a.example")
    assert not rules.check_address("10.0.0.1", 443, "https", "a.example")
    assert not rules.check_name("8.8.8.8", 443, "https")
    assert not rules.check_address("8.8.8.8", 443, "https", "evil.test")


def test_a_pair_that_denies() -> None:
    rules = policy(deny=["*.example->@private"])
    assert rules.check_name("a.example", 80, "http")
    assert not rules.check_address("10.0.0.1", 80, "http", "a.example")
    assert rules.check_address("10.0.0.1", 80, "http", "a.test")
    assert not rules.check_address("10.0.0.1", 80, "http")  # on whose behalf is not known


# -- privileges --------------------------------------------------------------------------------

_ASKED = dict.fromkeys(
    ("ignore_policies", "ignore_tls_errors", "connect_host", "trust_connect_host"), False
)


@pytest.mark.parametrize("name", _ASKED)
def test_privileges(name: str) -> None:
    rules = policy(**{f"allow_{name}": False})
    for asked in _ASKED:
        decision = rules.check_privileges(**{**_ASKED, asked: True})
        assert decision.allowed is (asked != name)
        if asked == name:
            assert decision.rule == f"allow_{name}=false"
            assert decision.subject == name.replace("_", "-")
            assert decision.code == "privilege"
    assert rules.counts == {f"allow_{name}=false": 1}
    assert rules.check_privileges(**_ASKED)
    assert policy().check_privileges(**dict.fromkeys(_ASKED, True))


def test_ignore_policies_does_not_override_deny_always() -> None:
    rules = policy(
        defpolicy="deny",
        deny=["*"],
        deny_always=["@metadata", "evil.example"],
        allow_ports=[(443, 443)],
        require_tls=True,
    )
    free = rules.privileged()
    assert free is rules.privileged()
    assert free.check_name("h", 80, "http")
    assert free.check_address("10.0.0.1", 80, "http", "h")
    assert not free.check_name("evil.example", 443, "https")
    decision = free.check_address("169.254.169.254", 80, "http", "h")
    assert not decision
    assert decision.rule == "deny_always=@metadata"
    assert rules.counts["deny_always=@metadata"] == 1
    assert not free.check_address("::ffff:169.254.169.254", 80, "http", "h")


def test_allow_does_not_override_deny_always() -> None:
    rules = policy(deny=["@private"], allow=["*"], deny_always=["@metadata"])
    assert rules.check_address("10.0.0.1", 80, "http")
    assert not rules.check_address("169.254.169.254", 80, "http")
    assert not rules.check_name("metadata.google.internal", 80, "http")


# -- reports -----------------------------------------------------------------------------------


def test_a_reporting_policy_refuses_nothing_but_deny_always() -> None:
    rules = policy(
        deny=["@private"],
        deny_always=["@metadata"],
        allow_ports=[(80, 80)],
        policy_mode="report",
        allow_ignore_policies=False,
    )
    seen: list[Decision] = []
    rules.observe = seen.append
    for _ in range(2):
        assert rules.check_address("10.0.0.1", 80, "http")
    assert rules.check_name("h", 81, "http")
    assert rules.check_privileges(**{**_ASKED, "ignore_policies": True})
    assert not rules.check_address("169.254.169.254", 80, "http")
    assert [decision.rule for decision in seen] == [
        "deny=@private",
        "deny=@private",
        "allow_ports=80",
        "allow_ignore_policies=false",
    ]
    assert all(decision.reported and decision.allowed for decision in seen)
    assert rules.counts == {
        "deny=@private": 2,
        "allow_ports=80": 1,
        "allow_ignore_policies=false": 1,
        "deny_always=@metadata": 1,
    }


def test_rules_can_be_tried_beside_those_in_force() -> None:
    rules = policy(deny=["10/8"], report_deny=["@private"], allow=["192.168.1.1"])
    seen: list[Decision] = []
    rules.observe = seen.append
    assert not rules.check_address("10.0.0.1", 80, "http")
    assert rules.check_address("192.168.1.1", 80, "http")
    assert rules.check_address("8.8.8.8", 80, "http")
    assert seen == []
    assert rules.check_address("172.16.0.1", 80, "http")
    assert [decision.rule for decision in seen] == ["report_deny=@private"]
    assert rules.counts == {"deny=10/8": 1, "report_deny=@private": 1}


# -- NAT64 -------------------------------------------------------------------------------------


def test_nat64_is_refused_unless_it_is_decoded() -> None:
    assert not policy(deny=["@private"]).check_address("64:ff9b::808:808", 80, "http")
    rules = policy(deny=["@private"], allow=["10.1.0.0/16"], nat64=["decode", "2001:db8:64::/96"])
    for prefix in ("64:ff9b::", "2001:db8:64::"):
        assert rules.check_address(prefix + "808:808", 80, "http")
        assert rules.check_address(prefix + "a01:203", 80, "http")
        assert not rules.check_address(prefix + "7f00:1", 80, "http")
        assert not rules.check_address(prefix + "a9fe:a9fe", 80, "http")
    assert not rules.check_address("64:ff9b:1::808:808", 80, "http")
    assert not rules.check_address("2001:db8:65::808:808", 80, "http")


def test_an_unusable_nat64_prefix() -> None:
    with pytest.raises(PolicyError) as caught:
        policy(nat64=["64:ff9b::/97"])
    assert caught.value.key == "nat64"


# -- our own endpoints -------------------------------------------------------------------------


def test_our_own_endpoints_are_private() -> None:
    here = {"8.8.8.8"}
    rules = policy(deny=["@private"], own_ports=[5555], is_local=here.__contains__)
    assert not rules.check_address("8.8.8.8", 5555, "http")
    assert not rules.check_name("8.8.8.8", 5555, "http")
    assert rules.check_address("8.8.8.8", 80, "http")
    assert rules.check_address("9.9.9.9", 5555, "http")
    here.clear()  # an address may move away
    assert rules.check_address("8.8.8.8", 5555, "http")
    assert not policy(deny=["@own"], own_ports=[1], is_local=lambda _: True).check_address(
        "8.8.8.8", 1, "http"
    )


# -- construction, warnings, memory ------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "key"),
    [
        ({"defpolicy": "Allow"}, "defpolicy"),
        ({"policy_mode": "log"}, "policy_mode"),
        ({"allow": ["@x"]}, "allow"),
        ({"deny": ["10.0.0.0/33"]}, "deny"),
        ({"deny_always": ["127.1"]}, "deny_always"),
        ({"report_deny": [""]}, "report_deny"),
    ],
)
def test_unusable_rules_name_their_key(rules: dict[str, Any], key: str) -> None:
    with pytest.raises(PolicyError) as caught:
        policy(**rules)
    assert caught.value.key == key
    assert key in str(caught.value)


def test_warnings() -> None:
    assert len(policy().warnings) == 1
    assert "deny=@private" in policy().warnings[0]
    assert policy(deny=["@private"]).warnings == ()
    assert policy(defpolicy="deny").warnings == ()
    assert "a.*.b.*" in policy(deny=["a.*.b.*"]).warnings[0]
    assert "report" in policy(deny=["x"], policy_mode="report").warnings[0]


def test_refusals_are_counted_however_often_they_are_remembered() -> None:
    rules = policy(deny=["@private", "evil.example"])
    for _ in range(3):
        rules.check_address("10.0.0.1", 80, "http")
        rules.check_name("evil.example", 80, "http")
        rules.check_name("good.example", 80, "http")
    assert rules.counts == {"deny=@private": 3, "deny=evil.example": 3}


def test_memory_is_bounded() -> None:
    rules = policy(deny=["@private"])
    for number in range(25_000):
        rules.check_name(f"{number}.example", 80, "http")
        rules.check_address(f"8.8.{number >> 8}.{number & 255}", 80, "http")
    assert len(rules._names) <= 10_000
    assert len(rules._addresses) <= 10_000


def test_long_lists_do_not_slow_decisions() -> None:
    """A rule out of a hundred thousand is found without trying them all."""
    names = [f"n{number}.example" for number in range(30_000)]
    ranges = [f"{number >> 8}.{number & 255}.0.0/20" for number in range(30_000)]
    rules = policy(deny=[*names, *(f"*.{name}" for name in names), *ranges])
    assert rules.check_name("a.b.n29999.example", 80, "http").rule == "deny=*.n29999.example"
    assert rules.check_name("n5.example", 80, "http").rule == "deny=n5.example"
    assert rules.check_name("m5.example", 80, "http")
    assert rules.check_address("10.1.2.3", 80, "http").rule == "deny=10.1.0.0/20"
    assert rules.check_address("::ffff:10.1.2.3", 80, "http").rule == "deny=10.1.0.0/20"
    assert rules.check_address("10.1.255.3", 80, "http")
    for text in ("a.b.n29999.example", "m5.example", "10.1.2.3", "::ffff:10.1.2.3"):
        who = Subject(text, parse_address(text))
        assert len(list(rules._rules.deny._candidates(who))) <= 2


def test_what_is_reported_of_a_privileged_request_is_observed_too() -> None:
    rules = policy(policy_mode="report", allow_ignore_policies=False)
    privileged = rules.privileged()
    seen: list[Decision] = []
    rules.observe = seen.append
    decision = privileged.check_privileges(
        ignore_policies=True,
        ignore_tls_errors=False,
        connect_host=False,
        trust_connect_host=False,
    )
    assert decision.reported
    assert seen == [decision]
