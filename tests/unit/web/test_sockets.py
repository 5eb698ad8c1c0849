import asyncio
import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from exporter.web.sockets import Address, address_of, open_sockets

pytestmark = pytest.mark.loopback

HAS_IPV6 = socket.has_dualstack_ipv6()
LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


async def opened(stack: ExitStack, host: str | None, port: int = 0) -> list[Address]:
    return [address_of(stack.enter_context(listener)) for listener in await open_sockets(host, port)]


def answers(family: socket.AddressFamily, port: int) -> bool:
    with socket.socket(family) as client:
        return client.connect_ex((LOOPBACK[family], port)) == 0


@pytest.mark.skipif(not HAS_IPV6, reason="no IPv6 here")
@pytest.mark.parametrize("host", [None, "::"])
async def test_every_interface_is_one_port_in_both_families(stack: ExitStack, host: str | None) -> None:
    """Without a host, or with `::`, one socket serves IPv4 and IPv6, so `:0` is a single port."""
    [(_, port)] = await opened(stack, host)
    assert answers(socket.AF_INET, port)
    assert answers(socket.AF_INET6, port)


async def test_every_interface_without_ipv6(stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without IPv6, every interface means those of IPv4."""
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    [(host, port)] = await opened(stack, None)
    assert host == "0.0.0.0"  # noqa: S104  compared, not bound  every interface is meant
    assert answers(socket.AF_INET, port)


async def test_an_address_of_ipv4_is_that_alone(stack: ExitStack) -> None:
    """`0.0.0.0` does not listen in IPv6."""
    [(host, port)] = await opened(stack, "0.0.0.0")  # noqa: S104  every interface is meant
    assert host == "0.0.0.0"  # noqa: S104  compared, not bound
    assert answers(socket.AF_INET, port)
    assert not answers(socket.AF_INET6, port)


def resolve(monkeypatch: pytest.MonkeyPatch, *hosts: str) -> None:
    """Make every name resolve to these addresses."""

    async def getaddrinfo(*_: Any, **__: Any) -> list[Any]:
        families = [socket.AF_INET6 if ":" in host else socket.AF_INET for host in hosts]
        return [(family, socket.SOCK_STREAM, 6, "", (host, 0)) for family, host in zip(families, hosts, strict=True)]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)


@pytest.mark.skipif(not HAS_IPV6, reason="no IPv6 here")
async def test_a_name_listens_on_all_its_addresses(stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """`localhost` is both loopback addresses, on one port."""
    resolve(monkeypatch, "::1", "127.0.0.1", "127.0.0.1")
    first, second = await opened(stack, "localhost")
    assert (first.host, second.host) == ("::1", "127.0.0.1")
    assert first.port == second.port


@pytest.mark.parametrize("number", [errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT])
async def test_a_name_listens_on_the_addresses_that_work(
    stack: ExitStack, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """An address that this machine lacks is skipped; if there is no other, the error is raised."""
    resolve(monkeypatch, "::1", "127.0.0.1")
    real = socket.create_server

    def create_server(address: tuple[str, int], **options: Any) -> socket.socket:
        if ":" in address[0]:
            raise OSError(number, "not here")
        return real(address, **options)

    monkeypatch.setattr(socket, "create_server", create_server)
    [(host, _)] = await opened(stack, "localhost")
    assert host == "127.0.0.1"
    resolve(monkeypatch, "::1")
    with pytest.raises(OSError, match="not here"):
        await open_sockets("localhost", 0)


async def test_an_address_in_use_is_an_error(stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port in use is not treated like a missing address, and sockets opened before are closed."""
    [(_, port)] = await opened(stack, "127.0.0.1")
    resolve(monkeypatch, "127.0.0.2", "127.0.0.1")
    with pytest.raises(OSError, match=rf"^cannot listen on localhost:{port}: Address already in use$"):
        await open_sockets("localhost", port)
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.2", port)) == errno.ECONNREFUSED


@pytest.mark.parametrize(
    ("address", "text"),
    [(Address("::", 10042), "[::]:10042"), (Address("127.0.0.1", 80), "127.0.0.1:80"), (Address("::1", 1), "[::1]:1")],
)
def test_address(address: Address, text: str) -> None:
    """An IPv6 address is shown in brackets."""
    assert str(address) == text
