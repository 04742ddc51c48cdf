"""Metrics: cheap counters, and a writer for Prometheus. Without I/O and clock."""

from .daemon import (
    CLOSE_CODES,
    HTTP_VERSIONS,
    INTERFACES,
    OUTCOMES,
    PHASES,
    SCHEMES,
    Metrics,
    outcome_of,
)
from .exposition import OPENMETRICS, TEXT, render
from .families import Counter, Family, Gauge, Histogram, Info, Sample

__all__ = [
    "CLOSE_CODES",
    "HTTP_VERSIONS",
    "INTERFACES",
    "OPENMETRICS",
    "OUTCOMES",
    "PHASES",
    "SCHEMES",
    "TEXT",
    "Counter",
    "Family",
    "Gauge",
    "Histogram",
    "Info",
    "Metrics",
    "Sample",
    "outcome_of",
    "render",
]
