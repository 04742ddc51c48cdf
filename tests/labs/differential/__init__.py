"""The same exchanges with Debian's zurl and with our daemon, compared message by message."""

import importlib
import pkgutil


def load() -> None:
    """Imports every module of exchanges, which registers them."""
    from tests.labs.differential import exchanges

    for module in pkgutil.iter_modules(exchanges.__path__):
        importlib.import_module(f"{exchanges.__name__}.{module.name}")
