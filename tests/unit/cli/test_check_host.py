"""``check-config --host``: what holds for one host, and from which line."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from zurl_py.cli import main

TEXT = """[General]
in_req_spec=ipc:///tmp/zurl-check-host
deny=@private
proxy=http://127.0.0.1:3128
no_proxy=straight.test
max_connections_per_host=7
[host api.test]
proxy=
http_version=1.1
[host *.test]
max_connections=3
[host ::1]
timeout=1
[host [2001:db8::1]:8443]
timeout=2
[host 2001:db8::/32]
timeout=3
"""


def check(tmp_path: Path, host: str) -> Result:
    file = tmp_path / "zurl.conf"
    file.write_text(TEXT)
    return CliRunner().invoke(main, ["check-config", "--host", host, str(file)])


def shown(tmp_path: Path, host: str) -> dict[str, str]:
    """Each line of the output: what is set, and where it comes from."""
    file = tmp_path / "zurl.conf"
    outcome = check(tmp_path, host)
    lines = [line.partition("  ; ") for line in outcome.stdout.splitlines()]
    return {left.strip(): right.removeprefix(f"{file}:") for left, _, right in lines}


def test_a_section_wins_and_general_is_the_rest(tmp_path: Path) -> None:
    lines = shown(tmp_path, "api.test")
    assert "[host api.test]" in lines
    assert lines["proxy="] == "8"
    assert lines["http_version=1.1"] == "9"
    assert lines["max_connections=7"] == "6"
    assert lines["timeout=600"] == "default"


def test_the_file_may_be_an_option_as_with_other_commands(tmp_path: Path) -> None:
    expected = check(tmp_path, "api.test").stdout
    file = str(tmp_path / "zurl.conf")
    for option in ("--config", "-c"):
        made = CliRunner().invoke(main, ["check-config", option, file, "--host", "api.test"])
        assert (made.exit_code, made.stdout) == (0, expected)


def test_no_proxy_is_shown(tmp_path: Path) -> None:
    lines = shown(tmp_path, "straight.test")
    assert "[host *.test]" in lines
    assert lines["proxy="] == "5, no_proxy"
    assert lines["max_connections=3"] == "11"


def test_without_a_section_general_applies(tmp_path: Path) -> None:
    lines = shown(tmp_path, "example.com:8443")
    assert "[General]" in lines
    assert lines["proxy=http://127.0.0.1:3128"] == "4"
    assert lines["http_version=2"] == "default"


@pytest.mark.parametrize(
    ("host", "section", "timeout"),
    [
        ("::1", "[host ::1]", 1),
        ("[::1]", "[host ::1]", 1),
        ("[::1]:443", "[host ::1]", 1),
        ("0:0:0:0:0:0:0:1", "[host ::1]", 1),
        ("[2001:db8::1]:8443", "[host [2001:db8::1]:8443]", 2),
        ("2001:DB8::1", "[host 2001:db8::/32]", 3),
        ("[2001:db8::1]:443", "[host 2001:db8::/32]", 3),
        ("2001:db8::1:8443", "[host 2001:db8::/32]", 3),  # an address, to its end
        ("127.0.0.1:443", "[General]", 600),
    ],
)
def test_addresses(tmp_path: Path, host: str, section: str, timeout: int) -> None:
    lines = shown(tmp_path, host)
    assert section in lines
    assert f"timeout={timeout}" in lines


@pytest.mark.parametrize(
    "host",
    [
        *(
            "",
            ":80",
            "a.test:0",
            "a.test:70000",
            "a b",
            "[::1",
            "::1]",
            "1.2.3",
            "a:b:c",
            "fe80::1%1",
        ),
        *("https://a.test/", "a.test/x", "u@a.test", "a.test?x", "a.test#x", "a.test\\x"),
    ],
)
def test_invalid_hosts(tmp_path: Path, host: str) -> None:
    outcome = check(tmp_path, host)
    assert outcome.exit_code == 2
    assert "Invalid value for --host" in outcome.stderr
