from collections.abc import AsyncIterator

import pytest

from support.scripted import Client, Server, Wiring, credential, serving


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A healthy platform, until the test sets another script."""
    async with serving() as server:
        yield server


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    """A client of it with an integration key."""
    async with Wiring(credential()).client(server.base_url) as client:
        yield client
