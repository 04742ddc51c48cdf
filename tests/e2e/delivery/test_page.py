"""The page for people: what it shows, what it does, and whom it refuses."""

from __future__ import annotations

import base64
import http.client
import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.conftest import require_peer
from tests.e2e.delivery.process import Deliver, Worker
from tests.e2e.delivery.receiver import Receiver, Reply
from tests.support.daemon import free_port

Start = Callable[..., Deliver]
NASTY = '<script>alert("x")</script>&\x1b[31m'


class Page(HTMLParser):
    """Forms, links and tags of a page; what is not closed in good order is an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.forms: list[dict[str, str]] = []
        self.tags: set[str] = set()
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.tags.add(tag)
        assert not any(name.startswith("on") for name in found)
        if tag not in ("input", "meta", "br"):
            self._open.append(tag)
        if tag == "a":
            self.links.append(found["href"])
        elif tag == "form":
            self.forms.append({"action": found["action"]})
        elif tag == "input" and found.get("type") == "hidden":
            self.forms[-1][f"field:{found['name']}"] = found["value"]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag


class Browser:
    """As much of one as the page needs: it has no scripts."""

    def __init__(self, port: int) -> None:
        self._port = port

    def ask(
        self, method: str, target: str, body: str | None = None, **headers: str
    ) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, target, body, sent)
        answer = connection.getresponse()
        self.text = answer.read().decode()
        return answer

    def get(self, target: str, **headers: str) -> Page:
        answer = self.ask("GET", target, **headers)
        assert answer.status == 200, self.text
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'")
        assert "frame-ancestors 'none'" in policy
        page = Page(self.text)
        assert "script" not in page.tags
        return page

    def confirm(self, page: Page, action: str) -> str:
        """Press a button, and Yes. Returns where that leads."""
        (form,) = [form for form in page.forms if form.get("field:action") == action]
        fields = {k.removeprefix("field:"): v for k, v in form.items() if k != "action"}
        (asked,) = self.get(f"/confirm?{urlencode(fields)}").forms
        fields = {k.removeprefix("field:"): v for k, v in asked.items() if k != "action"}
        answer = self.ask("POST", asked["action"], urlencode(fields), Origin=self.origin)
        assert answer.status == 303, self.text
        return answer.headers["Location"]

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self._port}"


@pytest.fixture
def site(start_deliver: Start) -> tuple[Browser, Worker]:
    port = free_port()
    deliver = start_deliver(http_listen=f"127.0.0.1:{port}", schedule="0").wait_started()
    return Browser(port), deliver.worker()


def test_from_the_overview_to_a_replay(site: tuple[Browser, Worker], receiver: Receiver) -> None:
    browser, worker = site
    browser.get("/")
    assert "Nothing is pending" in browser.text
    receiver.reply = lambda _hook: Reply(500, body=NASTY.encode())
    worker.put("shop<b>", receiver.url("/?a=1&b=2"))
    worker.deliver(endpoint="shop<b>", id="first")
    worker.wait_state("first", "dead")
    overview = browser.get("/")
    assert "shop&lt;b&gt;" in browser.text
    assert "0 good and 1 failed attempts" in browser.text
    (link,) = [link for link in overview.links if link.startswith("/endpoint")]
    endpoint = browser.get(link)
    assert "schedule-used-up" in browser.text
    (link,) = [link for link in endpoint.links if link.startswith("/delivery")]
    delivery = browser.get(link)
    assert "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&amp;" in browser.text
    receiver.reply = lambda _hook: Reply()
    assert browser.confirm(delivery, "replay") == "/delivery?id=first"
    worker.wait_state("first", "done")
    # Disable, and enable again.
    page = browser.get(browser.confirm(browser.get("/endpoint?name=shop%3Cb%3E"), "disable"))
    assert "disabled: operator" in browser.text
    browser.confirm(page, "enable")
    assert worker.ask("endpoint-get", endpoint="shop<b>")["disabled"] is False


def test_search_and_lists(site: tuple[Browser, Worker], receiver: Receiver) -> None:
    browser, worker = site
    receiver.reply = lambda _hook: Reply(404)
    for number in range(60):
        worker.deliver(uri=receiver.url(), id=f"n{number}")
    for number in range(60):
        worker.wait_state(f"n{number}", "dead")
    first = browser.get("/list?state=dead")
    assert browser.text.count("schedule-used-up") == 50
    (more,) = [link for link in first.links if "after=" in link]
    browser.get(more)
    assert browser.text.count("schedule-used-up") == 10
    assert browser.get("/delivery?id=n7").forms[0]["field:id"] == "n7"
    for target, status in (
        ("/delivery?id=nothing", 404),
        ("/endpoint?name=nobody", 404),
        ("/list?state=lost", 400),
        ("/nowhere", 404),
        ("/confirm?action=format", 400),
    ):
        assert browser.ask("GET", target).status == status
        Page(browser.text)
    assert browser.ask("HEAD", "/").status == 200
    assert browser.text == ""


def test_changes_need_a_form_of_the_page(site: tuple[Browser, Worker], receiver: Receiver) -> None:
    browser, worker = site
    worker.put("shop", receiver.url())
    fields = {"action": "disable", "endpoint": "shop"}
    assert browser.ask("POST", "/do", urlencode(fields)).status == 403
    assert browser.ask("POST", "/do", urlencode({**fields, "csrf": "x"})).status == 403
    assert browser.ask("GET", f"/do?{urlencode(fields)}").status == 404
    (form,) = browser.get(f"/confirm?{urlencode(fields)}").forms
    good = urlencode({**fields, "csrf": form["field:csrf"]})
    assert browser.ask("POST", "/do", good, Origin="http://evil.example").status == 403
    assert worker.ask("endpoint-get", endpoint="shop")["disabled"] is False
    assert browser.ask("POST", "/do", good, Origin=browser.origin).status == 303
    assert worker.ask("endpoint-get", endpoint="shop")["disabled"] is True


def test_foreign_host_names_are_refused(site: tuple[Browser, Worker]) -> None:
    browser, _ = site
    assert browser.ask("GET", "/", Host="evil.example").status == 421
    assert browser.ask("GET", "/", Host="localhost:80").status == 200


def test_token(start_deliver: Start, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("correct horse battery\n")
    port = free_port()
    deliver = start_deliver(
        http_listen=f"127.0.0.1:{port}", http_token_file=str(tmp_path / "token")
    ).wait_started()
    browser = Browser(port)
    answer = browser.ask("GET", "/")
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic")
    for value in ("Basic", "Basic ***", "Basic " + base64.b64encode(b"me:wrong").decode()):
        assert browser.ask("GET", "/", Authorization=value).status == 401
    good = base64.b64encode(b"me:correct horse battery").decode()
    assert browser.ask("GET", "/", Authorization=f"Basic {good}").status == 200
    assert browser.ask("GET", "/", Authorization="Bearer correct horse battery").status == 200
    (tmp_path / "token").write_text("another horse battery\n")
    os.kill(deliver.pid, signal.SIGHUP)
    deliver.wait_log("read anew")
    assert browser.ask("GET", "/", Authorization="Bearer correct horse battery").status == 401
    assert browser.ask("GET", "/", Authorization="Bearer another horse battery").status == 200


def test_in_a_browser(site: tuple[Browser, Worker], receiver: Receiver, tmp_path: Path) -> None:
    """Chromium shows it, the styles that its policy lets through, and complains of nothing."""
    chromium = require_peer("chromium")
    browser, worker = site
    receiver.reply = lambda _hook: Reply(500, body=NASTY.encode())
    worker.wait_state(worker.deliver(uri=receiver.url(), id="seen"), "dead")
    for path, part in (("/", "0 good and 1 failed attempts"), ("/delivery?id=seen", "<pre>&lt;")):
        done = subprocess.run(
            [
                chromium,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--enable-logging=stderr",
                f"--user-data-dir={tmp_path}",
                "--dump-dom",
                f"{browser.origin}{path}",
            ],
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert part in done.stdout
        assert "CONSOLE" not in done.stderr, done.stderr


def test_unix_socket(start_deliver: Start, tmp_path: Path) -> None:
    path = tmp_path / "page"
    start_deliver(http_listen=f"unix:{path}").wait_started()
    assert path.stat().st_mode & 0o777 == 0o600
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(b"GET / HTTP/1.0\r\nHost: whatever\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert re.match(rb"HTTP/1\.\d 200 ", answer)


@pytest.mark.parametrize("address", ["0.0.0.0:8080", "192.0.2.1:8080", "[::]:8080"])
def test_beyond_this_machine_it_is_not_served(start_deliver: Start, address: str) -> None:
    deliver = start_deliver(http_listen=address)
    assert deliver.wait() > 0
    assert "http_listen" in deliver.log()
