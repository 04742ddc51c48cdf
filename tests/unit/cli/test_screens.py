"""The screens of ``status`` and ``top``: what they show, and what they never let through."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from zurl_py.cli.screens import age, amount, duration, size, status_lines, top_lines

STATUS: dict[str, Any] = {
    "version": "0.1.0",
    "instance_id": "gw",
    "pid": 7,
    "state": "running",
    "uptime_seconds": 3723.0,
    "configuration": "/etc/zurl.conf",
    "endpoints": {"in_spec": ["ipc:///run/zurl/zurl-in"], "metrics_listen": ["127.0.0.1:9116"]},
    "books": {
        "accepted": 12345,
        "answered": 12340,
        "sessions": 5,
        "admission_waiting": 0,
        "transfers": 5,
        "connections_idle": 2,
        "descriptors": 60,
        "descriptors_limit": 65536,
        "timers": 9,
        "bytes_held": 1500,
        "answers_waiting": 3,
        "answers_given_up": 0,
        "memory_bytes": 45_000_000,
    },
    "sessions": {
        "open": {"request": 1, "stream": 4, "push": 0},
        "states": {"waiting": 3, "connecting": 2},
        "oldest": [
            {
                "session": 9,
                "interface": "stream",
                "method": "GET",
                "url": "http://example.com/\x1b[2J",
                "state": "waiting",
                "age_seconds": 75.5,
                "from": "wo\x1brker\n",
            }
        ],
    },
    "requests": {"outcomes": {"2xx": 12000, "tls-error": 340}},
    "latency_seconds": {"p50": 0.012, "p90": 0.04, "p99": 1.25},
    "transport": {
        "connections_opened": 100,
        "connections_reused": 900,
        "connections_idle": 2,
        "dns_cache_entries": 3,
        "lookups_resolved": 3,
        "lookups_failed": 1,
        "upload_bytes": 1000,
        "download_bytes": 5_000_000,
    },
    "loop": {
        "turns": 5,
        "turn_p50_seconds": 0.0002,
        "turn_p99_seconds": 0.003,
        "lag_p99_seconds": None,
    },
    "hosts": {
        "most_errors": [
            {
                "host": "bad.example\x9b31m",
                "requests": 10,
                "errors": 9,
                "mean_seconds": 0.1,
                "slowest_seconds": 1,
                "last_error": "certificate-expired",
            }
        ],
        "slowest": [],
    },
    "workers": {"slow": [{"worker": "w" * 100, "packets": 3, "bytes": 1000}]},
    "policy": {"refusals": {"deny=@private": 17}},
    "log": {"waiting": 0, "dropped": 0},
    "waiting_for": ["workers to read: 1 of them have answers that wait"],
}


def test_a_status_in_words() -> None:
    text = "\n".join(status_lines(STATUS))
    for part in (
        "zurl_py 0.1.0  pid 7  up 1:02:03  running",
        "ipc:///run/zurl/zurl-in",
        "5 open (request 1, stream 4, push 0): waiting 3, connecting 2",
        "12,345, of which 12,340 have ended",
        "2xx 12,000, tls-error 340",
        "p50 12.0 ms, p90 40.0 ms, p99 1.25 s",
        "2 idle, 100 opened (90 % reused); 1 look-ups failed",
        "60 descriptors of 65,536",
        "certificate-expired",
        "17     deny=@private",
        "1:15",
        "workers to read: 1 of them have answers that wait",
    ):
        assert part in text, part


def test_top_has_rates_since_the_screen_before() -> None:
    now = copy.deepcopy(STATUS)
    now["uptime_seconds"] += 2.0
    now["books"]["answered"] += 300
    now["requests"]["outcomes"] = {"2xx": 12200, "tls-error": 360, "5xx": 80}
    now["transport"]["download_bytes"] += 4_000_000
    text = "\n".join(top_lines(now, STATUS))
    assert "150.0/s, 50.0/s of them errors; up 0 B/s, down 2.0 MB/s" in text
    assert "2xx 200, tls-error 20, 5xx 80" in text
    assert "turn p50 200 µs, p99 3.0 ms; late p99 -" in text


@pytest.mark.parametrize("lines", [status_lines(STATUS), top_lines(STATUS, STATUS)])
def test_control_characters_do_not_reach_the_terminal(lines: list[str]) -> None:
    assert all(line.isprintable() for line in lines)
    assert any("\\x1b[2J" in line for line in lines)
    assert any("wo\\x1brker\\n" in line for line in lines)


def test_an_empty_daemon_has_a_screen() -> None:
    empty = copy.deepcopy(STATUS)
    empty["sessions"] = {"open": {"request": 0, "stream": 0, "push": 0}, "states": {}, "oldest": []}
    empty["requests"]["outcomes"] = {}
    empty["latency_seconds"] = {"p50": None, "p90": None, "p99": None}
    empty["transport"] = dict.fromkeys(empty["transport"], 0)
    empty["hosts"] = {"most_errors": [], "slowest": []}
    empty["workers"]["slow"] = []
    empty["policy"]["refusals"] = {}
    empty["waiting_for"] = []
    text = "\n".join(status_lines(empty) + top_lines(empty, empty))
    assert "none yet" in text
    assert "waiting for    nothing" in text


def test_units() -> None:
    assert [amount(n) for n in (0, 999, 1000, 1234567)] == ["0", "999", "1,000", "1,234,567"]
    assert [size(n) for n in (0, 999, 1000, 1.5e6, 2e9, 3e12, 4e15)] == [
        *("0 B", "999 B", "1.0 kB", "1.5 MB", "2.0 GB", "3.0 TB", "4000.0 TB")
    ]
    assert [duration(s) for s in (None, 0.00002, 0.0125, 1.5, 75)] == [
        *("-", "20 µs", "12.5 ms", "1.50 s", "1:15")
    ]
    assert [age(s) for s in (5, 75, 3723, 90061)] == ["5 s", "1:15", "1:02:03", "1 d 01:01:01"]
