"""A source whose content a test sets, and teams in every condition."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace

import pytest
from aiohttp import ClientSession

from exporter.expose.compression import Exposition, deflate
from exporter.status import Attempt, CollectorStatus, ExporterStatus, QuotaStatus, TeamStatus
from exporter.web.app import make_app
from exporter.web.serve import listening

NOW = 1_760_000_000.0  # 2025-10-09 08:53:20 UTC


@dataclass(frozen=True)
class HeldExposition(Exposition):
    """An exposition that records how much of its text was read."""

    ended: asyncio.Queue[int]

    def text(self) -> Iterator[bytes]:
        """Yield the body in slices."""
        sent = 0
        try:
            for part in super().text():
                sent += len(part)
                yield part
        finally:
            self.ended.put_nowait(sent)


@dataclass(slots=True)
class HeldSource:
    """Mutable: tests change its content."""

    current: ExporterStatus
    text_body: bytes = b"# TYPE cyberun_up gauge\n"
    openmetrics_body: bytes = b"# TYPE cyberun_up gauge\n# EOF\n"
    alive: bool = True
    internal_errors: int = 0
    asked: list[bool] = field(default_factory=list)
    probed: list[tuple[str, float]] = field(default_factory=list)
    ended: asyncio.Queue[int] = field(default_factory=asyncio.Queue)
    """Of each body that was let go: how many bytes had been taken from it."""

    async def scrape(self, *, openmetrics: bool) -> HeldExposition:
        """Return the content for the format, and record the request."""
        self.asked.append(openmetrics)
        body = deflate(self.openmetrics_body if openmetrics else self.text_body)
        exposition = Exposition.of(deflate(b""), body)
        return HeldExposition(exposition.gzip, exposition.text_length, self.ended)

    async def probe(self, name: str, *, openmetrics: bool, within: float) -> HeldExposition:
        """Return the same as `scrape`, and record the team and the seconds."""
        self.probed.append((name, within))
        return await self.scrape(openmetrics=openmetrics)

    def status(self) -> ExporterStatus:
        """Return what is held."""
        return self.current

    def note_internal_error(self) -> None:
        """Count it."""
        self.internal_errors += 1

    def healthy(self) -> bool:
        """Return what is held."""
        return self.alive


def _collector(name: str, *, error: str | None) -> CollectorStatus:
    good = Attempt(NOW - 60, 0.42, 7, 120, None, None)
    last = Attempt(NOW - 20, 0.31, 7, 121, None, None)
    if error is not None:
        last = Attempt(NOW - 20, 0.08, 1, None, "auth", error)
    return CollectorStatus(
        name=name,
        interval=30.0,
        attempts=(last, good),
        success=error is None,
        fresh=True,
        last_attempt_at=last.started_at,
        last_success_at=(good if error else last).started_at + 0.4,
        items=120,
        items_reported=4200,
        truncated=False,
        failures_in_a_row=0 if error is None else 3,
        backoff_until=None if error is None else NOW + 130,
    )


@pytest.fixture
def up_team() -> TeamStatus:
    """A healthy team."""
    return TeamStatus(
        name="render",
        team_id="019abc12-4567-7890-abcd-ef1234567891",
        credential_kind="integration",
        collectors=(_collector("tasks", error=None), _collector("agents", error=None)),
        next_poll_at=NOW + 10,
        credential_loaded_at=NOW - 7200,
        credential_expires_at=None,
        series=1234,
        series_dropped=0,
        quotas=QuotaStatus(limits=3),
        provisioning_filtered=False,
    )


@pytest.fixture
def down_team(up_team: TeamStatus) -> TeamStatus:
    """A team whose last poll of tasks failed."""
    failing = _collector("tasks", error="401: the key was revoked")
    return replace(up_team, name="film", collectors=(failing, up_team.collectors[1]))


@pytest.fixture
def new_team(up_team: TeamStatus) -> TeamStatus:
    """A team that was never polled."""
    untried = tuple(
        replace(
            each,
            attempts=(),
            success=False,
            fresh=False,
            last_attempt_at=None,
            last_success_at=None,
            items=None,
            items_reported=None,
            truncated=None,
        )
        for each in up_team.collectors
    )
    return replace(up_team, name="archive", collectors=untried, series=0, credential_loaded_at=None)


@pytest.fixture
def status_of() -> Callable[..., ExporterStatus]:
    """Make a status of the teams given."""

    def make(*teams: TeamStatus) -> ExporterStatus:
        return ExporterStatus("1.0.0", NOW, NOW - 86400 * 3, 120.0, -0.4, teams)

    return make


@pytest.fixture
def source(status_of: Callable[..., ExporterStatus], up_team: TeamStatus) -> HeldSource:
    """A source with one healthy team."""
    return HeldSource(status_of(up_team))


@pytest.fixture
async def port(source: HeldSource) -> AsyncIterator[int]:
    """The port of a real server showing `source`."""
    async with listening(make_app(source), ("127.0.0.1", 0)) as ((_, port),):
        yield port


@pytest.fixture
async def client(port: int) -> AsyncIterator[ClientSession]:
    """A client of that server that adds no Accept-Encoding and decompresses nothing."""
    async with ClientSession(
        f"http://127.0.0.1:{port}", auto_decompress=False, skip_auto_headers=("Accept-Encoding", "Accept")
    ) as session:
        yield session
