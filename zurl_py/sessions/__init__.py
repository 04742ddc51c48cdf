"""Sessions: one object per request, turning packets into transfers and back."""

from .base import Services, Session, WebSocketSettings
from .single import SingleSession
from .stream import StreamSession
from .websocket import WebSocketSession

__all__ = [
    "Services",
    "Session",
    "SingleSession",
    "StreamSession",
    "WebSocketSession",
    "WebSocketSettings",
]
