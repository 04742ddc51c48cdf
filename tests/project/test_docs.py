"""Every command and every example in the documentation is run, here or by a script named here."""

import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

import pytest

from tests.support import ROOT, Daemon, ScriptedOrigin, Worker, reply
from zurl_py.config import load

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

# Commands that are run here: what stands in for what a test cannot have.
RUN_HERE = {
    "zurl-py check-config /etc/zurl.conf": "zurl-py check-config debian/zurl.conf",
    "zurl-py check-url https://example.com/ --config /etc/zurl.conf": (
        "zurl-py check-url https://example.com/ --config debian/zurl.conf --address 93.184.216.34"
    ),
    "zurl-py check-url https://billing.internal.example:8443/ --config /etc/zurl.conf": (
        "zurl-py check-url https://billing.internal.example:8443/ --config debian/zurl.conf "
        "--address 93.184.216.34"
    ),
    "zurl-py version --verbose": "zurl-py version --verbose",
    "make demo": "python examples/demo.py",
}
# Commands that another script runs: the script, and the line that does it.
RUN_ELSEWHERE = {
    "make audit": ("Makefile", "pip_audit --requirement debian/requirements.txt"),
    "zurl-py keygen server --directory /etc/zurl": (
        "tests/e2e/test_curve.py",
        'make(folder, "server")',
    ),
    "zurl-py keygen billing --directory /etc/zurl/clients --privileges connect-host": (
        "tests/e2e/test_curve.py",
        '("--privileges", "connect-host")',
    ),
    "make demo": ("Makefile", "$(BIN)/python examples/demo.py"),
    "make run": ("tests/project/test_docs.py", '["make", "run", f"RUN_DIR={tmp_path}"'),
    "make peers": (".ci/run", "make peers"),
    "make lint": (".ci/run", "make lint"),
    "make test": (".ci/run", "make test"),
    "make deb": ("tools/test-deb.sh", "tools/build-deb.sh"),
    "make bench": ("Makefile", "$(BIN)/python -m benchmarks $(BENCH_ARGS)"),
    "make deb-test": ("Makefile", "sh tools/test-deb.sh"),
    "apt-get install ./dist/zurl-py_0.1.0_amd64.deb": (
        "tools/test-deb.sh",
        "install_deb /root/zurl-py.deb",
    ),
    "python examples/mongrel2-proxy/proxy.py --origin http://127.0.0.1:8000 --port 6767": (
        "tests/labs/peers/test_mongrel2.py",
        "str(_EXAMPLE)",
    ),
    "usermod --append --groups zurl worker": (
        "tools/test-deb.sh",
        "usermod --append --groups zurl worker",
    ),
    "zurl-py get https://example.com/": ("tests/e2e/cli/test_request.py", 'run("get", origin.url('),
    "echo hello | zurl-py ws -1 wss://echo.example/": (
        "tests/e2e/cli/test_ws.py",
        'run("ws", "-1", url(origin)',
    ),
    "pip install zurl-py": ("Makefile", "-m pip install"),
    "zurl-py serve --config zurl.conf": ("Makefile", "$(BIN)/zurl-py serve --config"),
    "zurl-py get --explain https://example.com/": (
        "tests/e2e/cli/test_request.py",
        'run("get", "--explain", origin.url()',
    ),
    "zurl-py top --config /etc/zurl.conf": (
        "tests/e2e/operators/screens.py",
        '_command("top", daemon)',
    ),
    "promtool check rules examples/monitoring/alerts.yml": (
        "tests/e2e/operators/test_monitoring.py",
        'promtool("check", "rules", "alerts.yml")',
    ),
    "zurl-py status --config /etc/zurl.conf": (
        "tests/e2e/operators/test_commands.py",
        'run("status", "--config", str(daemon.config_path))',
    ),
    "python -m benchmarks.webhooks": (
        "tests/e2e/delivery/test_benchmarks.py",
        '"benchmarks.webhooks"',
    ),
    "python -m benchmarks.webhooks_backlog": (
        "tests/e2e/delivery/test_benchmarks.py",
        '"benchmarks.webhooks_backlog"',
    ),
    "systemctl reload zurl": ("debian/tests/requests", "systemctl reload zurl.service"),
    "systemctl restart zurl": ("debian/tests/requests", "systemctl restart zurl.service"),
    "systemctl edit zurl.service": ("debian/tests/requests", "IPAddressDeny="),
    "systemctl edit --full --force zurl@.service": ("debian/tests/requests", "zurl@.service"),
    "systemctl edit zurl": ("debian/tests/requests", "zurl.service.d/"),
}


def blocks(language: str) -> Iterator[tuple[str, str]]:
    """(where, text) of each fenced block of a language."""
    for page in PAGES:
        for found in re.finditer(rf"^```{language}\n(.*?)^```", page.read_text(), re.S | re.M):
            line = page.read_text()[: found.start()].count("\n") + 1
            yield f"{page.name}:{line}", found.group(1)


def commands() -> list[tuple[str, str]]:
    return [
        (where, line.partition("#")[0].strip())
        for where, text in blocks("sh")
        for line in text.replace("\\\n", " ").splitlines()
        if line.strip() and not line.startswith("#")
    ]


def test_there_are_commands() -> None:
    assert len(commands()) > 5


@pytest.mark.parametrize(("where", "command"), commands())
def test_a_command_is_run_somewhere(where: str, command: str) -> None:
    assert command in RUN_HERE or command in RUN_ELSEWHERE, f"{where}: nobody runs {command!r}"
    if command in RUN_ELSEWHERE:
        script, line = RUN_ELSEWHERE[command]
        assert line in (ROOT / script).read_text()


@pytest.mark.parametrize("command", sorted({c for _, c in commands()} & set(RUN_HERE)))
def test_a_command_works(command: str) -> None:
    program, *arguments = shlex.split(RUN_HERE[command])
    module = ["-m", "zurl_py"] if program == "zurl-py" else []
    result = subprocess.run(
        [sys.executable, *module, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def _stands_alone(text: str) -> bool:
    """A program, and not a line that shows an interface."""
    return "import" in text and ("import zmq" in text or "zurl_py.client" in text)


PROGRAMS = [(where, text) for where, text in blocks("python") if _stands_alone(text)]
# What the examples ask for, and what answers them here: an origin on loopback, an address of this
# machine that the daemon denies, and a daemon that is there.
_DENIED = "http://127.0.0.2:1/"


def _here(text: str, daemon: Daemon, origin: ScriptedOrigin) -> str:
    for shown, ours in (
        ("ipc:///run/zurl/zurl-req", daemon.endpoints["in_req_spec"]),
        ("https://example.com/", origin.url()),
        ("http://169.254.169.254/latest/meta-data/", _DENIED),
        ("http://127.0.0.1:8080/", _DENIED),
        ('"embedded"', repr(str(daemon.config_path))),
        ('"zurl.conf"', repr(str(daemon.config_path))),
        ('"/etc/zurl.conf"', repr(str(daemon.config_path))),
    ):
        text = text.replace(shown, ours)
    return text


@pytest.mark.parametrize(("where", "text"), PROGRAMS)
def test_python_in_the_documentation_works(
    where: str, text: str, origin: ScriptedOrigin, tmp_path: Path
) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n"
    origin.script = reply(head + b"{}")
    with Daemon(deny="127.0.0.2") as daemon, Worker(daemon) as worker:
        worker.ready()
        script = tmp_path / "example.py"
        script.write_text(_here(text, daemon, origin))
        result = subprocess.run(
            [sys.executable, str(script)],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "ZURL_CONNECT": str(daemon.config_path), "PYTHONPATH": str(ROOT)},
        )
    assert result.returncode == 0, f"{where}: {result.stderr}"
    assert "print(" not in text or result.stdout


def test_make_run_runs_the_daemon_on_the_example(tmp_path: Path) -> None:
    # The environment that the tests run in stands in for the one that make would make.
    environment = tmp_path / "venv"
    (environment / "bin").mkdir(parents=True)
    program = environment / "bin" / "zurl-py"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m zurl_py "$@"\n')
    program.chmod(0o755)
    command = ["make", "run", f"RUN_DIR={tmp_path}", f"VENV={environment}", "--assume-old"]
    (environment / "made").touch()
    with subprocess.Popen(
        [*command, f"{environment}/made"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        log = []
        try:
            for line in process.stderr:
                log.append(line)
                if line.endswith("started\n"):
                    break
            assert (tmp_path / "zurl-req").is_socket(), log
        finally:
            os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does
        assert "stopped" in process.stderr.read()


@pytest.mark.parametrize(("where", "text"), list(blocks("ini")))
def test_configuration_in_the_documentation_is_sound(where: str, text: str, tmp_path: Path) -> None:
    if "[Service]" in text:
        for command in re.findall(r"^ExecStart=(.+)$", text, re.M):
            program, verb, option, config, *_ = command.split()
            assert (program, verb, option) == ("/usr/bin/zurl-py", "serve", "--config"), where
            assert config.startswith("/etc/zurl"), where
        for networks in re.findall(r"^IPAddress(?:Deny|Allow)=(.+)$", text, re.M):
            for network in networks.split():
                assert network == "localhost" or ip_network(network), where
        return
    path = tmp_path / "zurl.conf"
    path.write_text(f"in_req_spec=ipc:///x\ndeny=@private\n{text}")
    assert load(str(path)).warnings == (), where


def test_the_examples_of_the_manual_do_what_they_say(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "man" / "zurl.conf.5").read_text()
    examples = re.findall(r"^\.nf\n(.*?)^\.fi", text, re.S | re.M)
    policies = []
    for number, example in enumerate(examples):
        path = tmp_path / f"{number}.conf"
        path.write_text("in_req_spec=ipc:///x\n" + example)
        policies.append(load(str(path)).policy())
    internal, service, partner = policies
    name = "billing.internal.example"
    assert internal.check_name(name, 8443, "https")
    assert internal.check_address("10.1.2.3", 8443, "https", name)
    assert not internal.check_address("10.1.3.3", 8443, "https", name)
    assert not internal.check_address("10.1.2.3", 8443, "http", name)
    assert not internal.check_address("10.1.2.3", 8443, "https", "other.example")
    assert internal.check_address("93.184.216.34", 80, "http", "example.com")
    name = "api.stripe.com"
    assert service.check_name(name, 443, "https")
    assert service.check_address("93.184.216.34", 443, "https", name)
    assert not service.check_address("10.1.2.3", 443, "https", name)
    assert not service.check_name("stripe.com", 443, "https")
    for name in ("partner.example", "api.partner.example"):
        assert partner.check_name(name, 443, "https")
        assert partner.check_address("93.184.216.34", 443, "https", name)
        assert not partner.check_address("93.184.216.34", 443, "https", "other.example")
        assert not partner.check_name(name, 80, "http")
    assert not partner.check_name("partner.example.org", 443, "https")


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_rooms_of_the_design_are_in_the_order_of_their_layers() -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = pyproject["tool"]["importlinter"]["contracts"]
    layers = next(c["layers"] for c in contracts if c["type"] == "layers")
    height = {
        name: -number for number, layer in enumerate(layers) for name in re.findall(r"\w+", layer)
    }
    table = re.findall(r"^\| (`.*?`) \|", (ROOT / "docs/design.md").read_text(), re.M)
    rooms = [name for row in table for name in re.findall(r"`(\w+)(?:\.py|/)`", row)]
    assert {*rooms, "__main__"} == {*height}
    assert [height[room] for room in rooms] == sorted(height[room] for room in rooms)


def test_the_worker_of_the_compose_example_gets_an_answer(origin: ScriptedOrigin) -> None:
    origin.script = reply(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
    with Daemon() as first, Daemon() as second:
        sockets = [d.endpoints["in_req_spec"].removeprefix("ipc://") for d in (first, second)]
        result = subprocess.run(
            [sys.executable, str(ROOT / "examples/compose/worker.py"), *sockets, origin.url()],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert sorted(result.stdout.split("\n")) == ["", *(f"{n} 200" for n in range(4))]
        for daemon in (first, second):  # dealt out in turn
            assert daemon.stop() == 0
            assert daemon.log().count("GET http") == 2
