"""The commands, as an operator types them."""

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

import zurl_py
from tests.support import ROOT, Daemon
from zurl_py.cli import main, preflight
from zurl_py.cli.zurl import UsageError, parse_options
from zurl_py.config import KEYS, Config, load

EXAMPLE = str(ROOT / "zurl.conf.example")
LOG_LINE = re.compile(r"\[(ERR|WARN|INFO)\] \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} .*")


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, timeout=60, cwd=ROOT
    )


def zurl(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run("zurl_py.cli.zurl", *arguments)


def zurl_py_(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run("zurl_py", *arguments)


def test_ctrl_c_wherever_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(type(main), "get_command", lambda *_: interrupted)
    with pytest.raises(SystemExit) as ended:
        main(["get"])
    assert ended.value.code == 130


# -- zurl, by Zurl's own command line ----------------------------------------------------------


def test_zurls_options_are_read() -> None:
    options = parse_options(
        ["--config=/c", "--logfile=/l", "--loglevel=1", "--foo", "--bar=2", "baz"]
    )
    assert (options.config, options.logfile, options.loglevel) == ("/c", "/l", 1)
    assert options.unknown == ["--foo", "--bar=2", "baz"]


def test_the_values_may_stand_apart() -> None:
    options = parse_options(["--config", "/c", "--logfile", "/l", "--loglevel", "0"])
    assert (options.config, options.logfile, options.loglevel) == ("/c", "/l", 0)


@pytest.mark.parametrize(
    ("arguments", "level"),
    [([], None), (["--verbose"], 3), (["--loglevel=7"], 3), (["--loglevel=0"], 0)],
)
def test_the_level(arguments: list[str], level: int | None) -> None:
    assert parse_options(arguments).loglevel == level


@pytest.mark.parametrize("argument", ["--loglevel=x", "--loglevel=-1", "--config=", "--logfile"])
def test_a_wrong_value_is_refused(argument: str) -> None:
    with pytest.raises(UsageError, match=argument.partition("=")[0]):
        parse_options([argument])
    result = zurl(argument)
    assert result.returncode == 1
    assert "usage: zurl" in result.stderr


def test_without_config_it_is_the_systems() -> None:
    assert parse_options([]).config == "/etc/zurl.conf"


def test_version_and_help() -> None:
    assert zurl("--version").stdout == f"zurl (zurl_py) {zurl_py.__version__}\n"
    assert zurl("--help").stdout.startswith("usage: zurl ")


def test_zurl_logs_to_standard_output_and_warns_of_unknown_options() -> None:
    with Daemon(arguments=("--foo",)) as daemon:
        daemon.wait_log("started")
        assert daemon.stop() == 0
        lines = daemon.log().splitlines()
    assert all(LOG_LINE.fullmatch(line) for line in lines), lines
    assert any("unknown option --foo, ignored" in line for line in lines)


def test_a_bad_configuration_is_reported_on_standard_error_and_in_the_log(tmp_path: Path) -> None:
    conf = tmp_path / "zurl.conf"
    conf.write_text("in_req_spec=ipc:///x\ntimeout=soon\n")
    log = tmp_path / "log"
    result = zurl(f"--config={conf}", f"--logfile={log}")
    told = f"{conf}:2: timeout: found 'soon', allowed: a whole number"
    assert result.returncode == 1
    assert told in result.stderr
    assert result.stdout == ""
    assert told in log.read_text()
    assert LOG_LINE.fullmatch(log.read_text().splitlines()[0])


def test_an_endpoint_that_cannot_be_bound_is_reported(tmp_path: Path) -> None:
    conf = tmp_path / "zurl.conf"
    conf.write_text(f"in_req_spec=ipc://{tmp_path}/missing/req\n")
    result = zurl(f"--config={conf}")
    assert result.returncode == 1
    assert f"{tmp_path}/missing/req" in result.stdout


def test_a_log_that_cannot_be_opened_is_reported(tmp_path: Path) -> None:
    result = zurl(f"--config={EXAMPLE}", f"--logfile={tmp_path}/missing/log")
    assert result.returncode == 1
    assert "cannot open the log" in result.stderr


def limited(soft: int, hard: int) -> list[str]:
    """A shell's words that start what follows with limits on descriptors."""
    return ["sh", "-c", f'ulimit -Sn {soft}; ulimit -Hn {hard}; exec "$0" "$@"']


def test_the_limit_of_descriptors_is_raised() -> None:
    command = [*limited(200, 3000), sys.executable, "-m", "zurl_py.cli.zurl"]
    with Daemon(command=command, max_open_requests=2000) as daemon:
        log = daemon.wait_log("started")
        limits = Path(f"/proc/{daemon.pid}/limits").read_text()
    assert re.search(r"^Max open files +3000 +3000 ", limits, re.M)
    assert "descriptors" not in log


def test_too_few_descriptors_are_warned_of() -> None:
    command = [*limited(200, 1000), sys.executable, "-m", "zurl_py.cli.zurl"]
    with Daemon(command=command, max_open_requests=2000) as daemon:
        log = daemon.wait_log("started")
    assert "max_open_requests=2000 takes more descriptors than the 1000 that" in log


def test_source_addresses_of_other_machines_are_warned_of(tmp_path: Path) -> None:
    conf = tmp_path / "zurl.conf"
    conf.write_text(
        f"[General]\nin_req_spec=ipc://{tmp_path}/req\nsource_address=127.0.0.1,2001:db8::1\n"
        "[host a.test]\nsource_address=192.0.2.1\n[host b.test]\nsource_address=\n"
    )
    warned = preflight.preflight(load(str(conf)), str(conf)).warnings
    ends = "is no address of this machine now: connections fail until it is"
    assert warned == [
        f"{conf}:3: source_address: 2001:db8::1 {ends}",
        f"{conf}:5: [host a.test]: source_address: 192.0.2.1 {ends}",
    ]


def test_sockets_in_a_private_tmp_are_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config(in_req_spec=("ipc:///tmp/x", "ipc:///var/tmp/y/x", "ipc:///run/x", "tcp://*:1"))
    monkeypatch.setattr(preflight, "private_tmp", lambda: True)
    warned = [text.partition(" ")[0] for text in preflight.preflight(config, "f").warnings]
    assert warned == ["ipc:///tmp/x", "ipc:///var/tmp/y/x"]
    monkeypatch.setattr(preflight, "private_tmp", lambda: False)
    assert not preflight.preflight(config, "f").warnings


# -- zurl-py -----------------------------------------------------------------------------------


def test_the_commands_are_listed() -> None:
    result = zurl_py_("--help")
    assert result.returncode == 0
    for command in ("serve", "check-config", "check-url", "version"):
        assert f"\n  {command} " in result.stdout
        assert zurl_py_(command, "--help").returncode == 0
    assert zurl_py_("nonsense").returncode == 2


def test_no_summary_of_a_command_is_cut_off() -> None:
    text = zurl_py_("--help").stdout.partition("Commands:")[2]
    assert "..." not in text
    summaries = re.split(r"\n  (?=\w)", text)[1:]
    assert len(summaries) > 10
    for summary in summaries:
        assert summary.rstrip().endswith("."), summary


def test_serve_logs_to_standard_error() -> None:
    daemon = Daemon()
    daemon.write_config()
    process = subprocess.Popen(
        [sys.executable, "-m", "zurl_py", "serve", "--config", str(daemon.config_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stderr is not None
    told = []
    for line in process.stderr:
        told.append(line.rstrip())
        if line.endswith("started\n"):
            break
    process.terminate()
    out, rest = process.communicate(timeout=60)
    daemon.close()
    assert process.returncode == 0
    assert out == ""
    assert all(LOG_LINE.fullmatch(line) for line in told + rest.splitlines()), (told, rest)


def test_serve_refuses_a_bad_configuration(tmp_path: Path) -> None:
    result = zurl_py_("serve", "--config", str(tmp_path / "none"))
    assert result.returncode == 1
    assert result.stderr.count("cannot read it: No such file or directory") == 1


def test_check_config_prints_what_is_in_effect_and_where_it_comes_from() -> None:
    result = zurl_py_("check-config", EXAMPLE)
    assert result.returncode == 0
    # /run/zurl is made when the service starts
    assert set(result.stderr.splitlines()) <= {
        f"warning: {EXAMPLE}: in_spec, in_stream_spec, out_spec, in_req_spec: the folder /run/zurl "
        "does not exist"
    }
    lines = result.stdout.splitlines()
    assert lines[0] == "[General]"
    assert [line.partition("=")[0] for line in lines[1:]] == list(KEYS)
    assert re.fullmatch(rf"ipc_file_mode=660 +; {EXAMPLE}:\d+", lines[6])


def test_what_check_config_prints_has_the_same_effect(tmp_path: Path) -> None:
    conf = tmp_path / "a.conf"
    conf.write_text(
        'in_req_spec="ipc:///a,b",tcp://127.0.0.1:1\ninstance_id="x; \\"y\\\\ "\n'
        "ipc_file_mode=0600\n"
        "allow_ipv6=yes\ntimeout=-1\ndeny=10.*,\\\n @metadata\n"
    )
    result = zurl_py_("check-config", str(conf))
    again = tmp_path / "b.conf"
    again.write_text(result.stdout)
    first, second = load(str(conf)), load(str(again))
    for key in KEYS:
        assert getattr(first, key) == getattr(second, key), key
    assert first.instance_id == 'x; "y\\ '
    assert re.search(r"^buffer_size=200000 +; default$", result.stdout, re.M)


def test_check_config_fails_with_file_and_line(tmp_path: Path) -> None:
    conf = tmp_path / "zurl.conf"
    conf.write_text("[General]\nin_req_spec=nowhere\n")
    result = zurl_py_("check-config", str(conf))
    assert result.returncode == 1
    assert result.stderr.startswith(f"error: {conf}:2: in_req_spec: found 'nowhere', allowed: ")
    assert result.stdout == ""


def test_check_config_warns_and_strict_fails(tmp_path: Path) -> None:
    conf = tmp_path / "zurl.conf"
    conf.write_text(f"in_req_spec=ipc://{tmp_path}/a\ndeny=@private\nfoo=1\n")
    result = zurl_py_("check-config", "--quiet", str(conf))
    assert (result.returncode, result.stdout) == (0, "")
    assert result.stderr == f"warning: {conf}:3: unknown key 'foo', ignored\n"
    assert zurl_py_("check-config", "--strict", str(conf)).returncode == 1


def test_version_says_what_is_inside() -> None:
    assert zurl_py_("version").stdout == f"zurl-py {zurl_py.__version__}\n"
    told = zurl_py_("version", "--verbose").stdout
    for name in ("Python", "pyzmq", "pycurl", "libzmq", "libcurl", "OpenSSL", "nghttp2"):
        assert re.search(rf"^{name}( \(in \w+\))?: \d+\.\d+", told, re.M), name


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions(shell: str) -> None:
    result = run("zurl_py", "completion", shell)
    assert result.returncode == 0
    assert "_ZURL_PY_COMPLETE" in result.stdout
