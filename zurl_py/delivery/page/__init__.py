"""The web page of ``zurl-py deliver``: pending and failing deliveries, replay. No scripts."""

from .server import PageServer

__all__ = ["PageServer"]
