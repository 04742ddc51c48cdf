"""Writes the Grafana dashboard: examples/monitoring/dashboard.json.

    python3 tools/make_dashboard.py

The panels are listed here, each with its queries; their places follow from their order.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_OUT = Path(__file__).resolve().parents[1] / "examples" / "monitoring" / "dashboard.json"
_WHERE = 'instance=~"$instance"'
_RATE = "[$__rate_interval]"
_COLUMNS, _HEIGHT = 3, 8

# Title, unit, description, and (query, legend) pairs. WHERE and RATE stand for the two above.
PANELS: list[tuple[str, str, str, list[tuple[str, str]]]] = [
    (
        "Requests by outcome",
        "reqps",
        "What became of requests: classes of status codes, and error conditions.",
        [("sum by (outcome) (rate(zurl_requests_total{WHERE}RATE)) > 0", "{{outcome}}")],
    ),
    (
        "Share of errors",
        "percentunit",
        "Requests without an answer, of all; what workers cancelled is no error.",
        [
            (
                'sum(rate(zurl_requests_total{WHERE,outcome!~"[1-5]xx|cancelled"}RATE)) '
                "/ sum(rate(zurl_requests_total{WHERE}RATE))",
                "errors",
            )
        ],
    ),
    (
        "Duration",
        "s",
        "From a request's first packet to its final answer.",
        [
            (
                f"histogram_quantile({share}, sum by (le) "
                "(rate(zurl_request_duration_seconds_bucket{WHERE}RATE)))",
                f"p{100 * share:.0f}",
            )
            for share in (0.5, 0.9, 0.99)
        ],
    ),
    (
        "Phases, on average",
        "s",
        "Where the time goes. A kept connection saves the first three.",
        [
            (
                "sum by (phase) (rate(zurl_request_phase_seconds_sum{WHERE}RATE)) "
                "/ sum by (phase) (rate(zurl_request_phase_seconds_count{WHERE}RATE))",
                "{{phase}}",
            )
        ],
    ),
    (
        "Open",
        "short",
        "Sessions by interface, transfers that libcurl has, WebSockets.",
        [
            ("sum by (interface) (zurl_sessions_open{WHERE})", "sessions: {{interface}}"),
            ("sum(zurl_transfers_open{WHERE})", "transfers"),
            ("sum(zurl_websockets_open{WHERE})", "WebSockets"),
        ],
    ),
    (
        "Versions of HTTP",
        "reqps",
        "Answers a second, by the version of HTTP that they came by.",
        [
            (
                "sum by (version) (rate(zurl_responses_total{WHERE}RATE))",
                "HTTP/{{version}}",
            )
        ],
    ),
    (
        "Connections",
        "cps",
        "Opened and reused, a second; and how many are kept idle.",
        [
            ("sum(rate(zurl_connections_opened_total{WHERE}RATE))", "opened"),
            ("sum(rate(zurl_connections_reused_total{WHERE}RATE))", "reused"),
            ("sum(zurl_connections_idle{WHERE})", "idle (number)"),
        ],
    ),
    (
        "Bodies",
        "Bps",
        "Bytes of bodies to and from origins.",
        [
            ("sum(rate(zurl_upload_bytes_total{WHERE}RATE))", "up"),
            ("sum(rate(zurl_download_bytes_total{WHERE}RATE))", "down"),
        ],
    ),
    (
        "Look-ups",
        "ops",
        "Look-ups of names by outcome; and names in the cache.",
        [
            ("sum by (outcome) (rate(zurl_lookups_total{WHERE}RATE))", "{{outcome}}"),
            ("sum(zurl_dns_cache_entries{WHERE})", "remembered (number)"),
        ],
    ),
    (
        "Refused by the policy",
        "ops",
        "By the kind of rule; reports are what would have been refused.",
        [
            (
                "sum by (rule) "
                '(rate(zurl_policy_decisions_total{WHERE,decision="refused"}RATE)) > 0',
                "{{rule}}",
            ),
            ("sum by (rule) (rate(zurl_policy_reports_total{WHERE}RATE)) > 0", "report: {{rule}}"),
        ],
    ),
    (
        "Messages",
        "ops",
        "Read from workers and sent to them, by socket.",
        [
            ("sum by (socket) (rate(zurl_packets_in_total{WHERE}RATE))", "in: {{socket}}"),
            ("sum by (socket) (rate(zurl_packets_out_total{WHERE}RATE))", "out: {{socket}}"),
        ],
    ),
    (
        "Messages dropped or refused",
        "ops",
        "From or for workers, by socket and reason; and answers that were given up.",
        [
            (
                "sum by (socket, reason) (rate(zurl_packets_dropped_total{WHERE}RATE)) > 0",
                "{{socket}}: {{reason}}",
            ),
            ("sum(rate(zurl_answers_given_up_total{WHERE}RATE))", "answers given up"),
        ],
    ),
    (
        "Waiting for others",
        "short",
        "Workers that have not read, bytes of their answers, bytes that origins do not take.",
        [
            ("sum(zurl_workers_waiting{WHERE})", "workers"),
            ("sum(zurl_waiting_bytes{WHERE})", "bytes for workers"),
            ("sum(zurl_credits_withheld{WHERE})", "bytes not credited"),
        ],
    ),
    (
        "WebSocket frames",
        "ops",
        "By direction and opcode.",
        [
            (
                "sum by (direction, opcode) (rate(zurl_websocket_frames_total{WHERE}RATE)) > 0",
                "{{direction}}: {{opcode}}",
            )
        ],
    ),
    (
        "WebSockets closed",
        "ops",
        "By close code; 1006 is a connection that was lost.",
        [("sum by (code) (rate(zurl_websocket_closes_total{WHERE}RATE)) > 0", "{{code}}")],
    ),
    (
        "Loop",
        "s",
        "Time of a turn, and by how much timers were late, at the 99th percentile.",
        [
            (
                "histogram_quantile(0.99, sum by (instance, le) "
                f"(rate(zurl_loop_{what}_seconds_bucket{{WHERE}}RATE)))",
                f"{what} {{{{instance}}}}",
            )
            for what in ("turn", "lag")
        ],
    ),
    (
        "Processor",
        "percentunit",
        "Of one core, which is all that a daemon uses.",
        [("rate(process_cpu_seconds_total{WHERE}RATE)", "{{instance}}")],
    ),
    (
        "Memory",
        "bytes",
        "Resident.",
        [("process_resident_memory_bytes{WHERE}", "{{instance}}")],
    ),
    (
        "Descriptors and log",
        "short",
        "Open descriptors, of those that may be; log lines that were lost.",
        [
            ("process_open_fds{WHERE}", "{{instance}}"),
            ("process_max_fds{WHERE}", "limit of {{instance}}"),
            ("sum(increase(zurl_log_lines_dropped_total{WHERE}RATE))", "log lines lost"),
        ],
    ),
]


def panel(number: int, title: str, unit: str, text: str, queries: list[tuple[str, str]]) -> Any:
    """One panel, at its place."""
    width = 24 // _COLUMNS
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": title,
        "description": text,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "gridPos": {
            "x": number % _COLUMNS * width,
            "y": number // _COLUMNS * _HEIGHT,
            "w": width,
            "h": _HEIGHT,
        },
        "fieldConfig": {
            "defaults": {"unit": unit, "min": 0, "custom": {"fillOpacity": 10}},
            "overrides": [],
        },
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}},
        "targets": [
            {
                "refId": chr(ord("A") + place),
                "expr": expression.replace("WHERE", _WHERE).replace("RATE", _RATE),
                "legendFormat": legend,
                "exemplar": "duration" in expression,
            }
            for place, (expression, legend) in enumerate(queries)
        ],
    }


def dashboard() -> dict[str, Any]:
    """The whole of it."""
    return {
        "title": "zurl_py",
        "uid": "zurl-py",
        "tags": ["zurl"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "type": "datasource", "query": "prometheus"},
                {
                    "name": "instance",
                    "type": "query",
                    "datasource": {"type": "prometheus", "uid": "${datasource}"},
                    "query": "label_values(zurl_build_info, instance)",
                    "multi": True,
                    "includeAll": True,
                    "current": {"text": "All", "value": "$__all"},
                    "refresh": 2,
                },
            ]
        },
        "panels": [panel(number, *entry) for number, entry in enumerate(PANELS)],
    }


if __name__ == "__main__":
    _OUT.write_text(json.dumps(dashboard(), indent=2) + "\n", encoding="utf-8")
