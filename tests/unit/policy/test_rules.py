"""Rules one by one: what they match, and what is no rule."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zurl_py.policy.addresses import parse_address
from zurl_py.policy.rulelist import RuleList
from zurl_py.policy.rules import PolicyError, Rule, Subject, parse_rule


def subject(text: str) -> Subject:
    return Subject(text, parse_address(text))


def matches(
    rule: str, host: str, port: int = 80, scheme: str = "http", denies: bool = True
) -> bool:
    parsed = parse_rule(rule)
    who = subject(host)
    to = who if who.address is not None else None
    return parsed.fits(port, scheme) and parsed.matches(who, who, to, denies)


@pytest.mark.parametrize(
    ("rule", "yes", "no"),
    [
        ("example.com", ["example.com"], ["www.example.com", "example.com.evil", "xexample.com"]),
        ("EXAMPLE.com.", ["example.com"], ["example.org"]),
        ("bücher.example", ["xn--bcher-kva.example"], ["bcher.example"]),
        ("*.example.com", ["a.example.com", "a.b.example.com"], ["example.com", "aexample.com"]),
        ("*.bücher.example", ["a.xn--bcher-kva.example"], ["xn--bcher-kva.example"]),
        ("bad*.test", ["bad.test", "bad-one.test"], ["bad", "abad.test", "bad.tes"]),
        ("ab*ba", ["abba", "abxba"], ["aba"]),
        ("*", ["x", "10.0.0.1", "::1"], []),
        ("10.*", ["10.1.2.3", "10.example", "::ffff:10.1.2.3"], ["110.1.2.3", "1.10.2.3"]),
        ("*.254", ["169.254.169.254"], ["169.254.169.253"]),
        ("fe80:*", ["fe80::1"], ["2001::1"]),
        ("*.evil.example.", ["a.evil.example"], ["evil.example"]),
        ("evil.example:*", ["evil.example"], ["a.evil.example"]),
        ("*.evil.example.:*", ["a.evil.example"], ["evil.example"]),
        ("[::1]:*", ["::1"], ["::2"]),
        ("☃.example", ["xn--n3h.example"], ["example"]),
        ("foo_bar.bücher.example", ["foo_bar.xn--bcher-kva.example"], ["bar.example"]),
        ("*::1", ["::1", "fd00::1"], ["::2"]),
        ("10.1.2.3", ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::a01:203"], ["10.1.2.4", "name"]),
        ("::1", ["::1"], ["::2", "127.0.0.1", "name"]),
        ("[::1]", ["::1"], ["::2"]),
        ("0:0::0:1", ["::1"], ["::2"]),
        ("10.0.0.0/8", ["10.0.0.0", "10.255.255.255", "2002:a01:203::"], ["11.0.0.0", "name"]),
        ("10/8", ["10.1.2.3"], ["11.0.0.0"]),
        ("172.16/12", ["172.16.0.0", "172.31.255.255"], ["172.32.0.0", "172.15.255.255"]),
        ("127.1/16", ["127.1.2.3"], ["127.2.0.1"]),
        ("10.0.0.0/255.0.0.0", ["10.1.2.3"], ["11.0.0.0"]),
        ("10.1.2.3/8", ["10.200.0.1"], ["11.0.0.0"]),
        ("0/0", ["1.2.3.4", "::ffff:1.2.3.4"], ["2606:4700::1", "name"]),
        ("fd00::/8", ["fd12::1"], ["fc00::1", "10.0.0.1"]),
        ("::/0", ["::1", "2606:4700::1"], ["10.0.0.1"]),
        ("@loopback", ["127.0.0.1", "::1", "localhost", "a.localhost"], ["10.0.0.1", "local"]),
        ("@private", ["10.0.0.1", "::1", "x.local", "x.internal"], ["8.8.8.8", "x.example"]),
        ("@PRIVATE", ["10.0.0.1"], ["8.8.8.8"]),
        ("@public", ["8.8.8.8", "2606:4700::1"], ["10.0.0.1", "::ffff:8.8.8.8", "example.com"]),
        ("@metadata", ["169.254.169.254", "metadata.google.internal"], ["169.254.1.1"]),
        ("@private", ["kubernetes.default", "kubernetes.default.svc"], ["kubernetes.example"]),
    ],
)
def test_who_matches(rule: str, yes: list[str], no: list[str]) -> None:
    for host in yes:
        assert matches(rule, host), host
    for host in no:
        assert not matches(rule, host), host


@pytest.mark.parametrize(
    ("rule", "host"),
    [
        ("10.0.0.0/8", "::ffff:10.1.2.3"),
        ("10.*", "::ffff:10.1.2.3"),
        ("@loopback", "64:ff9b::7f00:1"),
        ("@rfc1918", "2606:4700::5efe:a00:1"),
    ],
)
def test_rules_that_allow_do_not_look_into_embeddings(rule: str, host: str) -> None:
    assert matches(rule, host, denies=True)
    assert not matches(rule, host, denies=False)


@pytest.mark.parametrize(
    ("rule", "port", "scheme", "expected"),
    [
        ("h:80", 80, "http", True),
        ("h:80", 81, "http", False),
        ("h:80-90", 90, "ws", True),
        ("h:80-90", 91, "ws", False),
        ("*:80", 80, "http", True),
        ("@private:80", 80, "http", False),
        ("http://h", 80, "http", True),
        ("http://h", 80, "ws", True),
        ("http://h", 80, "https", False),
        ("h:*", 8080, "http", True),
        ("https://h:*", 8443, "https", True),
        ("https://h:*", 8080, "http", False),
        ("https://h", 443, "wss", True),
        ("https://h", 443, "ws", False),
        ("ws://h", 80, "ws", True),
        ("ws://h", 80, "http", False),
        ("wss://h:8443", 8443, "wss", True),
        ("wss://h:8443", 443, "wss", False),
    ],
)
def test_ports_and_schemes(rule: str, port: int, scheme: str, expected: bool) -> None:
    assert matches(rule, "h", port, scheme) is expected


@pytest.mark.parametrize(
    ("rule", "address", "port", "expected"),
    [
        ("10.0.0.0/8:80", "10.1.2.3", 80, True),
        ("10.0.0.0/8:80", "10.1.2.3", 81, False),
        ("[fd00::/8]:80", "fd00::1", 80, True),
        ("[fd00::1]:80", "fd00::1", 81, False),
        ("@private:8000-8999", "127.0.0.1", 8080, True),
    ],
)
def test_ports_of_addresses(rule: str, address: str, port: int, expected: bool) -> None:
    assert matches(rule, address, port) is expected


def bound(rule: str, host: str | None, to: str | None, denies: bool) -> bool:
    parsed = parse_rule(rule)
    on_behalf = subject(host) if host else None
    address = subject(to) if to else None
    who = address or on_behalf
    assert who is not None
    return parsed.matches(who, on_behalf, address, denies)


def test_a_pair_of_name_and_address() -> None:
    rule = "*.corp.example -> 10.1.0.0/16"
    for denies in (False, True):
        assert bound(rule, "a.corp.example", "10.1.2.3", denies)
        assert not bound(rule, "a.corp.example", "10.2.0.1", denies)
        assert not bound(rule, "evil.example", "10.1.2.3", denies)
    # The address is not known yet: the name may go on, and is not refused.
    assert bound(rule, "a.corp.example", None, denies=False)
    assert not bound(rule, "a.corp.example", None, denies=True)
    assert not bound(rule, "evil.example", None, denies=False)
    # The name is not known: refused rather than allowed.
    assert bound(rule, None, "10.1.2.3", denies=True)
    assert not bound(rule, None, "10.1.2.3", denies=False)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "@",
        "@privat",
        "@private*",
        "@private/8",
        "!example.com",
        "exa mple.com",
        "example.com/",
        "http://example.com/",
        "ftp://example.com",
        "http://",
        "*.",
        "example..com",
        ".example.com",
        "*.exa mple",
        "*@private",
        "127.1",
        "1.2.3.4.5",
        "0x7f.0.0.1",
        "010.0.0.1",
        "256.0.0.1",
        "10.0.0.0/33",
        "10.0.0.0/",
        "10.0.0.0/x",
        "10.0.0.0.0/8",
        "10.0.0.256/8",
        "example.com/8",
        "fd00::/129",
        "fd00::g",
        "[10.0.0.1]",
        "[::1",
        "::1]",
        "[::1]x",
        "h:",
        "h:0",
        "h:65536",
        "h:90-80",
        "h:x",
        "h:80,90",
        "h:80-",
        "h ->",
        "-> 10.0.0.0/8",
        "h -> x.example",
        "h -> *",
        "h -> 10.0.0.0/33",
        "h -> @nothing",
        "a -> b -> c",
        "xn--\u00fc.example",
    ],
)
def test_invalid_rules(text: str) -> None:
    with pytest.raises(PolicyError) as caught:
        RuleList("deny", [text], True)
    assert caught.value.key == "deny"
    assert str(caught.value).startswith("deny: ")


@given(st.text(max_size=30) | st.text(alphabet="@*.:/-[]>0123456789abfx ", max_size=30))
def test_any_text_is_parsed_or_refused_with_a_reason(text: str) -> None:
    try:
        rule = parse_rule(text)
    except PolicyError:
        return
    assert isinstance(rule, Rule)
    rule.matches(subject("a.example"), None, None, True)


_LABELS = st.lists(st.sampled_from(["a", "b", "c", "corp", "example"]), min_size=1, max_size=4)
_HOSTS = _LABELS.map(".".join) | st.sampled_from(["10.0.0.1", "::1", "::ffff:10.0.0.1", "8.8.8.8"])
_RULES = st.one_of(
    _HOSTS,
    _LABELS.map(lambda labels: "*." + ".".join(labels)),
    _LABELS.map(lambda labels: ".".join(labels) + "*"),
    st.sampled_from(["@private", "*", "*:80", "10.*", "*.1", "https://*.example", "a -> @public"]),
)


@given(st.lists(_RULES, max_size=12), _HOSTS, st.booleans())
def test_a_list_finds_what_its_rules_match_in_order(
    rules: list[str], host: str, denies: bool
) -> None:
    """The index by name is an optimisation only."""
    who = subject(host)
    to = who if who.address is not None else None
    found = RuleList("deny", rules, denies).matching(who, who, to, 80, "http")
    one_by_one = [parse_rule(text) for text in rules]
    assert [rule.text for rule in found] == [
        rule.text
        for rule in one_by_one
        if rule.fits(80, "http") and rule.matches(who, who, to, denies)
    ]


def test_a_pattern_with_two_stars_is_known_to_match_nothing() -> None:
    assert parse_rule("*.a.*").never
    assert not parse_rule("*.a.b").never
    assert not matches("*.a.*", "x.a.y")


@pytest.mark.parametrize(
    ("rule", "other"),
    [
        ("*", "@private"),
        ("*", "example.com:80"),
        ("*.example", "a.example"),
        ("*.example", "*.b.example"),
        ("a*c", "abc"),
        ("10.0.0.0/8", "10.1.2.3"),
        ("10.0.0.0/8", "10.1.0.0/16"),
        ("@private", "10.0.0.0/8"),
        ("@private", "@loopback"),
        ("@private", "printer.local"),
        ("@public", "93.184.215.14"),
        ("h", "https://h"),
        ("h:80-90", "h:85"),
    ],
)
def test_one_rule_covers_another(rule: str, other: str) -> None:
    assert parse_rule(rule).covers(parse_rule(other))
    assert not parse_rule(other).covers(parse_rule(rule))


@pytest.mark.parametrize(
    ("rule", "other"),
    [
        ("*.example", "example"),
        ("10.0.0.0/8", "11.0.0.0/8"),
        ("10.0.0.0/8", "fd00::/8"),
        ("@rfc1918", "10.0.0.0/7"),
        ("@private", "@public"),
        ("@private", "*.local"),
        ("http://h", "h"),
        ("h:80", "h:80-81"),
        ("*->@public", "h"),
        ("*a*", "a"),
    ],
)
def test_one_rule_does_not_cover_another(rule: str, other: str) -> None:
    assert not parse_rule(rule).covers(parse_rule(other))


_RULES = st.sampled_from(
    [
        *(
            "*",
            "*.a.test",
            "a.test",
            "b.a.test",
        ),
        *(
            "*a*",
            "b*t",
            "10.0.0.0/8",
            "10.1.0.0/16",
        ),
        *(
            "10.1.2.3",
            "@private",
            "@loopback",
            "@public",
        ),
        *(
            "::/0",
            "fd00::/8",
            "a.test:80",
            "https://a.test",
        ),
        *(
            "x.local",
            "*:80-90",
            "@private:80",
            "http://10.1.2.3",
        ),
        *(
            "*.local",
            "10.*",
            "8.8.8.8",
        ),
    ]
)
_HOSTS = st.sampled_from(
    [
        *(
            "a.test",
            "b.a.test",
            "x.local",
            "10.1.2.3",
        ),
        *(
            "10.2.0.1",
            "127.0.0.1",
            "8.8.8.8",
            "fd00::1",
        ),
        *("::1",),
    ]
)


@given(_RULES, _RULES, _HOSTS, st.sampled_from([80, 85, 443]), st.sampled_from(["http", "https"]))
def test_what_a_covered_rule_matches_the_other_matches(
    rule: str, other: str, host: str, port: int, scheme: str
) -> None:
    if parse_rule(rule).covers(parse_rule(other)) and matches(other, host, port, scheme, False):
        assert matches(rule, host, port, scheme, False)
