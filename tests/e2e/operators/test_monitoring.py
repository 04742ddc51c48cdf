"""The examples for Prometheus and Grafana, against a daemon's own metrics."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.conftest import require_peer
from tests.e2e.operators.asking import Asked, metrics
from tests.e2e.operators.conftest import Start
from tests.support import ROOT, ScriptedOrigin, reply
from tests.support.daemon import free_port
from tests.support.deadline import wait_until

MONITORING = ROOT / "examples" / "monitoring"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"

_NAME = re.compile(r"\b((?:zurl|process)_\w+)(?:\{([^}]*)\})?")


def promtool(*arguments: str) -> None:
    result = subprocess.run(
        [require_peer("promtool"), *arguments],
        cwd=MONITORING,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_alerts_are_raised_by_what_they_are_for() -> None:
    promtool("check", "rules", "alerts.yml")
    promtool("test", "rules", "alerts_test.yml")
    tested = (MONITORING / "alerts_test.yml").read_text()
    for name in re.findall(r"alert: (\w+)", (MONITORING / "alerts.yml").read_text()):
        assert tested.count(f"alertname: {name}") == 2, name  # once raised, once not


def test_the_configuration_is_sound() -> None:
    promtool("check", "config", "prometheus.yml")


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((MONITORING / "dashboard.json").read_text())
    return found


def test_the_dashboard_is_generated() -> None:
    path = ROOT / "tools" / "make_dashboard.py"
    spec = importlib.util.spec_from_file_location("make_dashboard", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert dashboard() == module.dashboard()


def check(expression: str, found: Asked) -> None:
    """Every metric of an expression is there, with the labels and values that it asks for."""
    used = list(_NAME.finditer(expression))
    assert used, expression
    for match in used:
        name, selectors = match.groups()
        series = [dict(labels) for n, labels in found if n == name]
        assert series, f"{name} of {expression} does not exist"
        for label, operator, value in re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', selectors or ""):
            if label in ("instance", "job"):
                continue
            values = {labels[label] for labels in series if label in labels}
            assert values, f"{name} has no label {label}"
            if operator in ("=~", "!~"):
                for part in value.split("|"):
                    assert any(re.fullmatch(part, one) for one in values), (name, label, part)
            else:
                assert value in values, (name, label, value)
    grouped = re.findall(r"by \(([^)]*)\)", expression)
    for label in {part.strip() for group in grouped for part in group.split(",")} - {"instance"}:
        assert any(label in dict(labels) for _, labels in found), label


def test_dashboard_and_alerts_use_metrics_that_exist_and_all_of_them(start: Start) -> None:
    daemon, _ = start()
    found = metrics(daemon)
    expressions = [t["expr"] for panel in dashboard()["panels"] for t in panel["targets"]]
    for expression in expressions:
        check(expression, found)
    alerts = (MONITORING / "alerts.yml").read_text()
    for expression in re.findall(r"expr: (?:\|\n((?:          .*\n)+)|(.*))", alerts):
        text = "".join(expression)
        if "zurl_" in text or "process_" in text:
            check(text, found)
    shown = "\n".join(expressions)
    mine = {name for name, _ in found if name.startswith("zurl_")} - {"zurl_build_info"}
    for name in mine:
        base = re.sub(r"_(bucket|count|sum)$", "", name)
        assert base in shown, f"{name} is on no panel"


def test_the_page_of_metrics_has_every_one(start: Start) -> None:
    daemon, _ = start()
    page = (ROOT / "docs" / "metrics.md").read_text()
    for name, _ in metrics(daemon):
        base = re.sub(r"_(bucket|count|sum)$", "", name)
        assert f"`{base}" in page, f"{base} is not explained"
    for name in re.findall(r"`(zurl_\w+)", page):
        known = {re.sub(r"_(bucket|count|sum)$", "", n) for n, _ in metrics(daemon)}
        assert name in known, f"{name} does not exist"
    for label in ("reason", "rule", "decision", "phase"):
        for value in {dict(p)[label] for _, p in metrics(daemon) if label in dict(p)}:
            assert f"`{value}`" in page, f"{label} {value} is not explained"


# -- a real Prometheus -------------------------------------------------------------------------


@contextmanager
def prometheus(target: str, directory: Path) -> Iterator[str]:
    """Prometheus with the example's configuration, at a target and a pace of the test's own."""
    text = (MONITORING / "prometheus.yml").read_text()
    text = text.replace("127.0.0.1:9116", target).replace("15s", "1s")
    text = text.replace("alerts.yml", str(MONITORING / "alerts.yml"))
    (directory / "prometheus.yml").write_text(text)
    port = free_port()
    with open(directory / "log", "wb") as log:
        process = subprocess.Popen(
            [
                require_peer("prometheus"),
                f"--config.file={directory / 'prometheus.yml'}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--enable-feature=exemplar-storage",
            ],
            stdout=log,
            stderr=log,
        )
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(60)


def query(url: str, path: str, **arguments: str) -> Any:
    try:
        with urllib.request.urlopen(f"{url}{path}?{urllib.parse.urlencode(arguments)}") as answer:
            return json.load(answer)["data"]
    except OSError:
        return None


def test_prometheus_scrapes_it(start: Start, origin: ScriptedOrigin, tmp_path: Path) -> None:
    require_peer("prometheus")
    target = f"127.0.0.1:{free_port()}"
    _, worker = start(metrics_listen=target)
    origin.script = reply(OK)
    headers = [["traceparent", f"00-{TRACE}-00f067aa0ba902b7-01"]]
    with prometheus(target, tmp_path) as url:
        for _ in range(7):
            worker.request(method="GET", uri=origin.url(), headers=headers)

        def requests() -> bool:
            found = query(url, "/api/v1/query", query='sum(zurl_requests_total{outcome="2xx"})')
            return bool(found and found["result"] and found["result"][0]["value"][1] == "7")

        wait_until(requests, "Prometheus has the seven requests", interval=0.2)
        scraped = query(url, "/api/v1/targets")["activeTargets"][0]
        assert (scraped["health"], scraped["lastError"]) == ("up", "")
        exemplars = query(
            url,
            "/api/v1/query_exemplars",
            query="zurl_request_duration_seconds_bucket",
            start="0",
            end="99999999999",
        )
        assert exemplars[0]["exemplars"][0]["labels"] == {"trace_id": TRACE}
        # Whatever the dashboard asks, Prometheus understands.
        for panel in dashboard()["panels"]:
            for asked in panel["targets"]:
                expression = asked["expr"].replace("$__rate_interval", "1m")
                expression = expression.replace("$instance", ".*")
                assert query(url, "/api/v1/query", query=expression) is not None, expression
        rules = query(url, "/api/v1/rules")["groups"][0]["rules"]
        assert all(rule["health"] in ("ok", "unknown") for rule in rules)
