"""Sections for hosts: which one holds, what it sets, and what is wrong with one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import CertificateAuthority
from zurl_py.config import Config, ConfigError, load
from zurl_py.config.hosts import choose_section
from zurl_py.egress.configure import host_settings

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(sections: str, general: str = "") -> str:
        path = tmp_path / "zurl.conf"
        path.write_text(f"[General]\nin_req_spec=ipc:///tmp/x\ndeny=@private\n{general}{sections}")
        return str(path)

    return write


def holds(config: Config, host: str, port: int = 443) -> str | None:
    section = choose_section(config.hosts, host, port, "https")
    return None if section is None else section.host


ALL = """
[host *.example.com]
timeout=1
[host api.*.example.com]
timeout=2
[host api.example.com]
timeout=3
[host API.example.com:8443]
timeout=4
[host 10.0.0.0/8]
timeout=5
[host 10.1.0.0/16]
timeout=6
[host 10.1.2.3]
timeout=7
[host [2001:db8::1]:8443]
timeout=8
[host 2001:db8::/32]
timeout=9
"""


@pytest.mark.parametrize(
    ("host", "port", "section"),
    [
        ("example.com", 443, None),
        ("www.example.com", 443, "*.example.com"),
        ("api.x.example.com", 443, "api.*.example.com"),
        ("api.example.com", 443, "api.example.com"),
        ("api.example.com", 8443, "api.example.com:8443"),
        ("10.9.9.9", 443, "10.0.0.0/8"),
        ("10.1.9.9", 443, "10.1.0.0/16"),
        ("10.1.2.3", 443, "10.1.2.3"),
        ("2001:db8::1", 8443, "[2001:db8::1]:8443"),
        ("2001:db8::1", 443, "2001:db8::/32"),
        ("192.0.2.1", 443, None),
    ],
)
def test_the_most_exact_section_holds(
    write: Write, host: str, port: int, section: str | None
) -> None:
    config = load(write(ALL))
    assert holds(config, host, port) == section
    assert [w for w in config.warnings if "host" in w] == []


def test_of_two_equal_sections_the_first_counts_and_the_other_is_named(write: Write) -> None:
    config = load(
        write("[host a.test]\ntimeout=1\n[host 10.0.0.0/8]\ntimeout=2\n[host 10/8]\ntimeout=3\n")
    )
    assert holds(config, "10.1.1.1") == "10.0.0.0/8"
    (warning,) = [w for w in config.warnings if "no effect" in w]
    assert "[host 10/8] has no effect: [host 10.0.0.0/8] in line 7" in warning


def test_a_repeated_section_is_another_one_and_the_first_counts(write: Write) -> None:
    twice = "[host a.example]\ntimeout=5\n[host A.example]\ntimeout=6\nproxy=http://127.0.0.1:1\n"
    config = load(write(twice))
    section = choose_section(config.hosts, "a.example", 443, "https")
    assert section is not None
    assert section.values == {"timeout": 5}
    (warning,) = [w for w in config.warnings if "no effect" in w]
    assert "[host a.example] has no effect: [host a.example] in line" in warning


def test_keys_missing_in_a_section_come_from_general_and_empty_means_none(write: Write) -> None:
    general = "proxy=http://127.0.0.1:3128\nhttp_version=1.1\nsource_address=127.0.0.1\n"
    config = load(
        write("[host a.test]\nproxy=\nhttp_version=3\n[host b.test]\nsource_address=\n", general)
    )
    settings = host_settings(config)
    a, b, c = (settings.of(f"{name}.test", 443, "https") for name in "abc")
    assert (a.proxy, a.http_version, a.source_address) == ("", "3", ("127.0.0.1",))
    assert (b.proxy, b.http_version, b.source_address) == ("http://127.0.0.1:3128", "1.1", ())
    assert c == settings.default


def test_no_proxy_has_the_syntax_of_rules(write: Write) -> None:
    general = "proxy=http://127.0.0.1:3128\nno_proxy=example.com,*.internal.test:8443,10.0.0.0/8\n"
    settings = host_settings(load(write("", general)))

    def proxy(host: str, port: int = 443) -> str:
        return settings.of(host, port, "https").proxy

    assert proxy("example.com") == proxy("10.1.1.1") == proxy("a.internal.test", 8443) == ""
    for host in ("www.example.com", "a.internal.test", "192.0.2.1"):
        assert proxy(host) == "http://127.0.0.1:3128"


def test_credentials_are_for_the_proxy_that_they_were_given_with(
    write: Write, tmp_path: Path
) -> None:
    (tmp_path / "c").write_text("u:s3cret\n")
    general = f"proxy=http://127.0.0.1:1\nproxy_credentials_file={tmp_path}/c\n"
    section = "[host a.test]\nproxy=http://127.0.0.1:2\n[host b.test]\nproxy=http://127.0.0.1:1\n"
    settings = host_settings(load(write(section, general)))
    assert settings.of("a.test", 80, "http").proxy_userpwd == ""
    assert settings.of("b.test", 80, "http").proxy_userpwd == "u:s3cret"
    assert "s3cret" not in repr(settings.default)


def test_files_of_a_client_certificate(
    write: Write, authority: CertificateAuthority, tmp_path: Path
) -> None:
    certificate, key = authority.leaf("client")
    section = f"[host a.test]\nclient_cert_file={certificate}\nclient_key_file={key}\n"
    other, other_key = authority.leaf("other")
    general = f"client_cert_file={other}\nclient_key_file={other_key}\n"
    settings = host_settings(
        load(write(section + "[host b.test]\nclient_cert_file=\nclient_key_file=\n", general))
    )
    shown = settings.of("a.test", 443, "https").client_certificate
    assert shown is not None
    assert shown.chain.strip() == Path(certificate).read_bytes().strip()
    assert "PRIVATE" not in repr(settings.of("a.test", 443, "https"))
    assert settings.of("b.test", 443, "https").client_certificate is None
    default = settings.default.client_certificate
    assert default is not None
    assert default.chain.strip() == Path(other).read_bytes().strip()


@pytest.mark.parametrize(
    ("sections", "general", "words"),
    [
        (
            "[host a.test]\nmax_open_requests=1\n",
            "",
            ":5: max_open_requests: it cannot be set by host",
        ),
        ("[host a.test]\ntimeout=x\n", "", ":5: timeout: found 'x'"),
        ("[host https://a.test]\ntimeout=1\n", "", "[host https://a.test]"),
        ("[host @private]\ntimeout=1\n", "", "[host @private]"),
        ("[host a*b*c]\ntimeout=1\n", "", "[host a*b*c]"),
        ("[host a.test]\nca_file=/nonexistent\n", "", "ca_file: cannot read /nonexistent"),
        ("[host a.test]\nca_file=/etc/passwd\n", "", "holds no certificates"),
        ("[host a.test]\nclient_cert_file=/x\n", "", "client_key_file is not"),
        ("[host a.test]\ntimeout=1\nclient_key_file=/x\n", "", ":6: client_key_file: client_key"),
        ("", "client_key_file=/x\n", "client_cert_file is not"),
        ("", "ca_file=/etc/passwd\n", "holds no certificates"),
        ("", "source_address=127.0.0.1,127.0.0.2\n", ":4: source_address"),
        ("", "source_address=localhost\n", ":4: source_address"),
        ("", "http_version=4\n", "allowed: 1.1 or 2 or 3"),
        ("", "tls_min_version=1.0\n", ":4: tls_min_version"),
        ("", "tls_groups=X25519:nosuch\n", "'nosuch' is not known"),
        ("", "no_proxy=a/b\n", ":4: no_proxy"),
        ("", "tcp_keepalive=-1\n", ":4: tcp_keepalive"),
    ],
)
def test_invalid_sections_prevent_the_start(
    write: Write, sections: str, general: str, words: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        load(write(sections, general))
    assert words in str(raised.value)


def test_an_unknown_key_is_a_warning(write: Write) -> None:
    config = load(write("[host a.test]\ntimeuot=1\nmax_connections=3\n"))
    (warning,) = [w for w in config.warnings if "unknown" in w]
    assert ":5: unknown key 'timeuot' in [host a.test], ignored; did you mean timeout?" in warning


def test_a_group_that_may_be_unknown_is_marked(write: Write) -> None:
    assert load(write("", "tls_groups=?nosuch:X25519\n")).tls_groups == "?nosuch:X25519"


def test_a_file_that_comes_from_general_is_told_with_the_section_that_does_not_fit(
    write: Write, authority: CertificateAuthority
) -> None:
    certificate, key = authority.leaf("client")
    _, other_key = authority.leaf("other")
    general = f"client_cert_file={certificate}\nclient_key_file={key}\n"
    line = load(write("", general)).origins["client_key_file"] + 2
    for setting in ("client_cert_file=", f"client_key_file={other_key}"):
        with pytest.raises(ConfigError) as raised:
            load(write(f"[host a.test]\n{setting}\n", general))
        assert f":{line}: client_" in str(raised.value)


@pytest.mark.parametrize(
    ("sections", "general", "words"),
    [
        ("", "no_proxy=a.test\n", ":4: no_proxy has no effect: there is no proxy"),
        ("[host a.test]\nproxy=http://127.0.0.1:1\n", "no_proxy=a.test\n", ""),
        ("", "http_version=3\nproxy=http://127.0.0.1:1\n", ":4: http_version=3 has no effect"),
        ("", "http_version=3\nproxy=http://127.0.0.1:1\nno_proxy=b.test\n", ""),
        ("[host a.test]\nproxy=\n", "http_version=3\nproxy=http://127.0.0.1:1\n", ""),
        ("[host a.test]\nproxy=\nhttp_version=3\n", "proxy=http://127.0.0.1:1\n", ""),
        (
            "[host a.test]\nproxy=socks5://127.0.0.1:1\nhttp_version=3\n",
            "",
            ":6: [host a.test]: http_version=3 has no effect: through a proxy it is 2 at most",
        ),
        (
            "[host a.test]\nhttp_version=3\n",
            "proxy=http://127.0.0.1:1\n",
            ":6: [host a.test]: http_version=3 has no effect: through a proxy it is 2 at most",
        ),
    ],
)
def test_what_has_no_effect_is_a_warning(
    write: Write, sections: str, general: str, words: str
) -> None:
    warnings = load(write(sections, general)).warnings
    found = [warning for warning in warnings if "no effect" in warning]
    assert len(found) == bool(words), found
    assert words in "".join(found)


@pytest.mark.parametrize(("scheme", "told"), [("http", True), ("socks5h", True), ("socks5", False)])
def test_which_proxies_look_names_up(write: Write, scheme: str, told: bool) -> None:
    warnings = load(write("", f"proxy={scheme}://127.0.0.1:1\n")).warnings
    assert any("it looks names up" in warning for warning in warnings) is told
