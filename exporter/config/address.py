"""The addresses to listen on."""

import ipaddress
import re
from typing import Final, NamedTuple, Self

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_ADDRESS = re.compile(r"(?:\[(?P<v6>[^\]]*)\]|(?P<host>[^:\[\]]*)):(?P<port>[0-9]{1,5})")
_LAST_PORT = 65_535


class ListenAddress(NamedTuple):
    """Where to listen.

    Attributes:
        host: a name or an IP address without brackets; None means every interface.
        port: 0 lets the system choose.
    """

    host: str | None
    port: int

    def __str__(self) -> str:
        host = self.host or ""
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    @classmethod
    def parse(cls, text: object) -> Self:
        """Read `:10042`, `0.0.0.0:10042`, `[::1]:10042` or `localhost:10042`.

        Raises:
            ValueError: anything else.
        """
        match = _ADDRESS.fullmatch(text) if isinstance(text, str) else None
        if not match or int(match["port"]) > _LAST_PORT:
            raise ValueError("no listen address")
        host = str(ipaddress.IPv6Address(match["v6"])) if match["v6"] is not None else _host(match["host"])
        return cls(host, int(match["port"]))


def _host(text: str) -> str | None:
    if not text:
        return None
    if not re.search("[A-Za-z]", text):
        return str(ipaddress.IPv4Address(text))
    if not _HOST.fullmatch(text):
        raise ValueError("no host name")
    return text


DEFAULT: Final = (ListenAddress(None, 10042),)


def parse_addresses(value: object) -> tuple[ListenAddress, ...]:
    """One address or several: a list, or a text with commas between them, as in an environment variable.

    Raises:
        ValueError: one of them is not an address, or there is none.
    """
    found = value.split(",") if isinstance(value, str) else value
    if not isinstance(found, list) or not found:
        raise ValueError("no listen address")
    return tuple(ListenAddress.parse(each.strip() if isinstance(each, str) else each) for each in found)
