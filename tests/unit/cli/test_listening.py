"""Which status listener a command asks."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from zurl_py.cli.listening import NotThere, find_listener
from zurl_py.config.listener import Listener

TCP = Listener(host="127.0.0.1", port=9116)
UNIX = Listener(path="/run/zurl/status")


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    path = tmp_path / "zurl.conf"
    path.write_text("[General]\nin_req_spec=ipc:///x\nmetrics_listen=unix:/run/zurl/status\n")
    return path


def test_options_and_environment(conf: Path) -> None:
    assert find_listener(None, "127.0.0.1:9116", {}) == TCP
    assert find_listener(None, "unix:/run/zurl/status", {}) == UNIX
    assert find_listener(str(conf), None, {"ZURL_CONNECT": "127.0.0.1:1"}) == UNIX
    assert find_listener(None, str(conf), {}) == UNIX
    assert find_listener(None, None, {"ZURL_CONNECT": str(conf)}) == UNIX
    assert find_listener(None, None, {"ZURL_CONNECT": f"{conf},other"}) == UNIX
    assert find_listener(None, None, {"ZURL_CONNECT": "127.0.0.1:9116"}) == TCP


def test_invalid_addresses_are_refused_with_what_is_allowed(conf: Path) -> None:
    with pytest.raises(click.UsageError, match="two daemons"):
        find_listener(str(conf), "127.0.0.1:9116", {})
    with pytest.raises(click.UsageError, match=r"127\.0\.0\.1:9116 or unix:/run/zurl/status"):
        find_listener(None, "nonsense", {})
    for named in ("embedded", "in=ipc:///x,in_stream=ipc:///y,out=ipc:///z"):
        with pytest.raises(NotThere, match="--connect"):
            find_listener(None, None, {"ZURL_CONNECT": named})
    with pytest.raises(NotThere, match="No such file"):
        find_listener(str(conf.with_name("none")), None, {})
    conf.write_text("[General]\nin_req_spec=ipc:///x\n[host.example]\nmetrics_listen=1.2.3.4:5\n")
    with pytest.raises(NotThere, match="has no status listener: set metrics_listen"):
        find_listener(str(conf), None, {})
    conf.write_text("metrics_listen=nonsense\n")
    with pytest.raises(NotThere, match="metrics_listen='nonsense'"):
        find_listener(str(conf), None, {})
