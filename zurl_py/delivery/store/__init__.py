"""The store of deliveries: one interface of six batched verbs, with two implementations."""

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
