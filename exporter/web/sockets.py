"""Listening sockets: addresses mean what they mean to Go's servers; all interfaces and families they name are bound."""

import asyncio
import errno
import socket
from collections.abc import Iterable
from contextlib import suppress
from typing import Final, NamedTuple

_EVERY_INTERFACE: Final = (None, "::")
_UNAVAILABLE: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""Errors of addresses that this machine lacks: `localhost` has an IPv6 address even where IPv6 is disabled."""
_ATTEMPTS: Final = 10
"""Attempts to find a port that is free in every address family of the name."""


class Address(NamedTuple):
    """Where a socket listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def address_of(listener: socket.socket) -> Address:
    """Where it listens."""
    host, port = listener.getsockname()[:2]
    return Address(host, port)


async def open_sockets(host: str | None, port: int) -> list[socket.socket]:
    """Listen on an address.

    Args:
        host: a name or an address. None and `::` mean every interface, with one socket for IPv4 and IPv6.
        port: 0 picks a free one, the same in each family.

    Raises:
        OSError: the name is unknown, none of its addresses exists here, or the port is in use; says which and why.
    """
    try:
        return await _opened(host, port)
    except OSError as error:
        why, _, _ = (error.strerror or str(error)).partition(" (while attempting")  # and the address as a tuple
        raise OSError(f"cannot listen on {Address(host or '', port)}: {why}") from error


async def _opened(host: str | None, port: int) -> list[socket.socket]:
    if host in _EVERY_INTERFACE:
        return [_every_interface(port, required=host is not None)]
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = dict.fromkeys((socket.AddressFamily(family), str(place[0])) for family, _, _, _, place in found)
    for _ in range(_ATTEMPTS - 1 if port == 0 else 0):
        with suppress(OSError):
            return _bound(addresses, port)
    return _bound(addresses, port)


def _every_interface(port: int, *, required: bool) -> socket.socket:
    """Both families; only IPv4 if there is no IPv6 and it was not required."""
    if required or socket.has_dualstack_ipv6():
        return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=socket.has_dualstack_ipv6())
    return socket.create_server(("", port))


def _bound(addresses: Iterable[tuple[socket.AddressFamily, str]], port: int) -> list[socket.socket]:
    listeners: list[socket.socket] = []
    missing: OSError | None = None
    try:
        for family, host in addresses:
            try:
                listeners.append(socket.create_server((host, port), family=family))
            except OSError as error:
                if error.errno not in _UNAVAILABLE:
                    raise
                missing = error
            else:
                port = address_of(listeners[-1]).port
    except OSError:
        for listener in listeners:
            listener.close()
        raise
    if not listeners and missing is not None:
        raise missing
    return listeners
