"""``zurl-py check-url``: the report and the exit status."""

import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from zurl_py.cli import check_url as module
from zurl_py.cli import main

BASE = "[General]\nin_req_spec=tcp://127.0.0.1:5559\n"


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    path = tmp_path / "zurl.conf"
    path.write_text(BASE + "deny=@private\n")
    return path


def run(conf: Path, *arguments: str, status: int) -> list[str]:
    result = CliRunner().invoke(main, ["check-url", "--config", str(conf), *arguments])
    assert result.exit_code == status, result.output
    return result.output.splitlines()


def test_an_address_that_is_allowed(conf: Path) -> None:
    assert run(conf, "http://EXAMPLE.com/x", "-a", "93.184.215.14", status=0) == [
        "url:     http://example.com/x",
        "host:    example.com, port 80, http",
        "name:    allowed by defpolicy=allow",
        "address: 93.184.215.14: allowed by defpolicy=allow",
        "outcome: connects to 93.184.215.14, port 80",
    ]


def test_addresses_one_by_one(conf: Path) -> None:
    conf.write_text(BASE + "deny=@private\nallow_ipv6=true\n")
    lines = run(
        conf, "https://example.com/", "-a", "10.0.0.1", "-a", "::1", "-a", "8.8.8.8", status=0
    )
    assert lines[3:] == [
        "address: 10.0.0.1: refused by deny=@private (10.0.0.0/8 Private-Use (RFC 1918))",
        "address: ::1: refused by deny=@private (::1/128 Loopback Address (RFC 4291))",
        "address: 8.8.8.8: allowed by defpolicy=allow",
        "outcome: connects to 8.8.8.8, port 443",
    ]
    assert run(conf, "http://a.example/", "-a", "10.0.0.1", status=1)[-1] == (
        "outcome: policy-violation"
    )


def test_a_name_that_is_refused_is_not_looked_up(
    conf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "look_up", lambda *_: pytest.fail("looked up"))
    for url in ("http://printer.local/", "http://169.254.169.254/", "http://localhost/"):
        lines = run(conf, url, status=1)
        assert lines[2].startswith("name:    refused by deny=@private")
        assert lines[-1] == "outcome: policy-violation"


def test_localhost_is_where_libcurl_has_it(conf: Path) -> None:
    conf.write_text(BASE)
    lines = run(conf, "http://localhost:8080/", status=0)
    assert lines[-1] == "outcome: connects to 127.0.0.1, port 8080"
    conf.write_text(BASE + "allow_ipv6=true\n")
    lines = run(conf, "http://a.localhost/", status=0)
    assert lines[-1] == "outcome: connects to ::1 or 127.0.0.1, port 80"


def test_a_name_that_is_unknown(conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> list[str]:
        raise OSError(-2, "Name or service not known")

    monkeypatch.setattr(module, "look_up", unknown)
    assert run(conf, "http://nowhere.example/", status=1)[-2:] == [
        "address: Name or service not known",
        "outcome: remote-connection-failed",
    ]


@pytest.mark.parametrize("url", ["http://127.1/", "ftp://h/", "http://a\\@b/", "x", ""])
def test_invalid_urls(conf: Path, url: str) -> None:
    (line,) = run(conf, "--", url, status=2)
    assert line.startswith("bad-request: ")


def test_invalid_configurations(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["check-url", "-c", str(tmp_path / "x"), "http://h/"])
    assert result.exit_code == 2


def test_privileges_and_reports(conf: Path) -> None:
    conf.write_text(BASE + "deny=@private\ndeny_always=@metadata\n")
    arguments = ("http://h/", "-a", "10.0.0.1", "-a", "169.254.169.254")
    lines = run(conf, *arguments, "--ignore-policies", status=0)
    assert lines[2] == "privilege: allowed"
    assert lines[-2].startswith("address: 169.254.169.254: refused by deny_always=@metadata")
    assert lines[-1] == "outcome: connects to 10.0.0.1, port 80"
    conf.write_text(BASE + "deny=@private\nallow_ignore_policies=false\n")
    lines = run(conf, *arguments, "--ignore-policies", status=1)
    assert lines[2:] == [
        "privilege: refused by allow_ignore_policies=false",
        "outcome: policy-violation",
    ]
    conf.write_text(BASE + "deny=@private\npolicy_mode=report\n")
    assert (
        "allowed, but reported: would be refused by deny=@private"
        in run(conf, "http://10.0.0.1/", status=0)[2]
    )


def test_our_own_endpoints_are_known(conf: Path) -> None:
    conf.write_text(BASE + "deny=@own\n")
    assert run(conf, "http://127.0.0.1:5559/", status=1)[2] == (
        "name:    refused by deny=@own (127.0.0.0/8 Loopback (RFC 1122))"
    )
    run(conf, "http://127.0.0.1:5558/", status=0)


def test_with_a_proxy_nothing_is_looked_up(conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "look_up", lambda *_: pytest.fail("looked up"))
    conf.write_text(BASE + "deny=@private\nproxy=http://127.0.0.1:3128\n")
    assert "proxy" in run(conf, "http://example.com/", status=0)[-1]
    run(conf, "http://10.0.0.1/", status=1)


def test_ipv6_addresses_are_not_used_where_ipv6_is_off(
    conf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = "2606:4700::1111"
    off = f"address: {address}: not used, as allow_ipv6 is false"
    lines = run(conf, "https://example.com/", "--address", address, status=1)
    assert lines[-2:] == [off, "outcome: remote-connection-failed"]

    def only_ipv6(_host: str, family: socket.AddressFamily) -> list[str]:
        if family == socket.AF_INET:
            raise OSError(-5, "No address associated with hostname")
        return [address]

    monkeypatch.setattr(module, "_resolve", only_ipv6)
    assert run(conf, "https://six.example/", status=1)[-2] == off
    conf.write_text(BASE + "deny=@private\nallow_ipv6=true\n")
    assert run(conf, "https://six.example/", status=0)[-1].startswith("outcome: connects to 2606:")


def test_the_name_is_looked_up_as_the_daemon_does(
    conf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def resolve(host: str, _family: object) -> list[str]:
        asked.append(host)
        return ["93.184.215.14"]

    monkeypatch.setattr(module, "_resolve", resolve)
    run(conf, "http://intranet./", status=0)  # no search domain is put behind it
    run(conf, "http://intranet/", status=0)
    assert asked == ["intranet.", "intranet"]


def test_invalid_urls_and_addresses(conf: Path) -> None:
    (line,) = run(conf, "example.com", status=2)
    assert line.endswith("did you mean https://example.com ?")
    (line,) = run(conf, "http://example.com/", "--address", "bogus", status=2)
    assert line == "error: --address 'bogus' is not an IPv4 or IPv6 address"


def test_for_an_allowed_name_with_a_private_address_the_rule_is_suggested(conf: Path) -> None:
    conf.write_text(BASE + "deny=@private\nallow=intranet.example\n")
    lines = run(conf, "http://intranet.example/", "-a", "10.1.2.3", status=1)
    assert "allow=intranet.example -> 10.1.2.3 would allow this address, too" in lines[-2]
    conf.write_text(BASE + "deny=@private\nallow=intranet.example -> 10.1.2.3\n")
    run(conf, "http://intranet.example/", "-a", "10.1.2.3", status=0)
