"""``zurl.conf``: Qt's INI dialect to a frozen, validated ``Config``."""

from .errors import ConfigError
from .load import load
from .model import KEYS, Config

__all__ = ["KEYS", "Config", "ConfigError", "load"]
