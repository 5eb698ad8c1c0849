"""Which HTTP proxy to use: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, interpreted as Go does."""

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from yarl import URL

from exporter.errors import ConfigError
from exporter.redact import redact


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy."""

    url: str = field(repr=False)
    """May hold a password."""
    variable: str
    """The environment variable that names it."""

    def __str__(self) -> str:
        return f"{redact(self.url)} ({self.variable})"


def environment_proxy(base_url: str, environ: Mapping[str, str] | None = None) -> Proxy | None:
    """The proxy for this platform; None for a direct connection, as always to this machine.

    Args:
        base_url: of the platform.
        environ: that of the process when not given.

    Raises:
        ConfigError: the proxy is not an http or https URL.
    """
    environ = os.environ if environ is None else environ
    platform = URL(base_url)
    variable = _variable(environ, f"{platform.scheme}_proxy") or _variable(environ, "all_proxy")
    exempt = environ.get("no_proxy", environ.get("NO_PROXY", ""))
    if variable is None or _is_direct(platform, exempt):
        return None
    text = environ[variable].strip()
    text = text if "://" in text else f"http://{text}"
    try:
        usable = URL(text).scheme in ("http", "https") and bool(URL(text).host)
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError([f"{variable}: not usable; expected http://host:port"])
    return Proxy(text, variable)


def _variable(environ: Mapping[str, str], name: str) -> str | None:
    """The variable in use, lower case first; an empty value disables the proxy."""
    name = name if name in environ else name.upper()
    return name if environ.get(name, "").strip() else None


def _is_direct(platform: URL, exempt: str) -> bool:
    host, port = (platform.host or "").lower().rstrip("."), platform.port
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    return any(_matches(each.lower(), host, port, address) for each in re.split(r"[,\s]+", exempt) if each)


def _matches(entry: str, host: str, port: int | None, address: "_Address | None") -> bool:
    """Whether an entry of NO_PROXY exempts the host: `*`, an address, a network or a domain, with a port or without."""
    if entry == "*":
        return True
    if address is not None and "/" in entry:
        try:
            return address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    name, wanted = _split(entry)
    if wanted is not None and wanted != port:
        return False
    if address is not None:
        return _address(name) == address
    name = name.removeprefix("*")
    return host.endswith(name) if name.startswith(".") else host == name or host.endswith(f".{name}")


def _split(entry: str) -> tuple[str, int | None]:
    """Host and port; the colons of an IPv6 address without brackets are its own."""
    found = re.fullmatch(r"(?P<host>\[.*\]|[^:]*):(?P<port>[0-9]{1,5})", entry)
    return (found["host"].strip("[]"), int(found["port"])) if found else (entry.strip("[]"), None)


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _address(host: str) -> _Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
