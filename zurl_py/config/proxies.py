"""Warnings about the effect of proxies on other keys."""

from __future__ import annotations

from collections.abc import Iterator

from .model import Config

__all__ = ["proxy_remarks"]


def proxy_remarks(path: str, config: Config) -> Iterator[str]:
    """Warnings about keys that have no effect, or less, because of a proxy or without one.

    Args:
        path: path of the configuration.
    """
    origins = config.origins
    proxied = [section for section in config.hosts if section.values.get("proxy")]
    if config.proxy and not config.proxy.startswith("socks5://"):
        yield (
            f"{path}:{origins['proxy']}: proxy: it looks names up, so rules about addresses hold "
            "for addresses that stand in URLs only, and rules about names for the rest"
        )
    if not config.proxy and not proxied:
        for key in ("no_proxy", "proxy_credentials_file"):
            if getattr(config, key):
                yield f"{path}:{origins[key]}: {key} has no effect: there is no proxy"
    everywhere = not config.no_proxy and not any("proxy" in s.values for s in config.hosts)
    if config.http_version == "3" and config.proxy and everywhere:
        yield f"{path}:{origins['http_version']}: {_NO_HTTP3}"
    for section in config.hosts:
        proxy = section.values.get("proxy", config.proxy)
        if proxy and not config.no_proxy and section.values.get("http_version") == "3":
            yield f"{path}:{section.origins['http_version']}: [host {section.host}]: {_NO_HTTP3}"


_NO_HTTP3 = "http_version=3 has no effect: through a proxy it is 2 at most"
