"""A simulated platform on a free port, with a clock that does not move until it is set."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from exporter.demo import SimulatedPlatform, SimulatedTeam

START = 1_800_000_000.0


@dataclass
class Clock:
    """Unix seconds, set by hand."""

    now: float = START

    def __call__(self) -> float:
        return self.now


@dataclass
class Reply:
    """A whole answer."""

    status: int
    json: Any
    headers: Any


@dataclass
class Asker:
    """Asks a served platform."""

    url: str
    session: aiohttp.ClientSession

    async def __call__(self, path: str, token: str | None, *, team_id: str | None = None, **query: str) -> Reply:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        headers |= {} if team_id is None else {"X-Team-ID": team_id}
        async with self.session.get(self.url + path, headers=headers, params=query) as response:
            return Reply(response.status, await response.json(), response.headers)

    async def refresh(self, body: object) -> Reply:
        async with self.session.post(self.url + "/auth/refresh", json=body) as response:
            return Reply(response.status, await response.json(), response.headers)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def platform(clock: Clock) -> SimulatedPlatform:
    platform = SimulatedPlatform(clock=clock)
    platform.add_team("render", token="sk-render")
    platform.add_team("research", token="dk-research", quotas={"max_agents": 5, "max_workflows": -1})
    platform.add_team("batch", kind="jwt")
    return platform


@pytest.fixture
def team(platform: SimulatedPlatform) -> SimulatedTeam:
    return platform.teams["render"]


@pytest.fixture
def asker() -> type[Asker]:
    """Makes a client from a base URL and a session."""
    return Asker


@pytest.fixture
async def ask(platform: SimulatedPlatform) -> AsyncIterator[Asker]:
    async with platform.serve() as url, aiohttp.ClientSession() as session:
        yield Asker(url, session)
