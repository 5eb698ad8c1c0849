"""Which HTTP proxy leads to the platform: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY of the environment."""

import ipaddress
from urllib.request import getproxies, proxy_bypass

from yarl import URL

from exporter.errors import ConfigError


def environment_proxy(base_url: str) -> str | None:
    """The URL of the proxy, which may hold a password; None for a direct connection, as always to loopback.

    Raises:
        ConfigError: when the proxy is no http or https URL.
    """
    platform = URL(base_url)
    proxies = getproxies()
    proxy = proxies.get(platform.scheme) or proxies.get("all")
    if not proxy or _loopback(platform.host or "") or proxy_bypass(platform.authority):
        return None
    try:
        usable = URL(proxy).scheme in ("http", "https") and URL(proxy).host is not None
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError([f"{platform.scheme.upper()}_PROXY: not usable; expected http://host:port"])
    return proxy


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
