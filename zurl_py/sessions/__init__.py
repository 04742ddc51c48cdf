"""Sessions: one object per request, turning packets into transfers and back."""

from .admission import Admission
from .base import Outlet, Services, Session, WebSocketSettings
from .budget import Budget
from .single import SingleSession
from .stream import StreamSession
from .websocket import WebSocketSession

__all__ = [
    "Admission",
    "Budget",
    "Outlet",
    "Services",
    "Session",
    "SingleSession",
    "StreamSession",
    "WebSocketSession",
    "WebSocketSettings",
]
