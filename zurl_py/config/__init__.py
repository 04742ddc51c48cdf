"""``zurl.conf``: from Qt's INI dialect to a frozen, validated ``Config``."""

from .check import SOCKET_KEYS, collisions
from .errors import ConfigError, hint_at_key
from .load import load
from .model import HOST_KEYS, KEYS, Config

__all__ = [
    "HOST_KEYS",
    "KEYS",
    "SOCKET_KEYS",
    "Config",
    "ConfigError",
    "collisions",
    "hint_at_key",
    "load",
]
