"""What keeps the daemon from starting: one line that says why, and check-config says the same."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT, Daemon, Worker, free_port, wait_until
from tests.support.deadline import DEADLINE
from zurl_py.cli.check_config import check_config as check_config_command

ZURL = [sys.executable, "-m", "zurl_py.cli.zurl"]
ZURL_PY = [sys.executable, "-m", "zurl_py"]


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        cwd=ROOT,
        env={**os.environ, **environment},
    )


def check(*arguments: str) -> tuple[int, str]:
    """Exit status and standard error of check-config, which runs in this process."""
    from click.testing import CliRunner

    result = CliRunner().invoke(check_config_command, ["--quiet", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.stderr


def write(tmp_path: Path, text: str, name: str = "zurl.conf") -> str:
    conf = tmp_path / name
    conf.write_text(f"[General]\ndeny=@private\n{text}\n")
    return str(conf)


def refuses(tmp_path: Path, text: str, words: str) -> None:
    """Both the start and check-config end with 1, and with one line that has these words."""
    conf = write(tmp_path, text)
    result = run(*ZURL, f"--config={conf}")
    assert result.returncode == 1, result.stdout
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("[ERR]")]
    assert words in line
    assert "Traceback" not in result.stdout + result.stderr
    code, told = check(conf)
    assert code == 1
    (line,) = told.splitlines()
    assert line.startswith("error: ")
    assert words in line


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("file", "a regular file is in the way"),
        ("pipe", "a named pipe is in the way"),
        ("link", "a symbolic link is in the way"),
        ("folder", "a folder is in the way"),
    ],
)
def test_files_that_are_no_sockets_are_not_removed(tmp_path: Path, kind: str, words: str) -> None:
    path = tmp_path / "data"
    target = tmp_path / "target"
    target.write_text("precious")
    if kind == "file":
        path.write_text("precious")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to(target)
    else:
        path.mkdir()
    before = path.lstat()
    refuses(tmp_path, f"in_req_spec=ipc://{path}", words)
    refuses(tmp_path, f"in_req_spec=ipc://{path}", f"in_req_spec: cannot bind ipc://{path}: ")
    assert path.lstat().st_ino == before.st_ino
    assert target.read_text() == "precious"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("in_req_spec=ipc://*", "in_req_spec: found 'ipc://*', allowed: "),
        ("in_req_spec=ipc:///a,ipc:///a", "in_req_spec: ipc:///a is given twice"),
        ("in_req_spec=tcp://192.0.2.1:5555\nallow_insecure_tcp=true", "no address of this machine"),
        ("in_req_spec=tcp://nowhere:5555\nallow_insecure_tcp=true", "neither an address nor an"),
        ("in_req_spec=tcp://*:5555", "allow_insecure_tcp=true"),
        ("in_req_spec=ipc:///a\ninstance_id=" + "x" * 256, "instance_id: "),
        ("in_req_spec=ipc:///a\nca_file=/none", "ca_file: cannot read /none"),
        ("in_req_spec=ipc:///a\nca_file=/etc/passwd", "ca_file: /etc/passwd holds no certificates"),
        (
            "in_req_spec=ipc:///a # all of them",
            "in_req_spec: found 'ipc:///a # all of them'; a comm",
        ),
    ],
)
def test_contradictory_endpoints_prevent_the_start(tmp_path: Path, text: str, words: str) -> None:
    refuses(tmp_path, text, words)


def test_one_endpoint_in_two_spellings(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "var").symlink_to("run")
    specs = ",".join(f"ipc://{tmp_path}/{folder}/req" for folder in ("run", "var"))
    refuses(tmp_path, f"in_req_spec={specs}", "var/req is given twice")


def test_one_endpoint_under_two_keys(tmp_path: Path) -> None:
    specs = ["in_spec=ipc:///a", "in_stream_spec=ipc:///b", "out_spec=ipc:///a"]
    refuses(tmp_path, "\n".join(specs), "out_spec: ipc:///a is given twice, in in_spec as well")


@pytest.mark.parametrize(
    ("spec", "listener"), [("tcp://127.0.0.1:5", "127.0.0.1:5"), ("ipc:///a", "unix:/a")]
)
def test_the_status_listener_where_workers_connect(
    tmp_path: Path, spec: str, listener: str
) -> None:
    text = f"in_req_spec={spec}\nmetrics_listen={listener}"
    refuses(tmp_path, text, f"metrics_listen: {listener} is given twice, in in_req_spec as well")


def test_too_few_descriptors(tmp_path: Path) -> None:
    conf = write(tmp_path, f"in_req_spec=ipc://{tmp_path}/req")
    limited = ["sh", "-c", 'ulimit -n 12; exec "$0" "$@"']
    for command in ([*ZURL, f"--config={conf}"], [*ZURL_PY, "check-config", "--quiet", conf]):
        result = run(*limited, *command)
        assert result.returncode == 1
        told = (result.stdout + result.stderr).splitlines()
        assert [line for line in told if "12 descriptors (ulimit -n)" in line], told
        assert not [line for line in told if "Traceback" in line]


def test_a_folder_that_is_missing_is_a_warning_until_the_start(tmp_path: Path) -> None:
    conf = write(tmp_path, f"in_req_spec=ipc://{tmp_path}/none/req")
    code, told = check(conf)
    assert (code, told) == (
        0,
        f"warning: {conf}: in_req_spec: the folder {tmp_path}/none does not exist\n",
    )
    assert check("--strict", conf)[0] == 1
    result = run(*ZURL, f"--config={conf}")
    assert result.returncode == 1
    assert f"in_req_spec: cannot bind ipc://{tmp_path}/none/req: the folder " in result.stdout


def test_a_daemon_that_runs_is_no_obstacle_for_check_config(tmp_path: Path) -> None:
    with Daemon(interfaces=("req",), deny="@private") as daemon, Worker(daemon) as worker:
        worker.ready()
        assert check("--strict", str(daemon.config_path)) == (0, "")
        result = run(*ZURL, f"--config={daemon.config_path}")
        assert result.returncode == 1
        assert (
            f"in_req_spec: cannot bind {daemon.endpoints['in_req_spec']}: another" in result.stdout
        )
        assert worker.request(id="1", uri="x:").get("condition") == b"bad-request"


def test_relative_paths_are_warned_of(tmp_path: Path) -> None:
    code, told = check(write(tmp_path, "in_req_spec=ipc://req"))
    assert code == 0
    assert "in_req_spec: ipc://req is relative" in told
    assert check("--strict", str(tmp_path / "zurl.conf"))[0] == 1


def test_a_relative_folder_that_is_missing_is_no_warning(tmp_path: Path) -> None:
    """Nobody makes it before the start, as a service manager does below /run."""
    words = "in_req_spec: cannot bind ipc://relative/path: the folder relative does not exist"
    conf = write(tmp_path, "in_req_spec=ipc://relative/path")
    code, told = check(conf)
    assert code == 1
    assert f"error: {conf}:3: {words}\n" in told
    result = run(*ZURL_PY, "serve", "--config", conf)
    assert result.returncode == 1
    assert f"{words}\n" in result.stderr


@pytest.mark.parametrize("form", ["tcp://[::1]:{}", "tcp://127.0.0.1:{}/", "tcp://lo:{}"])
def test_spellings_of_tcp_endpoints(form: str) -> None:
    port = free_port()
    with Daemon(interfaces=(), in_req_spec=form.format(port)) as daemon:
        host = "[::1]" if "::1" in form else "127.0.0.1"
        daemon.endpoints["in_req_spec"] = f"tcp://{host}:{port}"
        with Worker(daemon) as worker:
            worker.ready()


def test_two_daemons_side_by_side(tmp_path: Path) -> None:
    first, second, third = (
        write(
            tmp_path, f"in_req_spec=ipc://{tmp_path}/{path}\ninstance_id={name}", f"{path}-{name}"
        )
        for path, name in (("a", "gw"), ("b", "gw"), ("a", ""))
    )
    code, told = check(first, second)
    assert code == 0
    assert "one instance_id, 'gw', for two daemons" in told
    assert check("--strict", first, second)[0] == 1
    code, told = check(first, third)
    assert code == 1
    assert f"error: {first} and {third}: ipc://{tmp_path}/a is bound by both\n" == told


def test_another_daemon_of_the_same_name_in_the_same_directory(tmp_path: Path) -> None:
    def specs(folder: str) -> str:
        keys = ("in_spec", "in_stream_spec", "out_spec")
        return "\n".join(f"{key}=ipc://{tmp_path}/{folder}-{key}" for key in keys)

    first = write(tmp_path, f"instance_id=gw\n{specs('a')}", "a.conf")
    write(tmp_path, f"instance_id=gw\n{specs('a')}", "copy.conf")
    write(tmp_path, "nonsense=[", "other.conf")
    assert check("--strict", first) == (0, "")
    second = write(tmp_path, f"instance_id=gw\n{specs('b')}", "b.conf")
    for file in (first, second):
        code, told = check(file)
        assert code == 0
        assert "one instance_id, 'gw', for two daemons" in told
    write(tmp_path, f"instance_id=\n{specs('b')}", "b.conf")
    assert check("--strict", first) == (0, "")


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        spec = f"tcp://127.0.0.1:{other.getsockname()[1]}"
        result = run(*ZURL, f"--config={write(tmp_path, f'in_req_spec={spec}')}")
    assert result.returncode == 1
    (line,) = [line for line in result.stdout.splitlines() if "[ERR]" in line]
    assert line.endswith(f"in_req_spec: cannot bind {spec}: Address already in use")


@pytest.mark.parametrize("command", ["zurl", "serve", "deliver"])
@pytest.mark.parametrize(
    ("log", "fault"),
    [
        ("", "garbage"),
        ("", "taken"),
        ("/dev/stderr", "garbage"),
        ("FILE", "garbage"),
        ("FILE", "taken"),
    ],
)
def test_the_reason_is_once_on_standard_error(
    tmp_path: Path, command: str, log: str, fault: str
) -> None:
    """Also where both descriptors lead to one terminal or the journal, or the log is a file."""
    conf = tmp_path / "conf"
    with socket.create_server(("127.0.0.1", 0)) as other:
        spec = f"tcp://127.0.0.1:{other.getsockname()[1]}"
        text, reason = "\x01[[[", str(conf)
        if fault == "taken":
            text, reason = f"in_req_spec={spec}", f"cannot bind {spec}: Address already in use"
            if command == "deliver":
                gateway = write(tmp_path, f"in_req_spec=ipc://{tmp_path}/req", "gateway.conf")
                text = f"deliver_spec={spec}\nstore=sqlite:///{tmp_path}/db\ngateway={gateway}"
        conf.write_text(f"[General]\n{text}\n")
        program = ZURL if command == "zurl" else [*ZURL_PY, command]
        options = [f"--logfile={log.replace('FILE', f'{tmp_path}/log')}"] if log else []
        result = subprocess.run(
            [*program, f"--config={conf}", "--loglevel=0", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
            cwd=ROOT,
        )
    assert result.returncode == 1
    told = [line for line in result.stdout.splitlines() if "[WARN]" not in line]
    assert len(told) == 1
    assert reason in told[0]
    if log == "FILE":
        assert reason in (tmp_path / "log").read_text()


def test_values_for_one_host(tmp_path: Path) -> None:
    conf = write(tmp_path, "in_req_spec=ipc:///run/req\ntimeout=9\n[host *.example]\ntimeout=5")
    shown = run(*ZURL_PY, "check-config", "--host", "a.example:8443", conf).stdout
    assert shown.startswith("[host *.example]\n")
    assert re.search(rf"^timeout=5 +; {conf}:6$", shown, re.M)
    assert re.search(r"^proxy= +; default$", shown, re.M)
    shown = run(*ZURL_PY, "check-config", "--host", "example", conf).stdout
    assert re.search(rf"^timeout=9 +; {conf}:4$", shown, re.M)
    assert run(*ZURL_PY, "check-config", "--host", "a b", conf).returncode == 2


# -- how it is started ----------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    "how",
    [
        "signal.pthread_sigmask(signal.SIG_BLOCK, numbers)",
        "[signal.signal(number, signal.SIG_IGN) for number in numbers]",  # nohup, trap ''
    ],
    ids=["blocked", "ignored"],
)
def test_signals_ignored_by_the_parent_are_handled(number: int, how: str) -> None:
    script = (
        "import os, signal, sys;"
        f"numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP); {how};"
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    command = [sys.executable, "-c", script, "-m", "zurl_py.cli.zurl"]
    with Daemon(command=command) as daemon:
        daemon.wait_log("started")
        daemon.signal(signal.SIGHUP)
        daemon.wait_log("read anew")
        daemon.signal(number)
        assert daemon.wait() == 0


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_without_standard_descriptors(tmp_path: Path, closed: tuple[int, ...]) -> None:
    """Some parents close them: nothing else may get their numbers."""
    script = (
        f"import os, sys; [os.close(fd) for fd in {closed}];"
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    command = [sys.executable, "-c", script, "-m", "zurl_py.cli.zurl"]
    log = tmp_path / "log"
    with Daemon(command=command, arguments=(f"--logfile={log}",), interfaces=("req",)) as daemon:
        with Worker(daemon) as worker:
            worker.ready()
        for fd in closed:
            assert os.readlink(f"/proc/{daemon.pid}/fd/{fd}") == "/dev/null"
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0
    assert "stopped" in log.read_text()


@pytest.mark.parametrize("path", ["/dev/stdout", "/proc/self/fd/1", "/dev/fd/1"])
def test_the_log_goes_to_a_socket(path: str) -> None:
    """As systemd has it: such a path cannot be opened."""
    daemon = Daemon(interfaces=("req",))
    daemon.write_config()
    ours, theirs = socket.socketpair()
    ours.settimeout(DEADLINE)
    command = [*ZURL, f"--config={daemon.config_path}", f"--logfile={path}"]
    process = subprocess.Popen(command, stdout=theirs.fileno(), cwd=ROOT)
    theirs.close()
    told = b""
    while b"started" not in told:
        told += ours.recv(4096)
    process.terminate()
    assert process.wait(DEADLINE) == 0
    ours.close()
    daemon.close()


def test_a_named_pipe_that_nobody_reads_yet_takes_the_log(tmp_path: Path) -> None:
    pipe = tmp_path / "log"
    os.mkfifo(pipe)
    with Daemon(arguments=(f"--logfile={pipe}",), interfaces=("req",)) as daemon:
        with Worker(daemon) as worker:
            worker.ready()
        with open(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK), "rb") as reader:
            wait_until(lambda: b"started" in (reader.read() or b""), "the log", interval=0.5)
        assert daemon.stop() == 0


def test_a_log_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    conf = write(tmp_path, f"in_req_spec=ipc://{tmp_path}/req")
    result = run(*ZURL, f"--config={conf}", "--logfile=/dev/fd/77")
    assert result.returncode == 1
    assert result.stderr == "zurl: cannot open the log descriptor 77: Bad file descriptor\n"


def test_the_level_is_in_the_configuration_and_the_command_line_wins() -> None:
    with Daemon(arguments=(), interfaces=("req",), log_level=1) as daemon:
        with Worker(daemon) as worker:
            worker.ready()
        daemon.stop()
        assert "[INFO]" not in daemon.log()
    with Daemon(arguments=("--loglevel=2",), interfaces=("req",), log_level=0) as daemon:
        daemon.wait_log("[INFO]")


@pytest.mark.parametrize("command", ["zurl", "zurl-py"])
def test_modules_in_pythonpath_do_not_replace_ours(tmp_path: Path, command: str) -> None:
    script = Path(sys.executable).parent / command
    if not script.exists():
        pytest.skip(f"{script} is not there: pip install --editable .")
    for module in ("click", "msgpack", "tnetstring", "pycurl", "zmq"):
        (tmp_path / f"{module}.py").write_text("raise SystemExit('not the one that was meant')")
    conf = write(tmp_path, f"in_req_spec=ipc://{tmp_path}/none/req")
    options = ["serve", "--config", conf] if command == "zurl-py" else [f"--config={conf}"]
    result = run(str(script), *options, PYTHONPATH=f"{tmp_path}:/nowhere")
    assert "not the one" not in result.stdout + result.stderr
    assert "the folder" in result.stdout + result.stderr
