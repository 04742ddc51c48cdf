"""zurl.conf to Config: what is accepted, what is refused and in which words."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import ROOT
from zurl_py.config import KEYS, Config, ConfigError, load

MINIMAL = "in_req_spec=ipc:///run/req\n"


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    return tmp_path / "zurl.conf"


def read(conf: Path, text: str) -> Config:
    conf.write_text(text)
    return load(str(conf))


def refusal(conf: Path, text: str) -> ConfigError:
    conf.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(str(conf))
    return caught.value


DEBIAN = """\
[General]
# instance routing id. keep blank for random. set for better error recovery
instance_id=

in_spec=ipc:///var/run/zurl/zurl-in
in_stream_spec=ipc:///var/run/zurl/zurl-in-stream
out_spec=ipc:///var/run/zurl/zurl-out
in_req_spec=ipc:///var/run/zurl/zurl-req
ipc_file_mode=660
defpolicy=allow
allow=
deny=127.*,10.*,192.168.*,*.local
max_open_requests=2000
buffer_size=200000
timeout=600
in_hwm=1000
out_hwm=1000
"""

PUSHPIN = """\
[General]
# instance routing id. keep blank for random. set for better error recovery
instance_id=
# bind PULL for initiating a request
in_spec=ipc:///run/pushpin/pushpin-zurl-in
in_stream_spec=ipc:///run/pushpin/pushpin-zurl-in-stream
out_spec=ipc:///run/pushpin/pushpin-zurl-out
in_req_spec=
defpolicy=allow
allow=
deny=127.*,10.*,192.168.*,*.local
max_open_requests=2000
buffer_size=200000
timeout=600
in_hwm=1000
out_hwm=1000
"""


def test_a_file_of_debians_zurl(conf: Path) -> None:
    config = read(conf, DEBIAN)
    assert config.in_spec == ("ipc:///var/run/zurl/zurl-in",)
    assert config.in_req_spec == ("ipc:///var/run/zurl/zurl-req",)
    assert config.ipc_file_mode == 0o660
    assert (config.allow, config.deny) == ((), ("127.*", "10.*", "192.168.*", "*.local"))
    assert (config.max_open_requests, config.buffer_size, config.timeout) == (2000, 200_000, 600)
    (warning,) = config.warnings
    assert warning.startswith(
        f"{conf}:12: deny does not cover addresses that requests should rarely reach: "
    )
    for part in ("169.254.169.254", "@rfc1918 (172.16.0.0/12)", "ignore-policies, ignore-tls-err"):
        assert part in warning
    assert "report_deny=@private" in warning
    assert "127.0.0.0/8" not in warning


def test_the_file_that_pushpin_writes(conf: Path) -> None:
    config = read(conf, PUSHPIN)
    assert config.in_req_spec == ()
    assert config.ipc_file_mode is None
    assert all("deny does not cover" in warning for warning in config.warnings)
    assert config.drain_timeout < 4  # Pushpin kills its children after 4 seconds


def test_keys_without_value_have_zurls_default(conf: Path) -> None:
    config = read(conf, MINIMAL)
    assert dataclasses.replace(config, origins={}, in_req_spec=(), warnings=()) == Config()
    assert (config.defpolicy, config.buffer_size, config.timeout) == ("allow", 200_000, 600)
    assert (config.connection_max_time, config.in_hwm, config.out_hwm) == (7200, 1000, 1000)
    assert config.allow_ipv6 is False


def test_the_example_is_valid_and_denies_the_private_network() -> None:
    config = load(str(ROOT / "zurl.conf.example"))
    assert config.warnings == ()
    assert not config.policy().check_address("10.0.0.1", 80, "http")
    assert not config.policy().check_address("169.254.169.254", 80, "http")
    assert config.policy().check_address("93.184.216.34", 80, "http")


# Where the example says something else than the default
STRICTER = {
    "in_spec",
    "in_stream_spec",
    "out_spec",
    "in_req_spec",
    "ipc_file_mode",
    "deny",
    "deny_always",
    "max_open_requests",
    "allow_ignore_policies",
    "allow_ignore_tls_errors",
    "allow_connect_host",
    "allow_trust_connect_host",
    "allow_host_override",
}


def test_the_example_has_every_key_explained_and_mostly_at_its_default() -> None:
    text = (ROOT / "zurl.conf.example").read_text()
    config = load(str(ROOT / "zurl.conf.example"))
    assert set(config.origins) == set(KEYS)
    lines = text.splitlines()
    for key, number in config.origins.items():
        before = lines[number - 2]
        assert before.startswith("#") or before.partition("=")[0] in KEYS, f"{key} is not explained"
    default = Config()
    assert {key for key in KEYS if getattr(config, key) != getattr(default, key)} == STRICTER


def test_debians_configuration_is_the_example_with_a_longer_drain_and_a_status_socket() -> None:
    example, debian = (load(str(ROOT / p)) for p in ("zurl.conf.example", "debian/zurl.conf"))
    assert debian.warnings == ()
    assert [key for key in KEYS if getattr(example, key) != getattr(debian, key)] == [
        "drain_timeout",
        "metrics_listen",
    ]
    assert debian.drain_timeout == 30


def test_origins_are_line_numbers(conf: Path) -> None:
    config = read(conf, "[General]\n\n" + MINIMAL + "# comment\ntimeout=5\n")
    assert config.origins == {"in_req_spec": 3, "timeout": 5}


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        (
            "in_req_spec=ipc:///a,tcp://127.2.3.4:5/",
            "in_req_spec",
            ("ipc:///a", "tcp://127.2.3.4:5/"),
        ),
        ("in_req_spec=tcp://lo:5555", "in_req_spec", ("tcp://lo:5555",)),
        ("in_req_spec=tcp://*:1\nallow_insecure_tcp=true", "in_req_spec", ("tcp://*:1",)),
        ("in_req_spec=ipc://@abstract", "in_req_spec", ("ipc://@abstract",)),
        (
            "in_req_spec=tcp://127.0.0.1:*,tcp://127.0.0.1:*",
            "in_req_spec",
            ("tcp://127.0.0.1:*",) * 2,
        ),
        ("instance_id=" + "x" * 255, "instance_id", "x" * 255),
        ('instance_id="a # b"', "instance_id", "a # b"),
        ("instance_id=a#b", "instance_id", "a#b"),
        (
            "user_agent=zurl/1.0 (+https://a.example/)",
            "user_agent",
            "zurl/1.0 (+https://a.example/)",
        ),
        ('user_agent="a; b, c"', "user_agent", "a; b, c"),
        ("in_req_spec=ipc:///a,tcp://[::1]:*", "in_req_spec", ("ipc:///a", "tcp://[::1]:*")),
        ("in_req_spec=ipc:///" + "x" * 106, "in_req_spec", ("ipc:///" + "x" * 106,)),
        ('in_req_spec="ipc:///a,b"', "in_req_spec", ("ipc:///a,b",)),
        ("ipc_file_mode=0660", "ipc_file_mode", 0o660),
        ("ipc_file_mode=", "ipc_file_mode", None),
        ("defpolicy=deny", "defpolicy", "deny"),
        ("allow_ipv6=TRUE", "allow_ipv6", True),
        ("allow_ipv6=1", "allow_ipv6", True),
        ("allow_ipv6=", "allow_ipv6", False),
        ("max_open_requests=-1", "max_open_requests", -1),
        ("max_open_requests=", "max_open_requests", 0),
        ("timeout=-1", "timeout", 10_000_000),
        ("timeout=10 ; seconds", "timeout", 10),
        ("connection_max_time=0", "connection_max_time", 1),
        ("in_hwm=0", "in_hwm", 0),
        ("instance_id=a,b", "instance_id", "a,b"),
        ("drain_timeout=0", "drain_timeout", 0),
        ("allow_ports=80, 8000-8999", "allow_ports", ((80, 80), (8000, 8999))),
        ("nat64=decode,2001:db8:64::/96", "nat64", ("decode", "2001:db8:64::/96")),
        ("policy_mode=report", "policy_mode", "report"),
        ("allow_ignore_policies=no", "allow_ignore_policies", False),
        ("allow_connect_host=", "allow_connect_host", False),
        ("deny_always=@metadata", "deny_always", ("@metadata",)),
        ("proxy=http://proxy.example:3128", "proxy", "http://proxy.example:3128"),
        ("proxy=socks5h://[::1]:1080", "proxy", "socks5h://[::1]:1080"),
    ],
)
def test_a_value_is_read(conf: Path, line: str, field: str, value: Any) -> None:
    assert getattr(read(conf, MINIMAL + line), field) == value


@pytest.mark.parametrize(
    ("line", "allowed"),
    [
        ("in_req_spec=/run/x", "endpoints such as"),
        ("in_req_spec=tcp://*", "endpoints such as"),
        ("in_req_spec=tcp://*:65536", "endpoints such as"),
        ("in_req_spec=inproc://x", "endpoints such as"),
        ("in_req_spec=ipc://*", "an ipc path other than *"),
        ("in_req_spec=tcp://[::1:5", "endpoints such as"),
        ("in_req_spec=tcp://[localhost]:5", "an IPv6 address in brackets"),
        ("in_req_spec=tcp://::1:5", "endpoints such as"),
        ("in_req_spec=tcp://127.0.0.1:5//", "endpoints such as"),
        ("in_req_spec=tcp://*:5555", "can be reached from other machines"),
        ("in_req_spec=tcp://0.0.0.0:5555", "allow_insecure_tcp=true"),
        ("in_req_spec=tcp://[::]:5555", "can be reached"),
        ("in_req_spec=tcp://eth0:5555", "can be reached"),
        ("in_req_spec=ipc:///a,ipc:///a", "ipc:///a is given twice, in in_req_spec"),
        ("in_req_spec=tcp://127.0.0.1:5,tcp://127.0.0.1:5/", "is given twice"),
        ("in_req_spec=ipc:///a # requests", "a comment behind a value begins with ;"),
        ("timeout=5 # seconds", "a comment behind a value begins with ;"),
        ("instance_id=gw # the first", "a comment behind a value begins with ;"),
        ("deny=10.*, # private\n", "a comment behind a value begins with ;"),
        ("ca_file=#none", "a comment behind a value begins with ;"),
        ("instance_id=" + "x" * 256, "a name of 255 bytes at most"),
        ("instance_id=" + "é" * 128, "a name of 255 bytes at most"),
        ("user_agent=a\\nb", "printable ASCII"),
        ("user_agent=ü", "printable ASCII"),
        ("ca_file=/none", "cannot read /none: No such file or directory"),
        ("ca_file=/etc/passwd", "/etc/passwd holds no certificates"),
        ("ca_file=/etc", "ca_file: "),
        ("ca_file=/dev/null", "holds no certificates"),
        ("in_req_spec=ipc://", "1 to 107 bytes"),
        ("in_req_spec=ipc:///" + "x" * 107, "1 to 107 bytes"),
        ("in_req_spec=ipc:///" + "é" * 54, "1 to 107 bytes"),
        ("ipc_file_mode=99", "octal file mode"),
        ("ipc_file_mode=0o660", "octal file mode"),
        ("ipc_file_mode=7777", "octal file mode"),
        ("defpolicy=Allow", "allow or deny"),
        ("defpolicy=", "allow or deny"),
        ("allow_ipv6=maybe", "true or false"),
        ("timeout=0", "1 to 10000000, or -1"),
        ("timeout=10.5", "a whole number"),
        ("timeout=\u0661", "a whole number"),
        ("buffer_size=200 kB", "a whole number"),
        ("buffer_size=" + "9" * 30, "a whole number"),
        ("in_hwm=-1", "0 to"),
        ("deny=@nonsense", "unknown set @nonsense"),
        ('instance_id="x', "not closed"),
        ("allow_ports=0", "ports and ranges"),
        ("allow_ports=9-8", "ports and ranges"),
        ("allow_ports=http", "ports and ranges"),
        ("nat64=10.0.0.0/8", "NAT64"),
        ("policy_mode=", "enforce or report"),
        ("allow_ignore_policies=perhaps", "true or false"),
        ("proxy=proxy.example:3128", "http://HOST:PORT"),
        ("proxy=http://user:secret@proxy.example:3128", "proxy_credentials_file"),
        ("proxy_credentials_file=/nonexistent", "cannot read /nonexistent"),
    ],
)
def test_a_value_is_refused_by_file_line_key_and_what_is_allowed(
    conf: Path, line: str, allowed: str
) -> None:
    error = refusal(conf, MINIMAL + "\n" + line + "\n")
    key = line.partition("=")[0]
    assert allowed in str(error)
    assert str(error).startswith(f"{conf}:3: ")
    assert error.line == 3
    if error.key:
        assert f" {key}: " in str(error)


def test_proxy_credentials_are_read_and_not_shown(conf: Path) -> None:
    secret = conf.with_name("credentials")
    secret.write_text("me:s3cret\n")
    config = read(conf, MINIMAL + f"proxy=http://p:1\nproxy_credentials_file={secret}\n")
    assert config.proxy_credentials == "me:s3cret"
    assert "s3cret" not in repr(config)
    for wrong in ("no colon", "two:\nlines", "", "bell:\a"):
        secret.write_text(wrong)
        error = refusal(conf, MINIMAL + f"proxy_credentials_file={secret}\n")
        assert "not one line USER:PASSWORD" in str(error)
        assert error.line == 2


def test_the_policy_is_made_of_the_keys(conf: Path) -> None:
    policy = read(
        conf,
        MINIMAL + "deny=@private\nallow_ports=443\nrequire_tls=true\nallow_ignore_policies=false\n",
    ).policy()
    assert policy.check_name("example.com", 443, "https")
    assert not policy.check_name("example.com", 444, "https")
    assert not policy.check_name("example.com", 443, "http")
    assert not policy.check_address("127.0.0.1", 443, "https")
    asked = dict.fromkeys(("ignore_tls_errors", "connect_host", "trust_connect_host"), True)
    assert policy.check_privileges(ignore_policies=False, **asked)
    assert not policy.check_privileges(ignore_policies=True, **asked)


def test_a_configuration_without_deny_is_warned_of(conf: Path) -> None:
    (warning,) = read(conf, MINIMAL).warnings
    assert warning.startswith(f"{conf}: no deny rule: ")


def test_errors_name_the_list_that_holds_the_rule(conf: Path) -> None:
    error = refusal(conf, MINIMAL + "allow=*.example\ndeny=@private\nallow=@x\n")
    assert (error.key, error.line) == ("allow", 4)


@pytest.mark.parametrize("missing", ["in_spec", "in_stream_spec", "out_spec"])
def test_the_streaming_sockets_come_all_three_or_none(conf: Path, missing: str) -> None:
    lines = [f"{key}=ipc:///{key}" for key in ("in_spec", "in_stream_spec", "out_spec")]
    text = "\n".join(line for line in lines if not line.startswith(missing + "="))
    assert f"{missing} missing" in str(refusal(conf, MINIMAL + text))
    assert read(conf, "\n".join(lines)).in_req_spec == ()


def test_nothing_to_listen_on_is_refused(conf: Path) -> None:
    assert "nothing to listen on" in str(refusal(conf, "timeout=5\n"))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read it: No such file"):
        load(str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="cannot read it: Is a directory"):
        load(str(tmp_path))


def test_a_file_in_latin_1_is_read(conf: Path) -> None:
    conf.write_bytes(b"# caf\xe9\n" + MINIMAL.encode())
    assert load(str(conf)).in_req_spec == ("ipc:///run/req",)


@pytest.mark.parametrize(
    ("line", "warning"),
    [
        ("timeuot=5", ":2: unknown key 'timeuot', ignored; did you mean timeout?"),
        ("Timeout=5", ":2: unknown key 'Timeout', ignored; did you mean timeout?"),
        ("zzz=5", ":2: unknown key 'zzz', ignored"),
        ("nonsense", ":2: neither [section] nor key=value, ignored: 'nonsense'"),
        ("in_req_spec=ipc:///b", ":2: in_req_spec is given again; this one counts"),
        (
            "[Other]\ntimeout=5",
            ":3: unknown key 'timeout' in section [Other], ignored; keys belong into "
            "[General], some also into [host NAME]",
        ),
    ],
)
def test_doubtful_settings_are_warnings(conf: Path, line: str, warning: str) -> None:
    config = read(conf, MINIMAL + line)
    assert f"{conf}{warning}" in config.warnings
    assert config.timeout == 600


def test_the_last_of_two_counts_even_if_it_is_empty(conf: Path) -> None:
    assert read(conf, MINIMAL + "timeout=5\ntimeout=\n").timeout == 600


@pytest.mark.parametrize("key", ["proxy_credentials_file", "ca_file", "deny_file", "user_agent"])
def test_a_nul_is_refused(conf: Path, key: str) -> None:
    """No path may have one: to open it would raise ValueError."""
    with pytest.raises(ConfigError, match=f"{key} has a NUL character") as caught:
        read(conf, MINIMAL + f"{key}=/etc/\0\n")
    assert caught.value.line == len(MINIMAL.splitlines()) + 1


@given(
    st.sampled_from(sorted(KEYS)),
    st.text(st.characters(exclude_characters="\r\n\\", exclude_categories=["Cs"])),
)
def test_any_value_is_taken_or_refused_with_its_line(
    tmp_path_factory: pytest.TempPathFactory, key: str, raw: str
) -> None:
    conf = tmp_path_factory.getbasetemp() / "any.conf"
    conf.write_text(f"in_req_spec=ipc:///a\n{key}={raw}\n", encoding="utf-8")
    error = None
    try:
        load(str(conf))
    except ConfigError as caught:
        error = caught
    if error is not None and not key.endswith("_spec"):
        assert error.line == 2
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("text", "open_", "closed"),
    [
        ("deny=@private", (), ("deny leaves",)),
        ("deny=10.0.0.0/8\ndeny_always=@private", (), ("deny leaves",)),
        ("deny=*", (), ("deny leaves",)),
        ("defpolicy=deny\nallow=a.example\ndeny=b.example", (), ("deny leaves",)),
        ("deny=10.0.0.0/8\npolicy_mode=report", (), ("deny leaves",)),
        ("deny=@rfc1918,@metadata", ("@loopback (127.0.0.0/8)", "169.254.0.0/16"), ("@rfc1918",)),
        ("deny=evil.example", ("@metadata (169.254.169.254, ", "…)"), ("fc00",)),
        ("deny=evil.example\nallow_ipv6=true", ("@unique-local (fc00::/7)",), ()),
        ("deny=10.0.0.0/8\nallow_ignore_policies=false", ("every request may use ignore-tls",), ()),
        (
            "deny=10.0.0.0/8\nallow_ignore_policies=false\nallow_ignore_tls_errors=false\n"
            "allow_connect_host=false\nallow_trust_connect_host=false",
            ("172.16.0.0/12",),
            ("may use",),
        ),
    ],
)
def test_ranges_that_rules_do_not_cover_are_warned_of(
    conf: Path, text: str, open_: tuple[str, ...], closed: tuple[str, ...]
) -> None:
    warnings = "\n".join(read(conf, MINIMAL + text).warnings)
    for words in open_:
        assert words in warnings
    for words in closed:
        assert words not in warnings
