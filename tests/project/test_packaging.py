"""What the packages promise, as far as it can be seen without building them.

`make deb-test` does the rest: it installs, uses, upgrades, removes and purges the package.
"""

import configparser
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import zurl_py
from tests.conftest import require_peer
from tests.support import ROOT
from zurl_py.cli.zurl import _USAGE
from zurl_py.config import KEYS, Config, load

UNIT = ROOT / "debian" / "zurl-py.zurl.service"
MAN = ROOT / "docs" / "man"
PLAIN = str.maketrans("", "", "\\")


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit under the name that it is installed by."""
    path = tmp_path / "zurl.service"
    path.write_text(UNIT.read_text())
    return path


def settings(path: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def test_the_version_is_the_same_everywhere() -> None:
    changelog = (ROOT / "debian" / "changelog").read_text()
    assert changelog.startswith(f"zurl-py ({zurl_py.__version__}) ")
    for page in MAN.iterdir():
        assert f'"zurl_py {zurl_py.__version__}"' in page.read_text().splitlines()[0], page
    operations = (ROOT / "docs" / "operations.md").read_text()
    assert f"zurl-py_{zurl_py.__version__}_amd64.deb" in operations


def test_every_requirement_is_pinned_by_hash() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    wanted = {
        re.split("[><=]", line)[0].lower() for line in setup["options"]["install_requires"].split()
    }
    pinned = (ROOT / "debian" / "requirements.txt").read_text()
    assert wanted == set(re.findall(r"^([\w-]+)==", pinned, re.M))
    for block in re.split(r"^(?=[\w-]+==)", pinned, flags=re.M)[1:]:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block


def test_the_exposure_of_the_unit_is_small(unit: Path) -> None:
    analyze = require_peer("systemd-analyze")
    result = subprocess.run(
        [analyze, "security", "--offline=true", "--threshold=13", "--no-pager", str(unit)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"exposure level for zurl.service: 1\.[0-3] ", result.stdout), result.stdout


def test_the_unit_leaves_time_to_drain() -> None:
    unit = settings(UNIT)
    config = load(str(ROOT / "debian" / "zurl.conf"))
    assert int(unit["TimeoutStopSec"][0]) > config.drain_timeout + 5
    assert unit["Type"] == ["notify"]
    assert unit["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert config.ipc_file_mode == 0o660
    for spec in config.in_spec + config.in_stream_spec + config.out_spec + config.in_req_spec:
        assert spec.startswith(f"ipc:///run/{unit['RuntimeDirectory'][0]}/")


def test_the_image_is_not_root_and_takes_pinned_wheels() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert text.rindex("USER zurl:zurl") > text.rindex("RUN ")
    assert "--require-hashes" in text
    ignored = (ROOT / ".dockerignore").read_text()
    for source in re.findall(r"^COPY (?!--from)(\S+) ", text, re.M):
        assert f"!{source}\n" in ignored
        assert (ROOT / source).exists()


# -- completion --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["zurl", "--lo"], ["--logfile=", "--loglevel="]),
        (["zurl", "--verb"], ["--verbose"]),
        (["zurl", "--loglevel", "="], ["0", "1", "2", "3"]),
        (["zurl", "--loglevel", "=", "2"], ["2"]),
        (["zurl", "--config", "=", "zurl.conf.ex"], ["zurl.conf.example"]),
        (["zurl", "--config", "zurl.conf.ex"], ["zurl.conf.example"]),
    ],
)
def test_bash_completes_zurl(words: list[str], offered: list[str]) -> None:
    script = 'source debian/zurl.completion; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _zurl; '
    script += "printf '%s\\n' \"${COMPREPLY[@]}\""
    result = subprocess.run(
        ["bash", "-c", script, "bash", *words], cwd=ROOT, capture_output=True, text=True, timeout=20
    )
    assert (result.stdout.split(), result.stderr) == (offered, "")


def test_bash_completes_zurl_py() -> None:
    environment = {
        **os.environ,
        "_ZURL_PY_COMPLETE": "bash_complete",
        "COMP_WORDS": "zurl-py ch",
        "COMP_CWORD": "1",
    }
    result = subprocess.run(
        [sys.executable, "-m", "zurl_py"],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert result.stdout.split() == ["plain,check-config", "plain,check-url"]


# -- manual pages ------------------------------------------------------------------------------


def page(name: str) -> str:
    return (MAN / name).read_text().translate(PLAIN)


def test_the_manual_has_every_key_with_its_default() -> None:
    text = page("zurl.conf.5")
    default = Config()
    for key in KEYS:
        found = re.search(rf'^\.BR? (?:.*[ "])?{key}(?: .*)?$', text, re.M)
        assert found, key
        value = getattr(default, key)
        if isinstance(value, int) and value:
            body = re.split(r"^\.(?:TP|SS|SH)", text[found.end() :], maxsplit=1, flags=re.M)[0]
            assert f"Default: {str(value).lower()}." in body, key


@pytest.mark.parametrize(
    ("name", "usage"),
    [("zurl.1", [_USAGE]), ("zurl-py.1", ["serve", "check-config", "check-url", "version"])],
)
def test_the_manual_has_every_option(name: str, usage: list[str]) -> None:
    text = page(name)
    for part in usage:
        if name == "zurl-py.1":
            import click

            from zurl_py.cli import main

            command = main.get_command(click.Context(main), part)
            assert command is not None
            options = [o for p in command.params for o in p.opts if o.startswith("--")]
            assert f".SS {part}\n" in text
        else:
            options = re.findall(r"--\w+", part)
        assert options
        for option in options:
            assert option in text, option


def test_the_manual_pages_are_well_formed() -> None:
    man = require_peer("man")
    for path in MAN.iterdir():
        result = subprocess.run(
            [man, "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", str(path)],
            capture_output=True,
            text=True,
            timeout=60,
            env={"MANROFFSEQ": "", "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        )
        assert (result.returncode, result.stderr) == (0, ""), path
