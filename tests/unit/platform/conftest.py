from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.issuer import TokenIssuer
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


@pytest.fixture
def issuer(tmp_path: Path) -> TokenIssuer:
    """A platform with a session whose refresh token lies in a file of mode 600."""
    file = tmp_path / "operator"
    file.touch(mode=0o600)
    issuer = TokenIssuer(file)
    file.write_text(issuer.live + "\n")
    return issuer
