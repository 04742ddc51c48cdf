"""``zurl.conf``: Qt's INI dialect to a frozen, validated ``Config``."""

from .model import KEYS, Config, ConfigError, load

__all__ = ["KEYS", "Config", "ConfigError", "load"]
