"""What the packages promise, as far as it can be seen without building them.

`make deb-test` does the rest: it installs, uses, upgrades, removes and purges the package.
"""

import configparser
import importlib.metadata
import os
import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest
import zmq

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
        re.split("[><=]", line)[0].lower().replace(".", "-")  # as package indexes spell them
        for line in setup["options"]["install_requires"].split()
    }
    pinned = (ROOT / "debian" / "requirements.txt").read_text()
    assert wanted <= set(re.findall(r"^([\w-]+)==", pinned, re.M))  # and what these need
    for block in re.split(r"^(?=[\w-]+==)", pinned, flags=re.M)[1:]:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block


def paragraphs_of_the_copyright() -> list[dict[str, str]]:
    """The paragraphs of debian/copyright, field by field."""
    text = (ROOT / "debian" / "copyright").read_text()
    return [
        dict(re.findall(r"^(\w+): ?((?:.*)(?:\n .*)*)", part, re.M)) for part in text.split("\n\n")
    ]


def test_the_copyright_covers_every_library_that_travels() -> None:
    patterns = [
        (pattern, paragraph["License"])
        for paragraph in paragraphs_of_the_copyright()
        for pattern in paragraph.get("Files", "").split()
        if pattern != "*"
    ]
    site = Path(zmq.__file__).parents[1]
    libraries = [*site.glob("pycurl.libs/*.so*"), *site.glob("pyzmq.libs/*.so*")]
    assert len(libraries) > 15
    pinned = re.findall(r"^([\w.-]+)==", (ROOT / "debian" / "requirements.txt").read_text(), re.M)
    files = [
        site / file
        for package in pinned
        for file in importlib.metadata.files(package) or ()
        if ".." not in file.parts and file.suffix in (".py", ".so")
    ]
    assert {"rich", "zmq"} <= {path.relative_to(site).parts[0] for path in files}
    for path in [*libraries, *files]:
        name = f"usr/lib/zurl-py/{path.relative_to(site)}"
        assert any(fnmatch(name, pattern) for pattern, _ in patterns), f"no licence for {name}"


def test_every_licence_is_included_in_full() -> None:
    paragraphs = paragraphs_of_the_copyright()
    texts = {
        p["License"].split("\n")[0]: p["License"]
        for p in paragraphs
        if "Files" not in p and "License" in p
    }
    used = {
        name
        for p in paragraphs
        if "Files" in p
        for name in re.split(r",? (?:and|or) ", p["License"].split("\n")[0])
    }
    assert used == set(texts)
    for name, text in texts.items():
        shipped = re.findall(r"/usr/share/doc/zurl-py/licenses/(\S+\.txt)", text)
        assert shipped or len(text) > 500, name
        for file in shipped:
            assert len((ROOT / "debian" / "licenses" / file).read_text()) > 5000, file
    for paragraph in paragraphs:
        for file in re.findall(r"zurl-py/licenses/(\S+\.txt)", paragraph.get("Comment", "")):
            assert (ROOT / "debian" / "licenses" / file).exists()


def test_mail_addresses_cannot_be_mistaken_for_real_ones() -> None:
    for name in ("debian/control", "debian/changelog", "SECURITY.md", "setup.cfg", "README.md"):
        text = (ROOT / name).read_text()
        # Debian wants an address: one under .invalid (RFC 2606) cannot be taken for one that works.
        for host in re.findall(r"[\w.-]+@([\w.-]+)", text):
            assert host == "zurl-py.invalid", name
    assert "issue tracker" in (ROOT / "debian" / "control").read_text()
    assert "SECURITY.md" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("missing", ["lintian", "fakeroot"])
def test_a_package_is_not_built_without_its_tools(missing: str, tmp_path: Path) -> None:
    """A user who may not install a missing tool gets its name, and no check is skipped."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("sh", "dirname", "mktemp", "mkdir", "rm", "sed", "tr", "cp", "make", "cat"):
        (tools / tool).symlink_to(require_peer(tool))
    for tool, text in {
        "git": "exit 0",
        "tar": "exit 0",
        "id": "echo 1000",
        "dpkg-checkbuilddeps": "exit 0",
        "fakeroot": "exit 0",
        "lintian": "exit 0",
    }.items():
        if tool != missing:
            (tools / tool).write_text(f"#!/bin/sh\n{text}\n")
            (tools / tool).chmod(0o755)
    result = subprocess.run(
        ["sh", str(ROOT / "tools" / "build-deb.sh")],
        env={"PATH": str(tools), "OUT": str(tmp_path / "out"), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 1
    assert f"missing: {missing}" in result.stderr
    assert not (tmp_path / "out").exists()


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
        timeout=60,
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
    [
        ("zurl.1", [_USAGE]),
        (
            "zurl-py.1",
            [
                *("serve", "check-config", "check-url", "version"),
                *("status", "top", "monitor", "keygen"),
            ],
        ),
    ],
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


def test_the_unit_of_deliver_is_as_hard_and_waits_to_be_configured(tmp_path: Path) -> None:
    analyze = require_peer("systemd-analyze")
    path = ROOT / "debian" / "zurl-py.zurl-deliver.service"
    copy = tmp_path / "zurl-deliver.service"
    copy.write_text(path.read_text())
    result = subprocess.run(
        [analyze, "security", "--offline=true", "--threshold=13", "--no-pager", str(copy)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    unit, daemon = settings(path), settings(UNIT)
    assert unit["ConditionPathExists"] == ["/etc/zurl-deliver.conf"]
    assert "--name=zurl-deliver --no-enable --no-start" in (ROOT / "debian" / "rules").read_text()
    # Whatever the daemon's unit takes away, this one does, too.
    own = {
        "ExecStartPre",
        "ExecStart",
        "Description",
        "Documentation",
        "Wants",
        "After",
        "RuntimeDirectory",
    }
    for key in daemon.keys() - own - {"TimeoutStopSec"}:
        assert unit[key] == daemon[key], key
