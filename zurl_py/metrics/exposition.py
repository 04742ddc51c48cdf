"""The formats that Prometheus reads: its text format 0.0.4, and OpenMetrics 1.0."""

from __future__ import annotations

import math
from collections.abc import Iterable

from .families import Exemplar, Family, Labels

__all__ = ["OPENMETRICS", "TEXT", "render"]

# Content types of the two formats.
TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_rendered: dict[Labels, str] = {}  # bounded, as the labels of all series are fixed


def render(families: Iterable[Family], content_type: str = TEXT) -> bytes:
    """The exposition of these families, in one of the two formats."""
    open_metrics = content_type == OPENMETRICS
    lines: list[str] = []
    for family in families:
        # The text format has no type info, and names a counter like its samples, with _total.
        kind, name = family.kind, family.name
        if not open_metrics:
            if kind == "counter":
                name += "_total"
            elif kind == "info":
                kind, name = "gauge", name + "_info"
        lines.append(f"# HELP {name} {_escape_help(family.help)}")
        lines.append(f"# TYPE {name} {kind}")
        for sample in family.samples():
            line = f"{family.name}{sample.suffix}{_labels(sample.labels)} {number(sample.value)}"
            if open_metrics and sample.exemplar is not None:
                line += _exemplar(sample.exemplar)
            lines.append(line)
    if open_metrics:
        lines.append("# EOF")
    lines.append("")
    return "\n".join(lines).encode()


def number(value: float) -> str:
    """A number in the syntax of both formats."""
    if isinstance(value, int):
        return str(value)
    if value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if math.isnan(value) else repr(value)


def _labels(labels: Labels) -> str:
    text = _rendered.get(labels)
    if text is None:
        pairs = ",".join(f'{name}="{_escape(value)}"' for name, value in labels)
        text = _rendered[labels] = f"{{{pairs}}}" if pairs else ""
    return text


def _exemplar(exemplar: Exemplar) -> str:
    trace_id, value, time = exemplar
    return f' # {{trace_id="{trace_id}"}} {number(value)} {time:.3f}'


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _escape_help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")
