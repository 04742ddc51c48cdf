"""Where deliveries are kept: one interface of six batched verbs, two stores behind it."""

from __future__ import annotations

from .base import QueryResult, Store, StoreError, StoreFull, StoreUnavailable, Sweep

__all__ = [
    "QueryResult",
    "Store",
    "StoreError",
    "StoreFull",
    "StoreUnavailable",
    "Sweep",
]
