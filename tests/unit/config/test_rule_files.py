"""Rules in files of their own."""

from pathlib import Path

import pytest

from zurl_py.config import Config, ConfigError, load


def read(tmp_path: Path, *lines: str) -> Config:
    path = tmp_path / "zurl.conf"
    path.write_text("\n".join(("in_req_spec=ipc:///x", "deny=@private", *lines)))
    return load(str(path))


def test_the_rules_of_files_come_behind_those_of_the_key(tmp_path: Path) -> None:
    (tmp_path / "bad").write_text("# a list\n\n*.evil.example  # and why\nevil.example\n")
    other = tmp_path / "more"
    other.write_text("10.9.0.0/16\n")
    policy = read(tmp_path, f"deny_file=bad,{other}").policy()
    for name in ("evil.example", "a.evil.example"):
        assert not policy.check_name(name, 80, "http")
    assert policy.check_name("good.example", 80, "http")
    assert not policy.check_address("127.0.0.1", 80, "http")


@pytest.mark.parametrize(
    ("key", "rule", "allowed"),
    [
        ("allow_file", "10.1.2.3", True),
        ("deny_file", "93.184.215.14", False),
        ("deny_always_file", "93.184.215.14", False),
        ("report_deny_file", "93.184.215.14", True),
    ],
)
def test_each_list_has_its_files(tmp_path: Path, key: str, rule: str, allowed: bool) -> None:
    (tmp_path / "rules").write_text(rule)
    decision = read(tmp_path, f"{key}=rules").policy().check_address(rule, 80, "http")
    assert bool(decision) is allowed
    assert decision.rule.endswith(f"={rule}")
    assert decision.reported is (key == "report_deny_file")


def test_a_line_that_is_no_rule_is_named(tmp_path: Path) -> None:
    (tmp_path / "rules").write_text("evil.example\n\n127.1\n")
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, "deny_file=rules")
    assert str(caught.value).startswith(f"{tmp_path}/rules:3: '127.1' is not an address")


@pytest.mark.parametrize("name", ["nowhere", "folder", "latin"])
def test_a_file_that_cannot_be_read_is_named_with_the_line_of_the_key(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "latin").write_bytes(b"evil.example # \xe4\n")
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, f"deny_file={name}")
    assert str(caught.value).startswith(f"{tmp_path}/zurl.conf:3: deny_file: cannot read ")
    assert f"{tmp_path}/{name}" in str(caught.value)


def test_nat64_without_ipv6_is_said_to_have_no_effect(tmp_path: Path) -> None:
    assert any(
        "nat64 has no effect" in warning for warning in read(tmp_path, "nat64=decode").warnings
    )
    assert read(tmp_path, "nat64=decode", "allow_ipv6=true").warnings == ()
