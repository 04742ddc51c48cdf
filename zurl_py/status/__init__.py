"""The status listener: metrics, health, status and the stream of outcomes, over HTTP."""

from .hosts import HostTable
from .listener import StatusListener
from .monitors import Monitors
from .pages import Page, Pages

__all__ = ["HostTable", "Monitors", "Page", "Pages", "StatusListener"]
