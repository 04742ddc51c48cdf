"""A page for people: what is pending and failing, one delivery, replay. No scripts, no build."""

from .server import PageServer

__all__ = ["PageServer"]
